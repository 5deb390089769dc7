"""The ``evolve`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganprune.cli.group import Folded, main
from ganprune.cli.options import (
    FOLDER,
    checkpoint_option,
    checkpoint_options,
    data_option,
    evolve_options,
    machine_options,
    option,
    preset_option,
    size_options,
    take_framing,
    take_networks,
    typed,
    worker_options,
)
from ganprune.cli.progress import print_summary, showing
from ganprune.errors import UserError


@main.command(cls=Folded)
@data_option
@checkpoint_option
@size_options
@checkpoint_options
@preset_option
@evolve_options
@worker_options
@machine_options
@option("--out", type=FOLDER, help="Run directory.  [default: next free runs/evolve-NNN]")
@option("--resume", type=FOLDER, help="Go on with an interrupted run directory; its options need not be repeated.")
def evolve(data: Path | None, checkpoint: Path | None, out: Path | None, resume: Path | None, **options: Any) -> None:
    """Prune both generators of a CycleGAN by co-evolution; without arguments, the shipped one.

    docs/checkpoints.md says which files are understood; ganprune inspect shows what is read off them.
    """
    from ganprune.commands import evolve as command
    from ganprune.pipeline.search import OPERATORS
    from ganprune.settings.evolve import make_settings

    framing = take_framing(options)
    spread = {name: options.pop(name) for name in ("workers", "cluster")}
    machine = {"size": framing, **{name: options.pop(name) for name in ("device", "threads")}}
    networks = take_networks(options)
    factories = {"generator": networks.generator, "discriminator": networks.discriminator}
    settings = make_settings(**options)
    if resume and out:
        raise UserError("--out", "given with --resume", "one of the two", "A resumed run stays in its directory.")
    with showing("ganprune evolve --resume {}") as reporter:
        if resume:
            again = typed("resume", "device", "size", "load_size", "crop", *spread, *OPERATORS, *factories)
            again |= {"load_size": None, **framing.to_json()} if framing else {}
            operators = {name: options[name] for name in OPERATORS if options[name] is not None}
            run = command.resume(
                resume, operators=operators, factories=factories, options=again,
                device=typed().get("device"), reporter=reporter, **spread,
            )  # fmt: skip
        else:
            run = command.compress(
                checkpoint, data, out=out, settings=settings, networks=networks, reporter=reporter, **spread, **machine
            )
    summary = run.read_json("summary.json")
    print_summary(summary["sides"])
    click.echo(f"{summary['seconds']:.0f} s; seed {summary['seed']}; {summary['evaluations']} evaluations")
    if run.exists("front.png"):
        click.echo(f"Front: {run.path('front.png')}. Take any point of it: ganprune pick {run.directory} --knee")
    click.echo(f"Look at {run.path('samples.png')}; compact generators and figures: {run.directory}")
