"""The ``evolve`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganprune.cli.group import main
from ganprune.cli.options import (
    FOLDER,
    checkpoint_options,
    evolve_options,
    machine_options,
    size_options,
    take_framing,
    take_networks,
    typed,
    worker_options,
)
from ganprune.cli.progress import print_summary, showing
from ganprune.errors import UserError


@main.command()
@click.option("--data", type=FOLDER, help="Folder with trainA, trainB, testA, testB.  [default: the shipped images]")
@click.option("--checkpoint", type=FOLDER, help="Folder of a trained CycleGAN.  [default: the shipped one]")
@click.option("--out", type=FOLDER, help="Run directory.  [default: next free runs/evolve-NNN]")
@click.option(
    "--resume", type=FOLDER, help="Go on with an interrupted run directory; its options need not be repeated."
)
@click.option("--preset", default="quick", show_default=True, help="quick (minutes on two cores) or paper.")
@size_options
@checkpoint_options
@evolve_options
@worker_options
@machine_options
def evolve(data: Path | None, checkpoint: Path | None, out: Path | None, resume: Path | None, **options: Any) -> None:
    """Prune both generators of a CycleGAN by co-evolution; without arguments, the shipped one.

    docs/checkpoints.md says which files are understood; ganprune inspect shows what is read off them.
    """
    from ganprune.commands import evolve as pipeline
    from ganprune.pipeline.search import OPERATORS
    from ganprune.settings.evolve import make_settings

    framing = take_framing(options)
    spread = {name: options.pop(name) for name in ("workers", "cluster")}
    machine = {"size": framing, **{name: options.pop(name) for name in ("device", "threads")}}
    networks = take_networks(options)
    factories = {"generator": networks.generator, "discriminator": networks.discriminator}
    settings = make_settings(options.pop("preset"), **options)
    if resume and out:
        raise UserError("--out", "given with --resume", "one of the two", "A resumed run stays in its directory.")
    with showing("ganprune evolve --resume {}") as reporter:
        if resume:
            again = typed("resume", "device", "size", "load_size", "crop", *spread, *OPERATORS, *factories)
            again |= {"load_size": None, **framing.to_json()} if framing else {}
            operators = {name: options[name] for name in OPERATORS if options[name] is not None}
            device = machine["device"] if "device" in typed() else None
            run = pipeline.resume(
                resume, operators=operators, factories=factories, options=again, device=device, reporter=reporter,
                **spread,
            )  # fmt: skip
        else:
            run = pipeline.compress(
                checkpoint, data, out=out, settings=settings, networks=networks, reporter=reporter, **spread, **machine
            )
    summary = run.read_json("summary.json")
    print_summary(summary["sides"])
    click.echo(f"{summary['seconds']:.0f} s; seed {summary['seed']}; {summary['evaluations']} evaluations")
    if run.exists("front.png"):
        click.echo(f"Front: {run.path('front.png')}. Take any point of it: ganprune pick {run.directory} --knee")
    click.echo(f"Look at {run.path('samples.png')}; compact generators and figures: {run.directory}")
