"""NSGA-II: two objectives at once, and a front of compromises instead of one answer.

K. Deb, A. Pratap, S. Agarwal and T. Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE
Transactions on Evolutionary Computation 6(2), 2002. Both objectives are minimised: the size term (Eq. 10, or the share
of multiply-accumulates), and the quality term of Eq. 11, L_DisA + lam * L_cyc. Parents and offspring are measured in
one batch, because the partner changes; the best of them by front and crowding distance are the next parents.

The scalar fitness F of each individual stays among its terms, under "fitness": by it the elite that the other side
meets is chosen, unless the knee of the front is asked for.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any

from deap import tools
from deap.base import Toolbox

from ganprune.errors import UserError
from ganprune.evolution.algorithms.strategy import Strategy, choice, number
from ganprune.evolution.individual import Fitness, Individual, Score

Objectives = Callable[[Score], Sequence[float]]

_BROKEN = 1e-12  # the fitness of a candidate whose losses are not finite, and so not among its terms


class TwoObjectives(Fitness):
    """Two values, minimised."""

    weights = (-1.0, -1.0)


class FrontIndividual(Individual):
    """An individual with two objectives, whose scalar fitness is a term."""

    fitness_type = TwoObjectives

    @property
    def scalar_fitness(self) -> float:
        """The fitness F that the objectives are parts of."""
        return (self.terms or {})["fitness"]


def size_and_quality(score: Score) -> tuple[float, float]:
    """Return the default objectives, from the terms: ``size`` or else ``n``, and ``quality`` or else
    ``l_disa + 10 * l_cyc``.

    Raises:
        UserError: the score has no such terms.
    """
    terms = score.terms
    size, quality = terms.get("size", terms.get("n")), terms.get("quality")
    if quality is None and "l_disa" in terms and "l_cyc" in terms:
        quality = terms["l_disa"] + 10 * terms["l_cyc"]
    if quality is None and score[0] <= _BROKEN:
        quality = 1 / _BROKEN
    if size is None or quality is None:
        found, expected = ", ".join(terms) or "none", "n, and quality or l_disa and l_cyc"
        raise UserError("terms of the score", found, expected, "Give NSGA2 a function objectives(score) of your own.")
    return size, quality


def _check_function(name: str, value: Any) -> None:
    if not callable(value):
        raise UserError(name, value, "a function of a Score", "Leave it out for size and quality.")


@dataclass(eq=False)
class NSGA2(Strategy):
    """NSGA-II for one side. Uses ``mate``, ``mutate``, ``repair`` and ``population`` of the toolbox.

    Registering it gives the toolbox's individuals two objectives, makes ``evaluate`` return them, and adds ``front``.

    Args:
        population: parents, at least 4; a batch after the first has as many offspring beside them.
        crossover: the probability of two parents being crossed.
        mutation: the probability of a child being mutated. Deb et al. mutate all, at one bit each; the toolbox's
            mutations are coarser.
        elite: whom the other side meets: "best" is the individual of the batch with the best scalar fitness, "knee"
            that of the front with the most to lose either way (:func:`knee`); among equals the best one.
        objectives: score -> two numbers to minimise. It has to pickle where evaluation is spread over processes.

    Raises:
        UserError: a parameter is out of range or unknown.
    """

    requires = (*Strategy.requires, "evaluate", "mate", "mutate")
    least = 4
    later = 2  # parents and offspring
    holds_best = "batch"
    individual_type = FrontIndividual

    _: KW_ONLY
    crossover: float = number(0.9, 0, 1)
    mutation: float = number(0.5, 0, 1)
    elite: str = choice("best", "knee")
    objectives: Objectives = field(default=size_and_quality, compare=False, metadata={"check": _check_function})
    batch: list[Individual] = field(init=False, repr=False, default_factory=list)
    parents: list[Individual] = field(init=False, repr=False, compare=False, default_factory=list)

    def register(self, toolbox: Toolbox) -> Strategy:
        """Register the steps, and two objectives in place of one; see :meth:`Strategy.register`."""
        registered = getattr(self, "toolbox", None) is toolbox
        super().register(toolbox)
        toolbox.register("front", self.front)
        if not registered:
            draw = toolbox.individual
            toolbox.register("individual", lambda: FrontIndividual(draw()))
            toolbox.evaluate = partial(_Evaluate(toolbox.evaluate, self.objectives))
        return self

    def generate(self) -> list[Individual]:
        """Return the first population, or the parents and as many offspring."""
        if not self.parents:
            return self._drawn(self.population)
        batch, pairs = [self._copy(parent) for parent in self.parents], itertools.cycle(self._pairs())
        while len(batch) < 2 * self.population:
            batch += self._novel(partial(self._breed, *next(pairs)), batch)
        return batch[: 2 * self.population]

    def update(self, evaluated: list[Individual]) -> None:
        """Choose the next parents, by front and crowding distance."""
        self.batch = list(evaluated)
        self.parents = tools.selNSGA2(self.batch, self.population) if self.batch else []

    def get_best(self) -> Individual:
        """Return the individual of the last batch that the other side should meet."""
        best = super().get_best()
        if self.elite == "best":
            return best
        front = sorted(self.front(), key=lambda individual: individual.scalar_fitness, reverse=True)
        return front[knee([individual.fitness.values for individual in front])]

    def front(self) -> list[Individual]:
        """Return the non-dominated individuals of the last batch, each once, by rising first objective."""
        if not self.batch:
            return []
        first = tools.sortNondominated(self.batch, len(self.batch), first_front_only=True)[0]
        unique = {tuple(individual): individual for individual in first}
        return sorted(unique.values(), key=lambda individual: individual.fitness.values)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a ``state_dict``; see :meth:`Strategy.load_state_dict`."""
        super().load_state_dict(state)
        # Crowding distances are in no record: choosing the parents once more, which draws nothing, assigns them.
        self.update(self.batch)

    def _pairs(self) -> list[tuple[Individual, Individual]]:
        # DEAP holds four crowded tournaments at a time: a population that is no multiple of 4 gets another four.
        rest = self.population % 4
        pool = tools.selTournamentDCD(self.parents, self.population - rest)
        pool += tools.selTournamentDCD(self.parents, 4) if rest else []
        return list(zip(pool[::2], pool[1::2], strict=True))

    def _breed(self, first: Individual, second: Individual) -> list[Individual]:
        pair = self._copy(first), self._copy(second)
        if random.random() < self.crossover:
            pair = self.toolbox.mate(*pair)
        children = [self.toolbox.mutate(child)[0] if random.random() < self.mutation else child for child in pair]
        return [self._repair(child) for child in children]


