"""The ``inspect`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganprune.cli.group import main
from ganprune.cli.options import (
    FOLDER,
    checkpoint_options,
    image_options,
    machine_options,
    setting_options,
    take_framing,
    take_networks,
)
from ganprune.cli.progress import showing
from ganprune.settings.evolve import EvolveSettings, make_settings

ESTIMATED = ("population", "generations", "validation_images")  # what the cost of a search depends on most


@main.command()
@click.argument("checkpoint", type=FOLDER)
@click.option("--data", type=FOLDER, help="Images: to ask the discriminators, and to predict a search.")
@image_options
@click.option("--preset", default="quick", show_default=True, help="The search: quick, large or paper.")
@setting_options(EvolveSettings, "Search", lambda setting: setting.name in ESTIMATED)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every group.")
@checkpoint_options
@machine_options
def inspect(checkpoint: Path, data: Path | None, preset: str, as_json: bool, **options: Any) -> None:
    """Say what CHECKPOINT is, a folder or a file: layout, networks, groups, bits, discriminators, cost of a search.

    Nothing is written. docs/checkpoints.md says which files are understood.
    """
    import json

    from ganprune.commands.inspect import inspect_checkpoint

    settings = make_settings(preset, **{name: options.pop(name) for name in ESTIMATED})
    networks = take_networks(options)
    with showing() as reporter:
        found = inspect_checkpoint(
            checkpoint, data, size=take_framing(options), networks=networks, settings=settings, stage=reporter.stage,
            **options,
        )  # fmt: skip
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(lines(found)))


def lines(found: dict[str, Any]) -> list[str]:
    """Return what was found as lines of text."""
    from ganprune.pipeline.job import taken_for_lines

    shown = [*found["notes"], *taken_for_lines(found["taken_for"])]
    for name, side in found["sides"].items():
        shown += ["", f"{name} at {'{}x{}'.format(*found['size'])}", *side_lines(side)]
    if "search" in found:
        shown += ["", *search_lines(found["search"])]
    else:
        shown += ["", "With --data, the discriminators are asked and a search is predicted."]
    return [*shown, *(f"Warning: {warning}" for warning in found["warnings"])]


def side_lines(side: dict[str, Any]) -> list[str]:
    """Return what is known of a side."""
    generator, scores = side["generator"], side.get("discriminator_scores")
    channels = " -> ".join(str(count) for count in generator["channels"])
    macs = generator["macs"]["input_size"] / 1e6
    terms = ["L_DisA" if side["discriminator"] else "L_GenA", *(["L_cyc"] if side["reverse_generator"] else [])]
    shown = [
        f"  generator: {channels} channels, {generator['parameters']:,} parameters ({generator['memory_mb']:.2f} MB), "
        f"{macs:,.0f} million MACs per image",
        f"  fitness: N and {' and '.join(terms)}",
        f"  bits: {side['bits']['grouped']} in {len(side['groups'])} groups; "
        f"{side['bits']['tied']} with --encoding tied",
    ]
    for group in side["groups"]:
        others = len(group["written_by"]) - 1
        shown.append(f"    {group['filters']:>5}  {group['name']}" + (f" and {others} more layers" if others else ""))
    shown += [f"  layer {layer} keeps all filters: {reason}" for layer, reason in side["unprunable"].items()]
    if side["moments_bytes"]:
        shown.append(f"  moments for reconstructed weights: {side['moments_bytes'] / 2**20:,.0f} MB")
    if scores:
        shown.append(
            f"  discriminator: real images of its own domain score {scores['own_domain']:.3f}, "
            f"of the source's {scores['source_domain']:.3f}"
        )
    return shown


def search_lines(search: dict[str, Any]) -> list[str]:
    """Return what a search will take."""
    each = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in search["seconds_per_evaluation"].items())
    scored = ", ".join(str(count) for count in search["images_scored"].values())
    return [
        "Search, as it would be with these options: predicted from a small part of it",
        f"  preparation: about {search['seconds_prepare']:.1f} s",
        f"  an evaluation on {scored} images: about {each}",
        f"  at most {search['evaluations']} evaluations: about {search['seconds_search']:.0f} s with the preparation, "
        "then the fine-tune",
        f"  memory: about {search['peak_memory_mb']:,.0f} MB at the peak, "
        f"{search['images_bytes'] / 2**20:,.0f} MB of it translations",
    ]
