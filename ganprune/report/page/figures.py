"""Tables of figures: what a compact generator costs and gives, with intervals, and a sentence on what each means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any

import numpy as np

from ganprune.metrics.rows import LESS, METRICS, Metric
from ganprune.report.page.contents import Row, Run
from ganprune.report.summary import COSTS

BOOTSTRAPS, LEAST = 2000, 5  # fewer images give no interval
COST_MEANINGS = {
    "parameters": "Learned values: what a file of the generator holds.",
    "memory_mb": "The same as float32, in 2^20 bytes.",
    "macs.input_size": "Multiply-accumulates for one image; transposed convolutions counted at their input's size.",
    "macs.output_size": "The same, with transposed convolutions counted at their output's size.",
    "latency_ms": "Median time for one image on the machine that made the run, in PyTorch.",
    "speed.eager.quotient": "How much of the saved work became saved time in PyTorch: 1 is all of it.",
    "speed.onnxruntime": "Median time for one image in onnxruntime.",
    "speed.onnxruntime.quotient": "How much of the saved work became saved time in onnxruntime: 1 is all of it.",
}
MEANINGS = {
    "picture_error": "How far from good pictures, the set and each of them: 0 is the truth, 1 is plain damage.",
    "patch_distance": "How unlike real images the set is in texture and colour: 0 is as real ones, 0.35 plain damage.",
    "rms_error": "Root of the mean squared difference from the true image, on [0, 1]; 0.075 is plain damage.",
    "l_disa": "How differently the original discriminator judges both generators' images: 0 is no difference.",
    "l_gena": "Mean squared difference from the original's images, on [-1, 1]: likeness to the original, not quality.",
    "l_cyc": "How much of the image is lost on the way there and back, on [-1, 1]; low values can also be cheated.",
    "frechet": "Distance between all translations and all real images; too high for few images.",
    "kid": "Distance between all translations and all real images, with its deviation; about 0 for real ones.",
    "paired_l1": "Mean absolute difference from the true image, on [0, 1].",
    "psnr": "Signal-to-noise ratio against the true image, in dB.",
    "ssim": "Likeness of structure to the true image: 1 for equal images, about 0 for unrelated ones.",
    "ink_iou": "Ink drawn where there is ink in the true image, as a share of both: 1 is all of it.",
    "pixel_accuracy": "Share of pixels that a segmenter labels rightly on the translations.",
    "class_accuracy": "The same, as a mean over the classes.",
    "mean_iou": "Overlap of a segmenter's labels with the true ones, as a mean over the classes.",
}
NEXT_LINE = "\n"  # in a cell: what follows is small
VERDICTS = ("better", "worse", "unclear")

Sides = Mapping[str, Mapping[str, Any]]  # direction -> what summary.json says of it


@dataclass(frozen=True)
class Samples:
    """Figures of single images.

    Attributes:
        original, compact: each figure's values, of both generators, on the same images.
        count: images that the figures of the tables are means over; there may be more than those sampled.
    """

    original: Mapping[str, Sequence[float]]
    compact: Mapping[str, Sequence[float]]
    count: int


NONE = Samples({}, {}, 0)


def cost_rows(sides: Sides) -> list[Row]:
    """Return the lines on size and speed that at least one side has."""
    rows = []
    for label, place, digits, unit, ratio in COSTS:
        cells = [_cost(figures, place, digits, unit, ratio) for figures in sides.values()]
        if any(map(any, cells)):
            rows.append(Row(label, COST_MEANINGS.get(place, ""), cells))
    return rows


def _cost(figures: Mapping[str, Any], place: str, digits: int, unit: float, ratio: str) -> tuple[str, str, str]:
    try:
        value: Any = reduce(getitem, place.split("."), figures)
    except (KeyError, TypeError):
        return "", "", ""
    if not isinstance(value, Mapping):
        return "", "", f"{value:.{digits}f}"
    before, after = (f"{value[name] / unit:,.{digits}f}" for name in ("original", "compact"))
    return before, after, times(value[ratio] if ratio else value["original"] / value["compact"])


def times(ratio: float) -> str:
    """Return a ratio as text: "8.12x"."""
    return f"{ratio:.2f}x"


def quality_rows(sides: Sides, samples: Mapping[str, Samples]) -> list[Row]:
    """Return the lines on quality that at least one side has.

    Args:
        sides: with "metrics" of "original" and "compact", "measured_on", and perhaps "features".
        samples: by direction, as far as images were measured.
    """
    first = next(iter(sides.values()), {})
    features = first.get("features", "")
    words = {
        "images": first.get("measured_on", "test"), "features": features,
        "frechet": "FID" if features == "Inception" else "Frechet distance",
    }  # fmt: skip
    rows = []
    for metric in METRICS:
        found = [_quality(metric, each["metrics"], samples.get(name, NONE)) for name, each in sides.items()]
        if metric.label and any(any(cells) for cells, _ in found):
            cells, verdicts = zip(*found, strict=True)
            arrow = "lower is better" if metric.better == LESS else "higher is better"
            meaning = f"{MEANINGS.get(metric.name, '')} ({arrow[0].upper()}{arrow[1:]}.)".strip()
            rows.append(Row(metric.label.format(**words), meaning, cells, verdicts))
    return rows


def _quality(metric: Metric, metrics: Mapping[str, Any], samples: Samples) -> tuple[tuple[str, str, str], str]:
    """Return original, compact and their difference as text, and the verdict on it."""
    name, digits = metric.name, metric.digits
    before, after = samples.original.get(name, ()), samples.compact.get(name, ())
    shown = []
    for of, values in ((metrics["original"], before), (metrics["compact"], after)):
        text = f"{of[name]:.{digits}f}" if name in of else ""
        if text and metric.deviation in of:
            text += f"{NEXT_LINE}± {of[metric.deviation]:.{digits}f}"
        elif text and len(values) >= LEAST:
            text += NEXT_LINE + "{:.{d}f} to {:.{d}f}".format(*interval(values, of[name], samples.count), d=digits)
        shown.append(text)
    if not all(shown):
        return (shown[0], shown[1], ""), ""
    difference = metrics["compact"][name] - metrics["original"][name]
    text, low, high = f"{difference:+.{digits}f}", None, None
    if metric.deviation:
        spread = sum(metrics[of][metric.deviation] for of in ("original", "compact"))
        low, high = difference - spread, difference + spread
    elif len(before) == len(after) >= LEAST:
        low, high = interval([b - a for a, b in zip(before, after, strict=True)], difference, samples.count)
        text += f"{NEXT_LINE}{low:+.{digits}f} to {high:+.{digits}f}"
    return (shown[0], shown[1], text), _verdict(low, high, metric.better == LESS)


def _verdict(low: float | None, high: float | None, less: bool) -> str:
    if low is None or high is None:
        return ""
    if low <= 0 <= high:
        return "unclear"
    return "better" if (high < 0) == less else "worse"


def interval(values: Sequence[float], mean: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile bootstrap interval around a mean, from fixed draws.

    Args:
        values: of single images.
        mean: over all images.
        count: images that it is a mean over; where only some were sampled, these stand for all.
        level: of the interval.
    """
    data = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(0).integers(0, len(data), (BOOTSTRAPS, count))
    low, high = np.percentile(data[drawn].mean(1) - data.mean(), [50 * (1 - level), 50 * (1 + level)])
    return mean + float(low), mean + float(high)


