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
SEARCHED = ("generation", "best fitness", "N", "L_DisA", "L_cyc", "cost")


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
        self.count += 1
        self._advance(self.count, self.total, f"{self._rate():.1f} evaluations/s")

    def search(self, progress: SearchProgress) -> None:
        """Show a finished step of the search: best fitness, N, L_DisA and L_cyc of its side."""
        terms = progress.elite.terms or {}
        values = [f"{terms[name]:.4f}" if name in terms else "-" for name in ("n", "l_disa", "l_cyc")]
        row = [str(progress.generation), f"{progress.elite.scalar_fitness:.4f}", *values, f"{progress.cost:g}"]
        self.rows[progress.side] = row
        self._draw()
        if self._is_due(progress.generation == 0):
            rate = self._rate()
            left = f", {self._left((self.total or 0) - self.count)}" if (self.total or 0) > self.count > 0 else ""
            shown = "  ".join(f"{name} {value}" for name, value in zip(SEARCHED, row, strict=True))
            self.note(f"{progress.side}  {shown}  ({rate:.1f} evaluations/s{left})")

    def training(self, step: int, total: int, losses: Mapping[str, float]) -> None:
        """Show a finished training step: rate, remaining time, main losses."""
        self.count += 1
        rate = f"{self._rate():.2f} steps/s"
        brief = {name: value for name, value in losses.items() if name.startswith(("cycle", "distil"))}
        self._advance(step, total, rate, _joined(brief))
        if self._is_due(step == total):
            self.note(f"step {step}/{total}  {rate}, {self._left(total - step)}  {_joined(losses)}")

    def images(self, done: int, total: int) -> None:
        """Show how many images are done: rate, remaining time."""
        self.count = done
        rate = f"{self._rate():.1f} images/s"
        self._advance(done, total, rate)
        if self._is_due(done == total):
            self.note(f"{done}/{total} images  {rate}, {self._left(total - done)}")

    def _rate(self) -> float:
        """How many a second since the stage began."""
        return self.count / max(time.monotonic() - self.begun, 1e-3)

    def _left(self, waiting: int) -> str:
        return f"about {waiting / self._rate():.0f} s left"

    def _is_due(self, now: bool) -> bool:
        """Whether a plain line is to be written: now, or because the last one was long ago; on a terminal, never."""
        due = self.live_area is None and (now or time.monotonic() - self.printed >= PLAIN_SECONDS)
        self.printed = time.monotonic() if due else self.printed
        return due

    def _advance(self, done: int, total: int | None, rate: str, note: str = "") -> None:
        self.bar.update(self.task, completed=done, total=total, rate=rate, note=note)
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
