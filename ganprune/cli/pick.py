"""The ``pick`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganprune.cli.group import main
from ganprune.cli.options import FOLDER, factory_options, machine_options, take_factories
from ganprune.cli.progress import print_summary, showing

CRITERIA = ("max_macs", "max_params", "target_ratio", "min_quality", "knee", "index")


@main.command()
@click.argument("run", type=FOLDER)
@click.option("--max-macs", type=float, help="Best quality within this many MACs per image (input size).")
@click.option("--max-params", type=float, help="Best quality within this many parameters.")
@click.option("--target-ratio", type=float, help="Best quality with this many times fewer parameters, or more.")
@click.option(
    "--min-quality",
    type=float,
    help="Smallest point that keeps this share (above 0, at most 1) of its front's best quality: 1 is the point of "
    "lowest loss, 0.8 allows 1 / 0.8 = 1.25 times that loss.",
)
@click.option("--knee", is_flag=True, help="The point with the most to lose either way.")
@click.option("--index", nargs=2, type=int, metavar="A2B B2A", help="The points' numbers, as in front.json and .png.")
@click.option("--out", type=FOLDER, help="New run directory.  [default: next free runs/pick-NNN]")
@click.option("--finetune-steps", type=int, help="Steps of the fine-tune; 0 for none.  [default: the run's own]")
@factory_options
@machine_options
def pick(run: Path, out: Path | None, **options: Any) -> None:
    """Make a point of each Pareto front of RUN (evolve --algorithm nsga2) compact, without searching again.

    Exactly one of --max-macs, --max-params, --target-ratio, --min-quality, --knee and --index says which.
    """
    from ganprune.commands.pick import Criterion, pick_run

    criterion = Criterion(**{name: options.pop(name) for name in CRITERIA})
    factories = take_factories(options)
    with showing() as reporter:
        result = pick_run(run, criterion, out, factories=factories, reporter=reporter, **options)
    print_summary(result.read_json("summary.json")["sides"])
    click.echo(f"Look at {result.path('samples.png')}; compact generators and figures: {result.directory}")
