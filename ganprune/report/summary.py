"""The table of figures that commands print: original against compact, of both sides."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import getitem
from typing import Any, NamedTuple

from rich.table import Table

from ganprune.metrics.rows import METRICS, Metric

Figures = Mapping[str, Any]  # one side's, as summary.json holds them


class Cost(NamedTuple):
    """A line about size or speed.

    Attributes:
        label: its name in the table.
        place: its keys in a side's figures, joined by dots.
        digits: decimal places.
        factor: key of the ratio that is shown behind it.
        unit: what it is divided by.
    """

    label: str
    place: str
    digits: int
    factor: str | None = None
    unit: float = 1


COSTS = (
    Cost("parameters", "parameters", 0, factor="ratio"),
    Cost("memory (MB)", "memory_mb", 2),
    Cost("MACs, input size (M)", "macs.input_size", 1, factor="ratio", unit=1e6),
    Cost("MACs, output size (M)", "macs.output_size", 1, factor="ratio", unit=1e6),
    Cost("latency (ms per image)", "latency_ms", 2, factor="speedup"),
    Cost("speed-up / MAC ratio", "speed.eager.quotient", 2),
    Cost("latency in onnxruntime (ms)", "speed.onnxruntime", 2, factor="speedup"),
    Cost("speed-up / MAC ratio there", "speed.onnxruntime.quotient", 2),
)


def summary_table(sides: Mapping[str, Figures]) -> Table:
    """Return the table of an evaluation: a line for each figure that a side has, a column for each side.

    Args:
        sides: side -> what :func:`ganprune.metrics.evaluate.evaluate` returns of it.
    """
    first = next(iter(sides.values()))
    images, features = first["measured_on"], first.get("features", "")
    frechet = "FID" if features == "Inception" else "Frechet distance"
    lines = [(cost.label, [_cost(cost, figures) for figures in sides.values()]) for cost in COSTS]
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


def _cost(cost: Cost, figures: Figures) -> str:
    try:
        value: Any = reduce(getitem, cost.place.split("."), figures)
    except KeyError:
        return ""
    if not isinstance(value, Mapping):
        return f"{value:.{cost.digits}f}"
    before, after = (f"{value[name] / cost.unit:,.{cost.digits}f}" for name in ("original", "compact"))
    return f"{before} -> {after}" + (f"  ({value[cost.factor]:.2f}x)" if cost.factor else "")


def _metric(row: Metric, metrics: Figures) -> str:
    shown = []
    for values in (metrics["original"], metrics["compact"]):
        if row.name in values:
            deviation = f"±{values[row.deviation]:.{row.digits}f}" if row.deviation else ""
            shown.append(f"{values[row.name]:.{row.digits}f}{deviation}")
    return " -> ".join(shown)
