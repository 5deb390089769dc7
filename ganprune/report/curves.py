"""Curves of several runs against their cost, with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ganprune.runs.files import replacing

Curve = Sequence[tuple[float, float]]  # (cost, value), cost ascending


def step_values(curve: Curve, grid: np.ndarray) -> np.ndarray:
    """Return the curve's value at each cost of the grid: that of the last point up to there, NaN before the first."""
    costs, values = np.array(curve, dtype=float).T
    index = np.searchsorted(costs, grid, side="right") - 1
    return np.where(index < 0, np.nan, values[np.maximum(index, 0)])


def plot_curves(
    path: str | Path, curves: Mapping[str, Sequence[Curve]], *, x_label: str, y_label: str, title: str = ""
) -> None:
    """Draw each name's mean over its curves and a band from the lowest to the highest, as a PNG file.

    Curves that are one point at cost 0 are levels: dashed lines over the whole width.

    Args:
        path: of the picture.
        curves: name -> the curves of its runs.
        x_label, y_label, title: texts.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure  # not pyplot, which would choose a backend for the whole process

    last = max(curve[-1][0] for runs in curves.values() for curve in runs) or 1
    grid = np.linspace(0, last, 400)
    figure = Figure(figsize=(9.5, 4.6), layout="constrained")
    axis = figure.subplots()
    colours = colormaps["tab10" if len(curves) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    for colour, (name, runs) in zip(colours, curves.items(), strict=False):
        values = np.array([step_values(curve, grid) for curve in runs])
        shown = ~np.isnan(values).any(0)  # only where every run has a value, lest the mean jump
        mean, low, high = (f(values[:, shown], axis=0) for f in (np.mean, np.min, np.max))
        style = "--" if all(len(curve) == 1 and curve[0][0] == 0 for curve in runs) else "-"
        axis.plot(grid[shown], mean, style, color=colour, label=name, linewidth=1.8)
        axis.fill_between(grid[shown], low, high, color=colour, alpha=0.12, linewidth=0)
    axis.set(xlabel=x_label, ylabel=y_label)
    axis.set_title(title, fontsize=10)
    axis.grid(alpha=0.25)
    figure.legend(fontsize=8, loc="outside right upper")  # beside the curves, lest it hide one
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
