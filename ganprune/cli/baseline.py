"""The ``baseline`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganprune.baselines.registry import BASELINES, WEIGHTS, Baseline
from ganprune.cli.group import Folded, main
from ganprune.cli.options import (
    FOLDER,
    checkpoint_option,
    checkpoint_options,
    data_option,
    input_option,
    machine_options,
    option,
    size_options,
    take_framing,
    take_networks,
    unsearched_options,
)
from ganprune.cli.progress import print_summary, showing

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
@data_option
@checkpoint_option
@size_options
@checkpoint_options
@input_option("--preset", help="quick or paper: defaults of all that follows.  [default: quick]")
@option("--target-ratio", type=float, heading=RESULT, help="This many times fewer parameters.  [default: 8]")
@option("--like", type=FOLDER, heading=RESULT, help="As many parameters as this finished run, and all else as there.")
@option(
    "--weights", default="own", show_default=True, heading=RESULT, help=f"Of the filters kept: {', '.join(WEIGHTS)}."
)
@unsearched_options
@machine_options
@option("--out", type=FOLDER, help="Run directory.  [default: next free runs/baseline-NNN]")
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
