"""Charts as coordinates: what ``page.html`` draws as SVG, without a plotting library in the page."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 14, 44  # margins, for ticks and labels
TICKS = 6
COLOURS = 8  # that page.css has for series


@dataclass(frozen=True)
class Mark:
    """A point of a chart.

    Attributes:
        x, y: place in the drawing.
        title: what it is, in words.
        data: what the page needs where points can be chosen.
        kind: "", "knee" or "best".
    """

    x: float
    y: float
    title: str
    data: Mapping[str, Any] = field(default_factory=dict)
    kind: str = ""


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: in the legend; "" for none.
        colour: number of its colour.
        path: of the line, as SVG has it.
        band: of the area around it.
        marks: its points.
        thin: whether it is drawn lightly.
    """

    name: str
    colour: int
    path: str = ""
    band: str = ""
    marks: Sequence[Mark] = ()
    thin: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart with its axes.

    Attributes:
        title: what it shows, in a sentence: also its text for who can't see it.
        x_label, y_label: of the axes.
        x_ticks, y_ticks: (place, text).
        series: its lines.
    """

    title: str
    x_label: str
    y_label: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    series: Sequence[Series]
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True)
class Points:
    """What is drawn as one series.

    Attributes:
        name: in the legend.
        values: (x, y), x ascending.
        titles: of the points, if they are marked.
        data, kinds: of the marks.
        low, high: y of a band, for each point.
        stairs: whether the line keeps its value up to the next point.
        colour: number of its colour; None for the next one.
        thin: whether it is drawn lightly.
    """

    name: str
    values: Sequence[tuple[float, float]]
    titles: Sequence[str] = ()
    data: Sequence[Mapping[str, Any]] = ()
    kinds: Sequence[str] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    stairs: bool = False
    colour: int | None = None
    thin: bool = False


def draw(lines: Sequence[Points], *, title: str, x_label: str, y_label: str) -> Chart:
    """Lay out a chart; at least one of the lines has a point."""
    xs = [x for line in lines for x, _ in line.values]
    ys = [y for line in lines for y in (*(y for _, y in line.values), *line.low, *line.high)]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    across = _scale(x_ticks, LEFT, WIDTH - RIGHT)
    down = _scale(y_ticks, HEIGHT - BOTTOM, TOP)
    series = []
    for number, line in enumerate(lines):
        places = [(across(x), down(y)) for x, y in line.values]
        band = ""
        if line.low:
            upper = [(x, down(y)) for (x, _), y in zip(places, line.high, strict=True)]
            lower = [(x, down(y)) for (x, _), y in zip(places, line.low, strict=True)]
            band = _path([*_stairs(upper, line.stairs), *reversed(_stairs(lower, line.stairs))]) + "Z"
        marks = []
        for index, text in enumerate(line.titles):
            data = line.data[index] if line.data else {}
            marks.append(Mark(*places[index], text, data, line.kinds[index] if line.kinds else ""))
        colour = (number if line.colour is None else line.colour) % COLOURS
        series.append(Series(line.name, colour, _path(_stairs(places, line.stairs)), band, marks, line.thin))
    return Chart(
        title, x_label, y_label, [(across(x), number_text(x)) for x in x_ticks],
        [(down(y), number_text(y)) for y in y_ticks], series,
    )  # fmt: skip


def ticks(low: float, high: float, most: int = TICKS) -> list[float]:
    """Return round numbers, evenly spaced, from at most ``low`` to at least ``high``."""
    if high <= low:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def number_text(value: float) -> str:
    """Return a tick's number, short."""
    if value and abs(value) < 1e-3:
        return f"{value:.0e}"
    return f"{round(value, 4):,.10g}"


def _scale(values: Sequence[float], start: float, end: float) -> Any:
    low, high = values[0], values[-1]
    return lambda value: round(start + (value - low) / (high - low) * (end - start), 1)


