"""Commands that search: evolve."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ganprune.cli.group import main
from ganprune.cli.options import FOLDER, checkpoint_options, evolve_options, machine_options, take_networks
from ganprune.cli.showing import print_summary, showing
from ganprune.errors import UserError


@main.command()
@click.option("--data", type=FOLDER, help="Folder with trainA, trainB, testA, testB.  [default: the shipped images]")
@click.option("--checkpoint", type=FOLDER, help="Folder of a trained CycleGAN.  [default: the shipped one]")
@click.option("--out", type=FOLDER, help="Run directory.  [default: next free runs/evolve-NNN]")
@click.option("--resume", type=FOLDER, help="Go on with an interrupted run directory, with the options it began with.")
@click.option("--preset", default="quick", show_default=True, help="quick (minutes on two cores) or paper.")
@click.option("--size", type=int, help="Side length of the images.")
@checkpoint_options
@evolve_options
@machine_options
def evolve(data: Path | None, checkpoint: Path | None, out: Path | None, resume: Path | None, **options: Any) -> None:
    """Prune both generators of a CycleGAN by co-evolution; without arguments, the shipped one.

    docs/checkpoints.md says which files are understood; ganprune inspect shows what is read off them.
    """
    from ganprune import pipeline
    from ganprune.search import OPERATORS
    from ganprune.settings import make_settings

    machine = {name: options.pop(name) for name in ("size", "device", "threads")}
    preset = options.pop("preset")
    operators = {name: options[name] for name in OPERATORS if options[name] is not None}
    refuse_with_resume(resume, [*operators, "generator", "discriminator"])
    networks = take_networks(options)
    factories = {"generator": networks.generator, "discriminator": networks.discriminator}
    settings = make_settings(preset, **options)
    with showing("ganprune evolve --resume {}") as reporter:
        if resume:
            run = pipeline.resume(resume, operators=operators, factories=factories, reporter=reporter)
        else:
            run = pipeline.compress(
                checkpoint, data, out=out, settings=settings, networks=networks, reporter=reporter, **machine
            )
    summary = run.read_json("summary.json")
    print_summary(summary["sides"])
    click.echo(f"{summary['seconds']:.0f} s; seed {summary['seed']}; {summary['evaluations']} evaluations")
    if run.exists("front.png"):
        click.echo(f"Front: {run.path('front.png')}. Take any point of it: ganprune pick {run.directory} --knee")
    click.echo(f"Look at {run.path('samples.png')}; compact generators and figures: {run.directory}")


def refuse_with_resume(resume: Path | None, operators: Collection[str]) -> None:
    """Options of an interrupted run can't be changed, since its result would belong to neither.

    Operators and networks may be repeated; those that come from a module have to be.
    """
    context = click.get_current_context()
    typed = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    changed = [name for name in typed if name != "resume" and name not in operators]
    if resume and changed:
        name = "--" + changed[0].replace("_", "-")
        raise UserError(name, "given with --resume", "--resume alone", "The run keeps the options it began with.")
