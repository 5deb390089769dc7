"""What long work shows: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_SECONDS = 10.0


class TrainingDisplay:
    """Shows step, rate, remaining time and the main losses of a training run.

    Args:
        title: what is being trained.
        console: where to write (default: standard error).
    """

    def __init__(self, title: str, console: Console | None = None):
        self.title = title
        self.console = console or Console(stderr=True)
        self.progress: Progress | None = None
        self.first: tuple[int, float] | None = None
        self.printed = 0.0

    @contextmanager
    def live(self) -> Iterator[TrainingDisplay]:
        """Keep the progress bar on screen inside this block (nothing is drawn where there is no terminal)."""
        if not self.console.is_terminal:
            yield self
            return
        columns = [
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[losses]}"),
        ]  # fmt: skip
        with Progress(*columns, console=self.console) as self.progress:
            self.task = self.progress.add_task(self.title, total=None, rate="", losses="")
            yield self

    def __call__(self, step: int, total: int, losses: Mapping[str, float]) -> None:
        """Report one finished step; matches what the training functions call."""
        now = time.monotonic()
        self.first = self.first or (step - 1, now)
        rate = (step - self.first[0]) / max(now - self.first[1], 1e-3)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        if self.progress is not None:
            brief = "  ".join(f"{n} {v:.2f}" for n, v in losses.items() if n.startswith(("cycle", "distil")))
            self.progress.update(self.task, completed=step, total=total, rate=f"{rate:.2f} steps/s", losses=brief)
        elif now - self.printed >= PLAIN_SECONDS or step == total:
            self.printed = now
            remaining = (total - step) / rate if step > self.first[0] + 1 else float("nan")
            print(f"{self.title}: step {step}/{total}  {rate:.2f} steps/s  {remaining:.0f} s left  {shown}", file=sys.stderr)
