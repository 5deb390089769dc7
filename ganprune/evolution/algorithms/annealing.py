"""Simulated annealing in parallel chains.

S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi, "Optimization by simulated annealing", Science 220, 1983. Each chain
draws a neighbour of its current point (the toolbox's ``mutate``) and moves there by Metropolis' rule,

    with probability  min(1, exp(-(E' - E) / T)),        E = -log F

The energy is -log F, so that a difference is the logarithm of a ratio of two fitnesses: exp(-(E' - E) / T) is
(F' / F) ** (1 / T). A partner that scales all fitnesses leaves it as it is, and one temperature holds through the whole
co-evolution. Current points are measured again beside their neighbours, because the partner changes.

The temperature begins where a stated share of worsening moves is accepted, solved from the moves of the first step
that has any (W. Ben-Ameur, "Computing the initial temperature of simulated annealing", 2004). Then, after each step,

    geometric     T <- rate * T
    adaptive      T <- max(rate, exp(-0.7 * T / sigma)) * T,     sigma: standard deviation of the chains' energies

The second is that of M. Huang, F. Romeo and A. Sangiovanni-Vincentelli, "An efficient general cooling schedule for
simulated annealing", ICCAD 1986: it cools slowly where the chains disagree by much more than T.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial

from ganprune.errors import UserError
from ganprune.evolution.algorithms.strategy import Strategy, best_of, choice, number
from ganprune.evolution.individual import Individual

_HUANG = 0.7
_TRIES = 10  # a mutation that repair undoes, or that changes nothing, is drawn again


@dataclass(eq=False)
class Annealing(Strategy):
    """Simulated annealing for one side. Uses ``mutate``, ``repair`` and ``population`` of the toolbox.

    Args:
        population: chains; a batch after the first has a current point and a neighbour of each, and the elite.
        acceptance: the share of worsening moves to accept at first, in (0, 1).
        cooling: "geometric" or "adaptive".
        rate: factor of the temperature from step to step, in (0, 1]; in adaptive cooling the smallest factor.
        temperature: the initial temperature, in units of log F; None to measure it.

    Attributes:
        chains: current points, evaluated in the last batch.
        temperature: that of the next step; None until it has been measured.

    Raises:
        UserError: a parameter is out of range; or, in :meth:`update`, a fitness is not positive.
    """

    requires = (*Strategy.requires, "mutate")
    least = 1
    later = 2  # current points and their neighbours

    _: KW_ONLY
    acceptance: float = number(0.5, 0, 1 - 1e-6, above=True)
    cooling: str = choice("geometric", "adaptive")
    rate: float = number(0.9, 0, 1, above=True)
    temperature: float | None = number(None, 0, above=True, changes=True)
    chains: list[Individual] = field(init=False, repr=False, default_factory=list)
    elite: list[Individual] = field(init=False, repr=False, default_factory=list)

    def generate(self) -> list[Individual]:
        """Return the first points; or every chain's current point, every chain's neighbour of it, and the elite."""
        if not self.chains:
            return self._drawn(self.population)
        elite, batch = self._copy(self.get_best()), [self._copy(current) for current in self.chains]
        for current in self.chains:
            batch += self._novel(partial(self._neighbour, current), [*batch, elite])
        return [*batch, elite]

    def update(self, evaluated: list[Individual]) -> None:
        """Move the chains by Metropolis' rule, then cool."""
        self.elite = [best_of(evaluated)]
        current, neighbours = evaluated[: self.population], evaluated[self.population : 2 * self.population]
        if not neighbours:
            self.chains = list(current)
            return
        moves = [_climb(before, after) for before, after in zip(current, neighbours, strict=True)]
        if self.temperature is None:
            self.temperature = initial_temperature(moves, self.acceptance)
        self.chains = [
            after if self._accepts(move) else before
            for before, after, move in zip(current, neighbours, moves, strict=True)
        ]
        if self.temperature is not None:
            spread = statistics.pstdev([_climb(self.elite[0], current) for current in self.chains])
            slowed = math.exp(-_HUANG * self.temperature / spread) if self.cooling == "adaptive" and spread else 0
            self.temperature *= max(self.rate, slowed)

    def _neighbour(self, current: Individual) -> list[Individual]:
        for _ in range(_TRIES):
            neighbour = self._repair(self.toolbox.mutate(self._copy(current))[0])
            if neighbour != current:
                break
        return [neighbour]

    def _accepts(self, move: float) -> bool:
        """Metropolis' rule; while there is no temperature no move has been a worsening one."""
        return move <= 0 or bool(self.temperature and random.random() < math.exp(-move / self.temperature))


def initial_temperature(moves: Sequence[float], acceptance: float) -> float | None:
    """Return the temperature at which worsening moves are accepted with this probability, on average.

    Args:
        moves: differences of energy; those above 0 count.
        acceptance: in (0, 1).

    Returns:
        T with mean(exp(-move / T)) = acceptance, or None if no move is a worsening one.
    """
    worse = [move for move in moves if move > 0]
    if not worse:
        return None
    low, high = (bound / -math.log(acceptance) for bound in (min(worse), max(worse)))
    for _ in range(100):
        middle = (low + high) / 2
        if statistics.fmean(math.exp(-move / middle) for move in worse) < acceptance:
            low = middle
        else:
            high = middle
    return high


def _climb(before: Individual, after: Individual) -> float:
    """Return E(after) - E(before), both measured against one partner."""
    values = before.scalar_fitness, after.scalar_fitness
    if not min(values) > 0:
        raise UserError(
            "fitness", min(values), "a positive number, since the energy is -log F", "Make the fitness positive."
        )
    return math.log(values[0] / values[1])