class _Evaluate:
    """An ``evaluate`` with one value turned into one with two."""

    def __init__(self, evaluate: Callable[..., Any], objectives: Objectives):
        self.evaluate, self.objectives = evaluate, objectives

    def __call__(self, individual: Individual, partner: Individual | None = None) -> Any:
        result = self.evaluate(individual, partner)
        if not (isinstance(result, tuple) and len(result) == 1 and math.isfinite(result[0])):
            return result  # no score: the driver says so
        score = result if isinstance(result, Score) else Score(result)
        return Score(self.objectives(score), {**score.terms, "fitness": score[0]}, score.notes)


def knee(points: Sequence[Sequence[float]]) -> int:
    """Return the index of the knee of a front: the point furthest below the line through its two ends.

    I. Das, "On characterizing the 'knee' of the Pareto curve based on normal-boundary intersection", 1999; both
    objectives on the scale of the front.

    Args:
        points: (first, second) objectives, non-dominated, minimised; at least one.

    Returns:
        An index into ``points``; among equals, as on a front of two points, the first.
    """
    lows, spans = [], []
    for values in zip(*points, strict=True):
        lows.append(min(values))
        spans.append((max(values) - min(values)) or 1.0)
    sums = [sum((value - low) / span for value, low, span in zip(p, lows, spans, strict=True)) for p in points]
    return sums.index(min(sums))
