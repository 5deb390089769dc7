"""The ``pick`` command."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from ganprune.cli.group import main
from ganprune.cli.options import FOLDER, factory_options, machine_options, option, setting_options, take_factories
from ganprune.cli.progress import print_run, showing
from ganprune.settings.pick import Criterion

criterion_options = setting_options(Criterion, "Which point", defaults={})
point_option = partial(option, heading="Which point")
CRITERIA = Criterion.__dataclass_fields__


@main.command()
@click.argument("run", type=FOLDER)
@criterion_options
@point_option("--knee", is_flag=True, help="The point with the most to lose either way.")
@point_option("--index", nargs=2, type=int, metavar="A2B B2A", help="The points' numbers, as in front.json and .png.")
@option("--out", type=FOLDER, help="New run directory.  [default: next free runs/pick-NNN]")
@option("--finetune-steps", type=int, help="Steps of the fine-tune; 0 for none.  [default: the run's own]")
@factory_options
@machine_options
def pick(run: Path, out: Path | None, **options: Any) -> None:
    """Make a point of each Pareto front of RUN (evolve --algorithm nsga2) compact, without searching again.

    Exactly one of --max-macs, --max-params, --target-ratio, --min-quality, --knee and --index says which.
    """
    from ganprune.commands.pick import pick_run

    criterion = Criterion(**{name: options.pop(name) for name in CRITERIA})
    factories = take_factories(options)
    with showing() as reporter:
        result = pick_run(run, criterion, out, factories=factories, reporter=reporter, **options)
    print_run(result)
