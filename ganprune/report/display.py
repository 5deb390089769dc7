"""What long work shows: a live display on a terminal, plain lines elsewhere. Everything goes to standard error."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from ganprune.evolution.coevolution import Progress as SearchProgress

PLAIN_SECONDS = 10.0
SEARCHED = ("generation", "best fitness", "N", "L_DisA", "L_cyc", "new", "cost")


class Display:
    """Shows stages, the search and training; one for a whole command.

    Args:
        console: where to write (default: standard error).
    """

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True)
        self.live_area: Live | None = None
        self.rows: dict[str, list[str]] = {}
        self._begin(None)

    def _begin(self, total: int | None) -> None:
        self.begun = self.printed = time.monotonic()
        self.count, self.total = 0, total
        self.bar = Progress(
            BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeElapsedColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        self.task = self.bar.add_task("", total=total, rate="", note="")

    @contextmanager
    def live(self) -> Iterator[Display]:
        """Keep the display on screen inside this block (nothing moves where there is no terminal)."""
        if not self.console.is_terminal:
            yield self
            return
        with Live(console=self.console, refresh_per_second=4, transient=True) as self.live_area:
            yield self

    def stage(self, text: str, total: int | None = None) -> None:
        """Say that a stage begins; the bar starts anew."""
        self._begin(total)
        self.console.print(f"[bold]{text}[/bold]" if self.console.is_terminal else text, highlight=False)
        self._draw()

    def note(self, text: str) -> None:
        """Say something about what was found."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def evaluation(self, side: str, individual: Any) -> None:
        """Count one scored individual."""
        self._advance(self.count + 1, self.count + 1, self.total, "evaluations")

    def search(self, progress: SearchProgress) -> None:
        """Show a finished step of the search: best fitness, N, L_DisA and L_cyc of its side, and how much was new."""
        terms = progress.elite.terms or {}
        values = [f"{terms[name]:.4f}" if name in terms else "-" for name in ("n", "l_disa", "l_cyc")]
        row = [str(progress.generation), f"{progress.elite.scalar_fitness:.4f}", *values]
        row += [f"{progress.new:.0%}", f"{progress.cost:g}"]
        self.rows[progress.side] = row
        self._draw()
        if self._is_due(progress.generation == 0):
            shown = "  ".join(f"{name} {value}" for name, value in zip(SEARCHED, row, strict=True))
            self.note(f"{progress.side}  {shown}  ({self._pace('evaluations', (self.total or 0) - self.count)})")

    def training(self, step: int, total: int, losses: Mapping[str, float]) -> None:
        """Show a finished training step: rate, remaining time, main losses."""
        self._advance(self.count + 1, step, total, "steps", losses)
        if self._is_due(step == total):
            self.note(f"step {step}/{total}  {self._pace('steps', total - step)}  {_joined(losses)}")

    def images(self, done: int, total: int) -> None:
        """Show how many images are done: rate, remaining time."""
        self._advance(done, done, total, "images")
        if self._is_due(done == total):
            self.note(f"{done}/{total} images  {self._pace('images', total - done)}")

    def _pace(self, unit: str, waiting: int = 0) -> str:
        """Say how many are done a second, since the stage began, and how long those that wait will take."""
        rate = self.count / max(time.monotonic() - self.begun, 1e-3)
        return f"{rate:.2f} {unit}/s" + (f", about {waiting / rate:.0f} s left" if waiting > 0 and rate > 0 else "")

    def _is_due(self, now: bool) -> bool:
        """Whether a plain line is to be written: now, or because the last one was long ago; on a terminal, never."""
        due = self.live_area is None and (now or time.monotonic() - self.printed >= PLAIN_SECONDS)
        self.printed = time.monotonic() if due else self.printed
        return due

    def _advance(
        self, count: int, done: int, total: int | None, unit: str, losses: Mapping[str, float] | None = None
    ) -> None:
        """Move the bar: ``count`` since the stage began, ``done`` of ``total`` in all."""
        self.count = count
        main = {name: value for name, value in (losses or {}).items() if name.startswith(("cycle", "distil"))}
        self.bar.update(self.task, completed=done, total=total, rate=self._pace(unit), note=_joined(main))
        self._draw()

    def _draw(self) -> None:
        if self.live_area is None:
            return
        table = Table("side", *SEARCHED)
        for side, row in self.rows.items():
            table.add_row(side, *row)
        self.live_area.update(Group(*([table] if self.rows else []), self.bar))


def _joined(losses: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
