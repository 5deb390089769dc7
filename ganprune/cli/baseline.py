"""The ``baseline`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganprune.baselines.registry import BASELINES, WEIGHTS, Baseline
from ganprune.cli.group import Folded, main
from ganprune.cli.options import (
    FOLDER,
    dry_run_option,
    input_option,
    machine_options,
    option,
    take_task,
    task_options,
    unsearched_options,
)
from ganprune.cli.progress import print_run, showing

METHODS = "\n".join(f"  {name:<11}{entry.doc}" for name, entry in BASELINES.items())
RESULT = "Size of the result"


@main.command(
    cls=Folded,
    help=f"""Prune both generators by criterion NAME instead of a search; all after that is as in evolve.

    \b
{METHODS}
    """,
)
@click.argument("name")
@task_options
@input_option("--preset", help="quick, large or paper: defaults of all that follows.  [default: quick]")
@option("--target-ratio", type=float, heading=RESULT, help="This many times fewer parameters.  [default: 8]")
@option("--like", type=FOLDER, heading=RESULT, help="As many parameters as this finished run, and all else as there.")
@option(
    "--weights", default="own", show_default=True, heading=RESULT, help=f"Of the filters kept: {', '.join(WEIGHTS)}."
)
@unsearched_options
@machine_options
@dry_run_option
@option("--out", type=FOLDER, help="Run directory.  [default: next free runs/baseline-NNN]")
def baseline(name: str, weights: str, like: Path | None, **options: Any) -> None:
    from ganprune.commands.baseline import baseline_settings, prune_run

    places = {**take_task(options), **{name: options.pop(name) for name in ("out", "threads", "dry_run")}}
    method = Baseline(name, weights)
    settings = baseline_settings(method, like=like, **options)
    with showing() as reporter:
        run = prune_run(method, settings, like=like, reporter=reporter, **places)
    print_run(run, f"{{seconds:.0f}} s; seed {{seed}}; {name}, {weights} weights")
