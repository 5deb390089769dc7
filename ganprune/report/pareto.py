"""A picture of Pareto fronts: size against loss, one panel per side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganprune.runs.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE, KNEE, BEST, INK = "#4477aa", "#ee7733", "#117733", "#333333"
PANEL_WIDTH, HEIGHT, DPI = 5.4, 4.6, 150  # inches, inches, dots per inch
NUMBER_OFFSET, NUMBER_ROOM = 5, 12  # points between a mark and its number; least distance between two numbers


@dataclass(frozen=True)
class Panel:
    """One side's front.

    Attributes:
        title: what stands above it.
        sizes, losses: of its points, both minimised; at least one point.
        knee, best: the indices of the two points that are marked.
    """

    title: str
    sizes: Sequence[float]
    losses: Sequence[float]
    knee: int
    best: int


def draw_fronts(path: str | Path, panels: Sequence[Panel], *, size_label: str, loss_label: str) -> None:
    """Write a PNG file with one panel beside the other.

    Points bear their index, as ``ganprune pick --index`` takes it, where there is room for it.

    Args:
        path: the file.
        panels: at least one.
        size_label, loss_label: what the axes show.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot, which would choose a backend for the whole process

    figure = Figure(figsize=(PANEL_WIDTH * len(panels), HEIGHT), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(row, panels, strict=True):
        _draw(axes, panel)
        axes.set_xlabel(size_label)
    row[0].set_ylabel(loss_label)
    handles, names = row[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    canvas.draw()  # the layout is known only now, and with it what is how far from what
    for axes, panel in zip(row, panels, strict=True):
        _number(figure, axes, panel)
    nobody = {"Software": None}  # not which version drew it
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata=nobody)


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.margins(0.08)
    # Stairs, since between two points nothing was found: a straight line would promise compromises.
    axes.step(panel.sizes, panel.losses, where="post", color=LINE, linewidth=1, alpha=0.6)
    axes.plot(panel.sizes, panel.losses, "o", color=LINE, markersize=5, label="non-dominated")
    for index, mark, colour, size, name in (
        (panel.knee, "D", KNEE, 12.0, "knee"),
        (panel.best, "*", BEST, 11.0, "best fitness F"),
    ):
        # The knee is a frame, so that the star shows inside it where both are one point.
        face = "none" if mark == "D" else colour
        axes.plot(
            panel.sizes[index], panel.losses[index], mark, color=colour, markerfacecolor=face, markersize=size,
            markeredgewidth=1.6 if mark == "D" else 0.5, linestyle="none", label=name, zorder=3,
        )  # fmt: skip


def _number(figure: Figure, axes: Axes, panel: Panel) -> None:
    """Write the points' indices: the marked points' first, then those that have room beside them."""
    scale = figure.dpi / 72
    places = axes.transData.transform(list(zip(panel.sizes, panel.losses, strict=True))) / scale
    order = dict.fromkeys([panel.knee, panel.best, 0, len(places) - 1, *range(len(places))])
    taken: list[int] = []
    for index in order:
        if all(abs(places[index] - places[other]).max() >= NUMBER_ROOM for other in taken):
            taken.append(index)
            offset = NUMBER_OFFSET + 3 * (index in (panel.knee, panel.best))
            axes.annotate(
                str(index), (panel.sizes[index], panel.losses[index]), (offset, offset), textcoords="offset points",
                fontsize=8, color=INK,
            )  # fmt: skip
