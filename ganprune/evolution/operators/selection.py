"""Selections beside those of DEAP."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Annotated, Any

from deap import tools

from ganprune.errors import UserError
from ganprune.evolution.operators.common import ranks
from ganprune.specs import Range


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


def selRank(individuals: Sequence[Any], k: int, pressure: Annotated[float, Range(1, 2)] = 1.7) -> list[Any]:
    """Select by linear ranking (J. E. Baker, "Adaptive selection methods for genetic algorithms", 1985).

    Of n individuals the best is expected ``pressure`` times among n selected ones, the worst 2 - ``pressure`` times,
    and the others by even steps between; equals share their ranks. What counts is the order alone, not by how much one
    is better, so the selection stays sharp where all fitnesses are nearly alike, and takes any sign.

    Args:
        individuals: evaluated individuals; the first fitness value of each counts.
        k: how many to select.
        pressure: in [1, 2]: 1 does not look at the fitness, 2 never selects the worst.

    Returns:
        ``k`` references into ``individuals``.

    Raises:
        UserError: the pressure is out of range.
    """
    if not 1 <= pressure <= 2:
        raise UserError("pressure of selRank", pressure, "a number from 1 to 2", "Choose another value.")
    steps = max(1, len(individuals) - 1)
    values = [individual.fitness.wvalues[0] for individual in individuals]
    weights = [2 - pressure + 2 * (pressure - 1) * rank / steps for rank in ranks(values)]
    return random.choices(individuals, weights=weights, k=k)


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