def _stairs(places: Sequence[tuple[float, float]], wanted: bool) -> list[tuple[float, float]]:
    if not wanted:
        return list(places)
    result = list(places[:1])
    for (_, before), (x, y) in itertools.pairwise(places):
        result += [(x, before), (x, y)]
    return result


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places) if places else ""


def search_curve(log: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> Chart | None:
    """Return the best and the mean fitness of each side against the cost so far; None of an empty logbook.

    Args:
        log: lines of ``logbook.jsonl``.
        titles: of the sides.
    """
    lines = []
    for colour, (side, title) in enumerate(titles.items()):
        steps = [line for line in log if line["side"] == side and line["best"] is not None]
        if not steps:
            continue
        texts = [_elite_text(side, step) for step in steps]
        best = [(float(step["cost"]), float(step["best"])) for step in steps]
        mean = [(float(step["cost"]), float(step.get("mean", step["best"]))) for step in steps]
        lines.append(Points(f"{title}: elite", best, texts, colour=colour))
        lines.append(Points("", mean, colour=colour, thin=True))
    if not lines:
        return None
    title = "Fitness of both sides' elites and, thin, the mean of each population, as the search went on"
    return draw(lines, title=title, x_label="cost: evaluations + rescores / 2", y_label="fitness (higher is better)")


def _elite_text(side: str, step: Mapping[str, Any]) -> str:
    terms = {name: value for name, value in (step.get("terms") or {}).items() if isinstance(value, (int, float))}
    shown = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
    return f"{side}, generation {step['generation']}: fitness {step['best']:.4f}" + (f"; {shown}" if shown else "")


def front_chart(side: str, title: str, front: Any, size_label: str) -> Chart:
    """Return a front as a chart whose points can be chosen.

    Args:
        side: "A2B" or "B2A".
        title: of the side.
        front: with ``points``, ``original``, ``knee`` and ``best`` as ``front.json`` has them.
        size_label: what the size is.
    """
    values, texts, data, kinds = [], [], [], []
    for index, point in enumerate(front.points):
        smaller = front.original["parameters"] / point["parameters"]
        fewer = front.original["macs_per_image"] / point["macs_per_image"]
        values.append((float(point["size"]), float(point["quality"])))
        texts.append(
            f"{side} point {index}: {smaller:.2f}x fewer parameters, {fewer:.2f}x fewer MACs, loss "
            f"{point['quality']:.4f} ({point['relative_quality']:.0%} of the best quality)"
        )
        data.append({"side": side, "index": index})
        kinds.append("knee" if index == front.knee else "best" if index == front.best else "")
    line = Points("", values, texts, data, kinds, stairs=True)
    shown = f"{title}: size against loss of the {len(values)} points that no other one beats in both"
    return draw([line], title=shown, x_label=size_label, y_label="loss (lower is better)")


@dataclass(frozen=True)
class Layer:
    """A convolution in the picture of a network: its outputs, of the original and kept, and the bars that show them."""

    name: str
    original: int
    kept: int
    x: float
    width: float
    whole: float
    part: float


@dataclass(frozen=True)
class Silhouette:
    """A network's layers from input to output, each as high as it is wide."""

    layers: Sequence[Layer]
    width: int = WIDTH
    height: int = 150


def silhouette(original: Mapping[str, int], kept: Mapping[str, int]) -> Silhouette:
    """Return the picture of a network.

    Args:
        original, kept: outputs of each convolution by its path, in the network's order.
    """
    height, gap = Silhouette.height - 10, 4
    step = WIDTH / max(1, len(original))
    most = max(original.values(), default=1)
    layers = []
    for number, (name, whole) in enumerate(original.items()):
        left = round(number * step + gap / 2, 1)
        layers.append(
            Layer(
                name, whole, kept[name], left, round(step - gap, 1), height * whole / most, height * kept[name] / most
            )
        )
    return Silhouette(layers)
