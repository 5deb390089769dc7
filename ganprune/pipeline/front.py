"""The Pareto front of an NSGA-II run: what no other individual beats in size and quality at once.

``front.json`` holds, for each side that NSGA-II searched, the non-dominated individuals of its last batch, which were
all measured against the same partner. ``size`` and ``quality`` are the two objectives, and both are minimised:
``quality`` is a loss, L_DisA + lam * L_cyc of Eq. 11. ``relative_quality`` turns it round: the front's lowest loss over
the point's own, in (0, 1], 1 for the best point; it needs no unit, so one number means the same for both sides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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
REQUIRED = ("size", "quality", "fitness")
SIZE_LABELS = {
    "params": "share of weights kept, N(p)",
    "macs": "share of multiply-accumulates kept",
    "latency": "share of latency kept, by the table",
}


@dataclass(frozen=True)
class Point:
    """One compromise.

    Attributes:
        bits: packed, as ``pack_bits`` gives them.
        terms: what it was measured to have: size, quality, fitness, n, macs (a share), l_disa, l_gena, l_cyc ...
        parameters: learned values of its compact generator.
        macs_per_image: multiply-accumulates of one image, counted at input size.
    """

    bits: str
    terms: Mapping[str, float]
    parameters: int
    macs_per_image: int

    def individual(self) -> FrontIndividual:
        """Return it as an individual with its objectives and terms."""
        individual = FrontIndividual(unpack_bits(self.bits))
        individual.fitness.values = self.terms["size"], self.terms["quality"]
        individual.terms = dict(self.terms)
        return individual


@dataclass(frozen=True)
class Front:
    """One side's front.

    Attributes:
        points: by rising size, so by falling loss; at least one.
        knee: the index of the point with the most to lose either way; of the better one where several are equal.
        best: the index of the point with the highest scalar fitness F.
        parameters, macs_per_image: of the original.
    """

    points: tuple[Point, ...]
    knee: int
    best: int
    parameters: int
    macs_per_image: int

    def relative_quality(self, index: int) -> float:
        """Return the front's lowest loss over that of a point, in (0, 1]."""
        loss = self.points[index].terms["quality"]
        return min(point.terms["quality"] for point in self.points) / loss if loss > 0 else 1.0

    def to_json(self) -> dict[str, Any]:
        """Return the front as JSON data."""
        points = [
            {
                "bits": point.bits, "parameters": point.parameters, "macs_per_image": point.macs_per_image,
                **point.terms, "relative_quality": self.relative_quality(index),
            }
            for index, point in enumerate(self.points)
        ]  # fmt: skip
        original = {"parameters": self.parameters, "macs_per_image": self.macs_per_image}
        return {"original": original, "knee": self.knee, "best": self.best, "points": points}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Front:
        """Return the front whose :meth:`to_json` this is.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        front = cls(
            tuple(_point(record) for record in data["points"]), int(data["knee"]), int(data["best"]),
            int(data["original"]["parameters"]), int(data["original"]["macs_per_image"]),
        )  # fmt: skip
        for index in (front.knee, front.best):
            if not 0 <= index < len(front.points):
                raise ValueError(f"point {index} of {len(front.points)}")
        return front


def _point(record: Mapping[str, Any]) -> Point:
    own = ("bits", "parameters", "macs_per_image", "relative_quality")
    terms = {name: float(value) for name, value in record.items() if name not in own}
    for name in REQUIRED:
        if not math.isfinite(terms[name]):
            raise ValueError(f"{name} = {terms[name]}")
    unpack_bits(record["bits"])
    return Point(record["bits"], terms, int(record["parameters"]), int(record["macs_per_image"]))


def save_fronts(directory: RunDirectory, search: Search, *, picture: bool = False) -> None:
    """Write ``front.json``, and ``front.png`` if a picture is wanted, unless no side is searched by NSGA-II."""
    fronts = find_fronts(search)
    if not fronts:
        return
    first = search.fitness[next(iter(fronts))]
    objectives = {"size": first.settings.cost, "quality": first.formula, "gamma": first.settings.gamma}
    sides = {name: front.to_json() for name, front in fronts.items()}
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
    points = tuple(
        Point(
            pack_bits(individual), dict(individual.terms), fitness.cost.parameters(individual),
            fitness.cost.macs(individual),
        )
        for individual in individuals
    )  # fmt: skip
    order = sorted(range(len(points)), key=lambda index: points[index].terms["fitness"], reverse=True)
    middle = order[knee([individuals[index].fitness.values for index in order])]
    full = fitness.space.full()
    return Front(points, middle, order[0], fitness.cost.parameters(full), fitness.cost.macs(full))


def _draw(directory: RunDirectory, fronts: Mapping[str, Front], fitness: CycleFitness) -> None:
    panels = [
        Panel(
            f"{name}: {len(front.points)} point" + "s" * (len(front.points) > 1),
            [point.terms["size"] for point in front.points],
            [point.terms["quality"] for point in front.points],
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
        return {name: Front.from_json(side) for name, side in data["sides"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"a front that cannot be used ({error!r})"
        raise UserError(
            str(directory.path(FRONT)), found, "the fronts that evolve wrote", "Restore the file."
        ) from error
