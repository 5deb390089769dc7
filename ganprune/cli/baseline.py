"""The ``baseline`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganprune.baselines.registry import BASELINES, WEIGHTS, Baseline
from ganprune.cli.group import main
from ganprune.cli.options import (
    FOLDER,
    baseline_options,
    checkpoint_options,
    machine_options,
    size_options,
    take_framing,
    take_networks,
)
from ganprune.cli.progress import print_summary, showing

METHODS = "\n".join(f"  {name:<11}{entry.doc}" for name, entry in BASELINES.items())


@baseline_options
@main.command(
    help=f"""Prune both generators by criterion NAME instead of a search; all after that is as in evolve.

    \b
{METHODS}
    """
)
@click.argument("name")
@click.option("--target-ratio", type=float, help="This many times fewer parameters.  [default: 8]")
@click.option("--like", type=FOLDER, help="As many parameters as this finished run has, and all else as it was made.")
@click.option("--weights", default="own", show_default=True, help=", ".join(WEIGHTS) + ": what the kept filters get.")
@click.option("--data", type=FOLDER, help="Folder with trainA, trainB, testA, testB.  [default: the shipped images]")
@click.option("--checkpoint", type=FOLDER, help="Folder of a trained CycleGAN.  [default: the shipped one]")
@click.option("--out", type=FOLDER, help="Run directory.  [default: next free runs/baseline-NNN]")
@click.option("--preset", help="quick or paper, for the options below.  [default: quick]")
@size_options
@checkpoint_options
@machine_options
def baseline(name: str, weights: str, like: Path | None, **options: Any) -> None:
    from ganprune.commands.baseline import baseline_settings, prune_run

    networks = take_networks(options)
    places = {key: options.pop(key) for key in ("checkpoint", "data", "out", "device", "threads")}
    places["size"] = take_framing(options)
    method = Baseline(name, weights)
    settings = baseline_settings(method, like=like, **options)
    with showing() as reporter:
        run = prune_run(method, settings, like=like, networks=networks, reporter=reporter, **places)
    summary = run.read_json("summary.json")
    print_summary(summary["sides"])
    click.echo(f"{summary['seconds']:.0f} s; seed {summary['seed']}; {name}, {weights} weights")
    click.echo(f"Look at {run.path('samples.png')}; compact generators and figures: {run.directory}")
