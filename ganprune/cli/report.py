"""The ``report`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganprune.cli.group import main
from ganprune.cli.options import FOLDER, factory_options, machine_options, option, take_factories
from ganprune.cli.progress import print_report, showing


@main.command()
@click.argument("runs", type=FOLDER, nargs=-1, required=True, metavar="RUN...")
@option("--out", type=FOLDER, help="The HTML file.  [default: report.html in RUN, if there is only one]")
@option(
    "--with-original", is_flag=True, help="Let the original generators run in the page too, beside the compact ones."
)
@option(
    "--images", type=click.IntRange(1), default=40, show_default=True, help="Test images of each direction at most."
)
@option(
    "--max-mb", type=click.FloatRange(0, min_open=True), default=16.0, show_default=True,
    help="Leave out generators that would make the file larger.",
)  # fmt: skip
@factory_options
@machine_options
def report(runs: tuple[Path, ...], **options: Any) -> None:
    """Write a page that shows runs, or comparisons: one HTML file, without a server, with the generators inside.

    A run may still be going: the page has what there is so far. docs/report.md says what is in it.
    """
    from ganprune.commands.report import NAME, write_report
    from ganprune.compare.page import holds_comparison, read_comparison
    from ganprune.models.options import CheckpointOptions

    compared = [path for path in runs if holds_comparison(path)]
    if compared and len(runs) == 1 and options["out"] is None:
        options["out"] = runs[0] / NAME
    networks = CheckpointOptions(**take_factories(options))
    with showing() as reporter:
        result = write_report(
            [path for path in runs if path not in compared], networks=networks, reporter=reporter,
            comparisons=[read_comparison(path) for path in compared], **options,
        )  # fmt: skip
    print_report(result)