def headline(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the ratios that matter first: (number, what it counts)."""
    found = []
    for place, what in (
        (("parameters", "ratio"), "fewer parameters"),
        (("macs", "input_size", "ratio"), "fewer multiply-accumulates"),
        (("latency_ms", "speedup"), "faster, measured"),
    ):
        try:
            found.append((f"{reduce(getitem, place, figures):.1f}x", what))
        except (KeyError, TypeError):
            continue
    return found


def verdict(rows: Sequence[Row], side: int) -> str:
    """Return in words the picture error, and in what a side's compact generator is better, worse, or neither clearly.

    The picture error comes first: it is what to go by, and figures of sets have no interval that would give a verdict.
    """
    named: dict[str, list[str]] = {name: [] for name in VERDICTS}
    for row in rows:
        if row.verdicts and row.verdicts[side]:
            named[row.verdicts[side]].append(row.label.partition(" (")[0])
    words = {"better": "better", "worse": "worse", "unclear": "no clear difference"}
    parts = [f"{words[name]} in {', '.join(labels)}" for name, labels in named.items() if labels]
    judged = [row.cells[side] for row in rows if row.label.startswith("picture error")]
    lines = [f"Picture error {before} -> {after}; lower is better." for before, after, change in judged if change]
    return " ".join([*lines, *([f"Against the original: {'; '.join(parts)}."] if parts else [])])


def figures_of(samples: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the means over images of figures per image."""
    return {name: float(np.mean(values)) for name, values in samples.items()}


def overview(runs: Sequence[Run]) -> list[Row]:
    """Return a line for each figure of several runs, with what each side's compact generator has, and the change."""
    tables = [{row.label: row for row in (*run.costs, *run.quality)} for run in runs]
    rows = []
    for label in dict.fromkeys(label for table in tables for label in table):
        cells: list[tuple[str, str]] = []
        for run, table in zip(runs, tables, strict=True):
            found = table[label].cells if label in table else [("", "", "")] * len(run.sides)
            cells += [(compact or change, change if compact else "") for _, compact, change in found]
        rows.append(Row(label, "", cells))
    return rows
