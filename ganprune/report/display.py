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


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip


class Display:
    """Shows stages, the search and training; one for a whole command.

    Args:
        console: where to write (default: standard error).
    """

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True)
        self.live_area: Live | None = None
        self.bar = _bar()
        self.task: Any = None
        self.table: Table | None = None
        self.begun = self.printed = time.monotonic()
        self.count = 0
        self.total: int | None = None
        self.rows: dict[str, list[str]] = {}

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
        self.begun, self.count, self.total, self.task, self.bar = time.monotonic(), 0, total, None, _bar()
        self.printed = self.begun
        self.console.print(f"[bold]{text}[/bold]" if self.console.is_terminal else text, highlight=False)
        if self.live_area is not None:
            self.task = self.bar.add_task("", total=total, rate="", note="")
            self._draw()

    def note(self, text: str) -> None:
        """Say something about what was found."""
        self._plain(text)

    def evaluation(self, side: str, individual: Any) -> None:
        """Count one scored individual."""
        self.count += 1
        if self.live_area is not None and self.task is not None:
            rate = self.count / max(time.monotonic() - self.begun, 1e-3)
            self.bar.update(self.task, completed=self.count, rate=f"{rate:.1f} evaluations/s")
            self._draw()

    def search(self, progress: SearchProgress) -> None:
        """Show a finished step of the search: best fitness, N, L_DisA and L_cyc of its side."""
        terms = progress.elite.terms or {}
        values = [f"{progress.elite.scalar_fitness:.4f}"]
        values += [f"{terms[name]:.4f}" if name in terms else "-" for name in ("n", "l_disa", "l_cyc")]
        self.rows[progress.side] = [progress.side, str(progress.generation), *values, f"{progress.cost:g}"]
        if self.live_area is not None:
            self.table = _table(self.rows)
            self._draw()
        elif time.monotonic() - self.printed >= PLAIN_SECONDS or progress.generation == 0:
            self.printed = time.monotonic()
            rate = self.count / max(self.printed - self.begun, 1e-3)
            waiting = (self.total or 0) - self.count
            left = f", about {waiting / rate:.0f} s left" if waiting > 0 and rate > 0 else ""
            names = ("generation", "best fitness", "N", "L_DisA", "L_cyc", "cost")
            shown = "  ".join(f"{n} {v}" for n, v in zip(names, self.rows[progress.side][1:], strict=True))
            self._plain(f"{progress.side}  {shown}  ({rate:.1f} evaluations/s{left})")

    def training(self, step: int, total: int, losses: Mapping[str, float]) -> None:
        """Show a finished training step: rate, remaining time, main losses."""
        now = time.monotonic()
        self.count += 1
        rate = self.count / max(now - self.begun, 1e-3)
        if self.live_area is not None and self.task is not None:
            brief = "  ".join(f"{n} {v:.3f}" for n, v in losses.items() if n.startswith(("cycle", "distil")))
            self.bar.update(self.task, completed=step, total=total, rate=f"{rate:.2f} steps/s", note=brief)
            self._draw()
        elif now - self.printed >= PLAIN_SECONDS or step == total:
            self.printed = now
            shown = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
            self._plain(f"step {step}/{total}  {rate:.2f} steps/s, about {(total - step) / rate:.0f} s left  {shown}")

    def images(self, done: int, total: int) -> None:
        """Show how many images are done: rate, remaining time."""
        now = time.monotonic()
        rate = done / max(now - self.begun, 1e-3)
        if self.live_area is not None and self.task is not None:
            self.bar.update(self.task, completed=done, total=total, rate=f"{rate:.1f} images/s")
            self._draw()
        elif now - self.printed >= PLAIN_SECONDS or done == total:
            self.printed = now
            self._plain(f"{done}/{total} images  {rate:.1f} images/s, about {(total - done) / rate:.0f} s left")

    def _plain(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        if self.live_area is not None:
            self.live_area.update(Group(*(part for part in (self.table, self.bar) if part is not None)))


def _table(rows: Mapping[str, list[str]]) -> Table:
    table = Table("side", "generation", "best fitness", "N", "L_DisA", "L_cyc", "cost")
    for row in rows.values():
        table.add_row(*row)
    return table


def summary_table(sides: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the final table of a run: original against compact, both sides."""
    table = Table(title="original -> compact", title_justify="left")
    table.add_column("figure")
    for name in sides:
        table.add_column(name, justify="right")
    for label, cell in _rows(next(iter(sides.values()))).items():
        cells = [_cell(cell, figures) for figures in sides.values()]
        if any(cells):
            table.add_row(label, *cells)
    return table


def _pair(section: str, scale: float, digits: int, factor: str | None) -> Any:
    def cell(figures: Mapping[str, Any]) -> str:
        values = figures
        for part in section.split("."):
            values = values[part]
        text = f"{values['original'] / scale:,.{digits}f} -> {values['compact'] / scale:,.{digits}f}"
        return f"{text}  ({values[factor]:.2f}x)" if factor else text

    return cell


def _value(section: str, digits: int) -> Any:
    def cell(figures: Mapping[str, Any]) -> str:
        value: Any = figures
        for part in section.split("."):
            value = value[part]
        return f"{value:.{digits}f}"

    return cell


def _metric(name: str, digits: int) -> Any:
    def cell(figures: Mapping[str, Any]) -> str:
        metrics = figures["metrics"]
        before, after = metrics["original"].get(name), metrics["compact"].get(name)
        if after is None:
            return ""
        return f"{after:.{digits}f}" if before is None else f"{before:.{digits}f} -> {after:.{digits}f}"

    return cell


def _kid(figures: Mapping[str, Any]) -> str:
    metrics = figures["metrics"]
    values = (f"{metrics[name]['kid']:.4f}±{metrics[name]['kid_std']:.4f}" for name in ("original", "compact"))
    return " -> ".join(values)


def _rows(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return label -> cell; labels say on which images, and on whose features, a figure was measured."""
    images, features = figures.get("measured_on", "test"), figures.get("features", "")
    frechet = "FID" if features == "Inception" else "Frechet distance"
    return {
        "parameters": _pair("parameters", 1, 0, "ratio"),
        "memory (MB)": _pair("memory_mb", 1, 2, None),
        "MACs, input size (M)": _pair("macs.input_size", 1e6, 1, "ratio"),
        "MACs, output size (M)": _pair("macs.output_size", 1e6, 1, "ratio"),
        "latency (ms per image)": _pair("latency_ms", 1, 2, "speedup"),
        "speed-up / MAC ratio": _value("speed.eager.quotient", 2),
        "latency in onnxruntime (ms)": _pair("speed.onnxruntime", 1, 2, "speedup"),
        "speed-up / MAC ratio there": _value("speed.onnxruntime.quotient", 2),
        f"L_DisA ({images})": _metric("l_disa", 4),
        f"L_GenA ({images})": _metric("l_gena", 4),
        f"L_cyc ({images})": _metric("l_cyc", 4),
        f"{frechet} ({images}, {features})": _metric("frechet", 3),
        f"KID ({images}, {features})": _kid,
        f"paired L1 ({images})": _metric("paired_l1", 4),
        f"PSNR ({images}, dB)": _metric("psnr", 2),
        f"SSIM ({images})": _metric("ssim", 4),
        f"ink IoU ({images})": _metric("ink_iou", 4),
        f"pixel accuracy ({images})": _metric("pixel_accuracy", 4),
        f"class accuracy ({images})": _metric("class_accuracy", 4),
        f"mean IoU ({images})": _metric("mean_iou", 4),
    }


def _cell(cell: Any, figures: Mapping[str, Any]) -> str:
    try:
        return str(cell(figures))
    except KeyError:
        return ""
