"""The Pareto front of an NSGA-II run: what no other individual beats in size and quality at once.

``front.json`` holds, for each side that NSGA-II searched, the non-dominated individuals of its last batch, which were
all measured against the same partner. ``size`` and ``quality`` are the two objectives, and both are minimised:
``quality`` is a loss, L_DisA + lam * L_cyc of Eq. 11. ``relative_quality`` turns it round: the front's lowest loss over
the point's own, in (0, 1], 1 for the best point; it needs no unit, so one number means the same for both sides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ganprune.errors import UserError
from ganprune.evolution.algorithms.nsga2 import NSGA2, FrontIndividual, knee
from ganprune.evolution.individual import pack_bits, unpack_bits
from ganprune.fitness import CycleFitness
from ganprune.models.options import SIDES
from ganprune.pipeline.search import Search
from ganprune.report.pareto import Panel, draw_fronts
from ganprune.runs.directory import RunDirectory
from ganprune.runs.files import check_format

FRONT, PICTURE = "front.json", "front.png"
FORMAT = 1
SIZES = ("parameters", "macs_per_image")
FIGURES = (*SIZES, "relative_quality")  # of a point, beside its bits; all else are terms
REQUIRED = ("size", "quality", "fitness", *FIGURES)
SIZE_LABELS = {
    "params": "share of weights kept, N(p)",
    "macs": "share of multiply-accumulates kept",
    "latency": "share of latency kept, by the table",
}


@dataclass(frozen=True)
class Front:
    """One side's front, as ``front.json`` holds it.

    Attributes:
        original: parameters and macs_per_image of the original.
        knee: the index of the point with the most to lose either way; of the better one where several are equal.
        best: the index of the point with the highest scalar fitness F.
        points: by rising size, so by falling loss; at least one. Each has its bits (packed), parameters (learned
            values of its compact generator), macs_per_image (multiply-accumulates, counted at input size), the terms
            that it was measured to have (size, quality, fitness, n, macs as a share, l_disa, l_gena, l_cyc ...), and
            relative_quality.

    Raises:
        KeyError, TypeError, ValueError: data of a file that are no front.
    """

    original: Mapping[str, int]
    knee: int
    best: int
    points: Sequence[Mapping[str, Any]]

    def __post_init__(self) -> None:
        for index in (self.knee, self.best):
            if type(index) is not int or not 0 <= index < len(self.points):
                raise ValueError(f"point {index} of {len(self.points)}")
        for values, names in (self.original, SIZES), *((point, (*REQUIRED, *point)) for point in self.points):
            for name in names:
                if name == "bits":
                    continue
                value = values[name]
                if type(value) not in (int, float) or not math.isfinite(value) or (name in SIZES and value <= 0):
                    raise ValueError(f"{name} = {value!r}")
        if max(point["relative_quality"] for point in self.points) != 1:
            raise ValueError("no point of relative quality 1")
        for index in range(len(self.points)):
            self.individual(index)

    def individual(self, index: int) -> FrontIndividual:
        """Return a point as an individual with its objectives and terms."""
        point = self.points[index]
        individual = FrontIndividual(unpack_bits(point["bits"]))
        individual.fitness.values = point["size"], point["quality"]
        individual.terms = {name: value for name, value in point.items() if name not in ("bits", *FIGURES)}
        return individual


def save_fronts(directory: RunDirectory, search: Search, *, picture: bool = False) -> None:
    """Write ``front.json``, and ``front.png`` if a picture is wanted, unless no side is searched by NSGA-II."""
    fronts = find_fronts(search)
    if not fronts:
        return
    first = search.fitness[next(iter(fronts))]
    objectives = {"size": first.settings.cost, "quality": first.formula, "gamma": first.settings.gamma}
    sides = {name: asdict(front) for name, front in fronts.items()}
    directory.write_json(FRONT, {"format": FORMAT, "objectives": objectives, "sides": sides})
    if picture:
        _draw(directory, fronts, first)


def find_fronts(search: Search) -> dict[str, Front]:
    """Return the fronts of the sides that NSGA-II searches and has evaluated a batch of."""
    fronts = {}
    for name, strategy in search.strategies.items():
        # A candidate whose losses are not finite has no quality: however small, it is no compromise.
        whole = [i for i in strategy.front() if "quality" in (i.terms or {})] if isinstance(strategy, NSGA2) else []
        if whole:
            fronts[name] = _front(whole, search.fitness[name])
    return fronts


def _front(individuals: list[Any], fitness: CycleFitness) -> Front:
    def costs(bits: Sequence[int]) -> dict[str, int]:
        return {"parameters": fitness.cost.parameters(bits), "macs_per_image": fitness.cost.macs(bits)}

    points = [{"bits": pack_bits(each), **costs(each), **each.terms} for each in individuals]
    least = min(point["quality"] for point in points)
    for point in points:
        point["relative_quality"] = least / point["quality"] if point["quality"] > 0 else 1.0
    order = sorted(range(len(points)), key=lambda index: points[index]["fitness"], reverse=True)
    middle = order[knee([individuals[index].fitness.values for index in order])]
    return Front(costs(fitness.space.full()), middle, order[0], points)


def _draw(directory: RunDirectory, fronts: Mapping[str, Front], fitness: CycleFitness) -> None:
    panels = [
        Panel(
            f"{name}: {len(front.points)} point" + "s" * (len(front.points) > 1),
            [point["size"] for point in front.points],
            [point["quality"] for point in front.points],
            front.knee,
            front.best,
        )
        for name, front in fronts.items()
    ]
    formula = fitness.formula
    for plain, shown in {"l_disa": "L_DisA", "l_gena": "L_GenA", "l_cyc": "L_cyc", " * ": " "}.items():
        formula = formula.replace(plain, shown)
    size = SIZE_LABELS.get(fitness.settings.cost, f"size ({fitness.settings.cost})")
    draw_fronts(
        directory.path(PICTURE), panels, size_label=f"{size}\n(lower is smaller)",
        loss_label=f"loss, {formula}\n(lower is better)",
    )  # fmt: skip


def read_fronts(directory: RunDirectory) -> dict[str, Front]:
    """Return the fronts of a run by side.

    Raises:
        UserError: the run has none, or the file is damaged or another version's.
    """
    if not directory.exists(FRONT):
        raise UserError(
            "run", f"{directory.directory} (no {FRONT} in it)", "a run of ganprune evolve --algorithm nsga2",
            "Only NSGA-II leaves a front to pick from: search with it, or check the path.",
        )  # fmt: skip
    data = directory.read_json(FRONT)
    try:
        check_format(data, FORMAT, directory.path(FRONT))
        if not data["sides"] or not set(data["sides"]) <= set(SIDES):
            raise ValueError(f"sides {list(data['sides'])}")
        return {name: Front(**side) for name, side in data["sides"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"a front that cannot be used ({error!r})"
        raise UserError(
            str(directory.path(FRONT)), found, "the fronts that evolve wrote", "Restore the file."
        ) from error
