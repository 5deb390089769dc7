"""What commands print: progress, the final table, how to go on after Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click


def print_table(table: Any, width: int = 100) -> None:
    """Print a table on standard output, as wide as the terminal if it is one."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else width).print(table)


def print_summary(sides: Any) -> None:
    """Print the final table on standard output."""
    from ganprune.report.summary import summary_table

    print_table(summary_table(sides))


def print_run(run: Any, about: str = "") -> None:
    """Print the final table of a run, a line about it, and where to look.

    Args:
        run: its directory.
        about: the line, with entries of the run's summary in braces.
    """
    summary = run.read_json("summary.json")
    print_summary(summary["sides"])
    if about:
        click.echo(about.format(**summary))
    if run.exists("front.png"):
        click.echo(f"Front: {run.path('front.png')}. Take any point of it: ganprune pick {run.directory} --knee")
    click.echo(f"Look at {run.path('samples.png')}; compact generators and figures: {run.directory}")


def print_report(report: Any) -> None:
    """Print where a page is that was written, and how large."""
    click.echo(f"Report: {report.path} ({report.size / 1e6:.1f} MB); open it in a browser")


@contextmanager
def showing(again: str = "", where: Path | None = None, interrupted: str = "Nothing was kept.") -> Iterator[Any]:
    """Show progress; on Ctrl-C or SIGTERM say what is kept and how to go on, and exit with status 130 or 143.

    Args:
        again: how to go on, {} standing for the run directory; "" if nothing is kept.
        where: the run directory, if it is known before the reporter is told.
        interrupted: what to say where there is no run to go on with.
    """
    from ganprune.pipeline.reporter import Reporter
    from ganprune.report.display import Display
    from ganprune.runs.interruption import exit_status

    display = Display()
    reporter = Reporter(
        display.stage, display.search, display.evaluation, display.training, display.images, note=display.note
    )
    try:
        with terminating(), display.live():
            yield reporter
    except KeyboardInterrupt as error:
        where = reporter.directory[0] if reporter.directory else where
        if where and again and (where / "config.json").exists():
            kept = f"{where} holds every finished step. Go on with: {again.format(where)}"
        else:
            kept = interrupted
        click.echo(f"Interrupted. {kept}", err=True)
        raise SystemExit(exit_status(error)) from None


@contextmanager
def terminating() -> Iterator[None]:
    """Within the block, SIGTERM ends the command as Ctrl-C does, but with status 143."""
    from ganprune.runs.interruption import stop

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
