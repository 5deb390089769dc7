"""The ``evolve`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganprune.cli.group import Folded, main
from ganprune.cli.options import (
    FOLDER,
    FRAMED,
    dry_run_option,
    evolve_options,
    machine_options,
    option,
    preset_option,
    take_task,
    task_options,
    typed,
    worker_options,
)
from ganprune.cli.progress import print_report, print_run, showing
from ganprune.errors import UserError, reason

if TYPE_CHECKING:
    from ganprune.models.options import CheckpointOptions
    from ganprune.runs.directory import RunDirectory


@main.command(cls=Folded)
@task_options
@preset_option
@evolve_options
@worker_options
@machine_options
@dry_run_option
@option("--out", type=FOLDER, help="Run directory.  [default: next free runs/evolve-NNN]")
@option("--resume", type=FOLDER, help="Go on with an interrupted run directory; its options need not be repeated.")
@option(
    "--report/--no-report", default=True, show_default=True, help="Write report.html, a page of the run, at the end."
)
def evolve(out: Path | None, resume: Path | None, dry_run: bool, report: bool, **options: Any) -> None:
    """Prune both generators of a CycleGAN by co-evolution; without arguments, the shipped one.

    docs/checkpoints.md says which files are understood; ganprune inspect shows what is read off them.
    """
    from ganprune.commands import evolve as command
    from ganprune.pipeline.search import OPERATORS
    from ganprune.settings.evolve import make_settings

    task = take_task(options)
    spread = {name: options.pop(name) for name in ("workers", "cluster")}
    threads, framing, networks = options.pop("threads"), task["size"], task["networks"]
    settings = make_settings(**options)
    if resume and out:
        raise UserError("--out", "given with --resume", "one of the two", "A resumed run stays in its directory.")
    with showing("ganprune evolve --resume {}") as reporter:
        if resume:
            factories = {"generator": networks.generator, "discriminator": networks.discriminator}
            again = typed("resume", "device", "dry_run", "report", *FRAMED, *spread, *OPERATORS, *factories)
            if framing:
                again |= {**({"load_size": None} if framing.size else {}), **framing.to_json()}
            operators = {name: options[name] for name in OPERATORS if options[name] is not None}
            run = command.resume(
                resume, operators=operators, factories=factories, options=again,
                device=typed().get("device"), reporter=reporter, **spread,
            )  # fmt: skip
        else:
            run = command.compress(
                out=out, settings=settings, reporter=reporter, threads=threads, dry_run=dry_run, **task, **spread
            )
    print_run(run, "{seconds:.0f} s; seed {seed}; {evaluations} evaluations")
    if report:
        _report(run, networks)


def _report(run: RunDirectory, networks: CheckpointOptions) -> None:
    """Write the page of a finished run. The run is whole without it, so nothing that goes wrong here is an error."""
    from ganprune.commands.report import QUICK, write_report
    from ganprune.models.options import CheckpointOptions

    made_by_code = CheckpointOptions(generator=networks.generator, discriminator=networks.discriminator)
    config = run.read_json("config.json")
    try:
        with showing(interrupted=f"The run is finished. Its page: ganprune report {run.directory}") as reporter:
            result = write_report(
                [run.directory], networks=made_by_code, device=config["device"], threads=config["threads"],
                reporter=reporter, pixels=QUICK,
            )  # fmt: skip
    except Exception as error:
        click.echo(f"No report: {reason(error)}; try again: ganprune report {run.directory}")
    else:
        print_report(result)
