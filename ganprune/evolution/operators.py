"""Selection, crossover and mutation of filter bit strings, by DEAP's conventions.

Selections return references to the chosen individuals. Crossovers and mutations change what they are given, in
place, and return it in a tuple. All draw from the global ``random`` only. What they leave behind can have empty
groups: the strategy repairs it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from deap import tools
from deap.tools import cxTwoPoint, mutFlipBit, selTournament

__all__ = [
    "cxGroup",
    "cxTwoPoint",
    "mutFlipBit",
    "mutFlipSegment",
    "mutGroup",
    "mutGroupOrFlip",
    "selRoulette",
    "selStochasticUniversalSampling",
    "selTournament",
]


def selRoulette(individuals: Sequence[Any], k: int) -> list[Any]:
    """Select with probability F_j / sum of all F (Eq. 12), with replacement.

    Args:
        individuals: evaluated individuals; the first fitness value of each counts.
        k: how many to select.

    Returns:
        ``k`` references into ``individuals``.

    Raises:
        ValueError: a fitness is not a positive, finite, maximised number.
    """
    return random.choices(individuals, weights=_positive_fitness("selRoulette", individuals), k=k)


def selStochasticUniversalSampling(individuals: Sequence[Any], k: int) -> list[Any]:
    """Select as Eq. 12 but with one spin of ``k`` evenly spaced pointers (Baker, 1987): less luck than a roulette.

    Arguments, result and errors are those of :func:`selRoulette`.
    """
    _positive_fitness("selStochasticUniversalSampling", individuals)
    return tools.selStochasticUniversalSampling(individuals, k)


def cxGroup(ind1: Any, ind2: Any, group_sizes: Sequence[int], indpb: float = 0.5) -> tuple[Any, Any]:
    """Swap whole groups of filters: uniform crossover (Syswerda, 1989) with a group as its gene.

    Filters of one group only make sense together, so a child gets each group from one parent.

    Args:
        ind1: the first parent, changed in place.
        ind2: the second parent, changed in place.
        group_sizes: filters per group, in the order of the bits.
        indpb: the probability of a group to be swapped, in [0, 1].

    Returns:
        Both children.
    """
    for group in _slices(group_sizes):
        if random.random() < indpb:
            ind1[group], ind2[group] = ind2[group], ind1[group]
    return ind1, ind2


def mutFlipSegment(individual: Any) -> tuple[Any]:
    """Invert every bit between two random cut points: the mutation of the paper's Algorithm 1.

    Args:
        individual: changed in place; at least one bit is inverted, at most all.

    Returns:
        The mutant, in a tuple.
    """
    start, end = sorted(random.sample(range(len(individual) + 1), 2))
    individual[start:end] = [1 - bit for bit in individual[start:end]]
    return (individual,)


def mutGroup(individual: Any, group_sizes: Sequence[int], share: float = 0.5) -> tuple[Any]:
    """Add filters to one random group, or drop filters from it.

    Adding and dropping are equally likely; where one cannot change anything the other is done. The number of filters
    is a uniform share of the group in (0, ``share``], at least 1. The group's last filter is never dropped.

    Args:
        individual: changed in place.
        group_sizes: filters per group, in the order of the bits.
        share: the largest share of a group to add or drop, in (0, 1].

    Returns:
        The mutant, in a tuple.
    """
    group = random.choice(_slices(group_sizes))
    positions = range(group.start, group.stop)
    kept = [index for index in positions if individual[index]]
    dropped = [index for index in positions if not individual[index]]
    adding = random.random() < 0.5
    if not dropped:
        adding = False
    elif len(kept) <= 1:
        adding = True
    room = len(dropped) if adding else max(0, len(kept) - 1)
    count = min(room, max(1, round(random.uniform(0, share) * len(positions))))
    for index in random.sample(dropped if adding else kept, count):
        individual[index] = int(adding)
    return (individual,)


def mutGroupOrFlip(
    individual: Any, group_sizes: Sequence[int], flip: float = 0.5, indpb: float = 0.01, share: float = 0.5
) -> tuple[Any]:
    """Flip a few bits anywhere with probability ``flip``, else add or drop filters of one group.

    The first explores which filters of a group serve best, the second how wide each group should be.

    Args:
        individual: changed in place.
        group_sizes: filters per group, in the order of the bits.
        flip: the probability of flipping bits, in [0, 1].
        indpb: then, the probability of each bit to be flipped (:func:`mutFlipBit`), in [0, 1].
        share: else, the largest share of a group to add or drop (:func:`mutGroup`), in (0, 1].

    Returns:
        The mutant, in a tuple.
    """
    if random.random() < flip:
        return mutFlipBit(individual, indpb)
    return mutGroup(individual, group_sizes, share)


def _slices(group_sizes: Sequence[int]) -> list[slice]:
    ends = list(accumulate(group_sizes))
    return [slice(end - size, end) for size, end in zip(group_sizes, ends, strict=True)]


def _positive_fitness(name: str, individuals: Sequence[Any]) -> list[float]:
    values = [individual.fitness.values[0] for individual in individuals]
    worst = min(values)
    if any(individual.fitness.weights[0] <= 0 for individual in individuals):
        raise ValueError(f"{name}: got a minimised fitness; expected a maximised one. Use selTournament.")
    if not (worst > 0 and all(map(math.isfinite, values))):
        raise ValueError(
            f"{name}: got a fitness of {worst}; expected positive, finite values. "
            "Use selTournament, or make the fitness positive."
        )
    return values
