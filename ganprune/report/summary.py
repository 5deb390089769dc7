"""The table of figures that commands print: original against compact, of both sides."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import getitem
from typing import Any

from rich.table import Table

from ganprune.metrics.rows import METRICS, Metric

Figures = Mapping[str, Any]  # one side's, as summary.json holds them


# Label, place among the figures, decimal places, what it is divided by, key of the ratio that is shown behind it.
COSTS = (
    ("parameters", "parameters", 0, 1, "ratio"),
    ("memory (MB)", "memory_mb", 2, 1, ""),
    ("MACs, input size (M)", "macs.input_size", 1, 1e6, "ratio"),
    ("MACs, output size (M)", "macs.output_size", 1, 1e6, "ratio"),
    ("latency (ms per image)", "latency_ms", 2, 1, "speedup"),
    ("speed-up / MAC ratio", "speed.eager.quotient", 2, 1, ""),
    ("latency in onnxruntime (ms)", "speed.onnxruntime", 2, 1, "speedup"),
    ("speed-up / MAC ratio there", "speed.onnxruntime.quotient", 2, 1, ""),
)


def summary_table(sides: Mapping[str, Figures]) -> Table:
    """Return the table of an evaluation: a line for each figure that a side has, a column for each side.

    Args:
        sides: side -> what :func:`ganprune.metrics.evaluate.evaluate` returns of it.
    """
    first = next(iter(sides.values()))
    images, features = first["measured_on"], first.get("features", "")
    frechet = "FID" if features == "Inception" else "Frechet distance"
    lines = [(cost[0], [_cost(figures, *cost[1:]) for figures in sides.values()]) for cost in COSTS]
    for row in METRICS:
        label = row.label.format(images=images, features=features, frechet=frechet)
        lines.append((label, [_metric(row, figures["metrics"]) for figures in sides.values()]))
    table = Table("figure", title="original -> compact", title_justify="left")
    for name in sides:
        table.add_column(name, justify="right")
    for label, cells in lines:
        if label and any(cells):
            table.add_row(label, *cells)
    return table


def _cost(figures: Figures, place: str, digits: int, unit: float, ratio: str) -> str:
    try:
        value: Any = reduce(getitem, place.split("."), figures)
    except KeyError:
        return ""
    if not isinstance(value, Mapping):
        return f"{value:.{digits}f}"
    before, after = (f"{value[name] / unit:,.{digits}f}" for name in ("original", "compact"))
    return f"{before} -> {after}" + (f"  ({value[ratio]:.2f}x)" if ratio else "")


def _metric(row: Metric, metrics: Figures) -> str:
    shown = []
    for values in (metrics["original"], metrics["compact"]):
        if row.name in values:
            deviation = f"±{values[row.deviation]:.{row.digits}f}" if row.deviation else ""
            shown.append(f"{values[row.name]:.{row.digits}f}{deviation}")
    return " -> ".join(shown)
