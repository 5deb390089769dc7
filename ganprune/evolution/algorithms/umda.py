"""The univariate marginal distribution algorithm: every filter has its own probability of being kept.

H. Mühlenbein and G. Paass, "From recombination of genes to the estimation of distributions I. Binary parameters",
PPSN IV, 1996. Smoothing by a learning rate is that of population-based incremental learning (S. Baluja, 1994).

    p  <-  (1 - learning_rate) * p  +  learning_rate * (share of ones among the best of the batch)

The first p is the share of ones in the first population, so it starts from what the initialiser knows. Bounds on p (see
M. Hauschild and M. Pelikan, "An introduction and survey of estimation of distribution algorithms", 2011) keep every
bit able to change.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from ganprune.evolution.algorithms.strategy import Strategy, best_of, number
from ganprune.evolution.individual import Individual

_DECIMALS = 6  # of a probability: a saved state is smaller, and continues exactly since the running one is rounded too


@dataclass(eq=False)
class UMDA(Strategy):
    """Univariate estimation of distribution for one side. Uses ``population`` and ``repair`` of the toolbox.

    Args:
        population: individuals per generation, the elite among them, at least 2.
        truncation: the share of a batch that the probabilities are estimated from, in (0, 1].
        learning_rate: weight of the new estimate in (0, 1]; 1 is the algorithm as published.
        margin: probabilities stay in [margin, 1 - margin], in [0, 0.5]; None for 1 / number of bits. With 0 a bit can
            freeze.

    Attributes:
        probabilities: of a 1, for each bit, or None before the first batch.

    Raises:
        UserError: a parameter is out of range.
    """

    _: KW_ONLY
    truncation: float = number(0.3, 0, 1, above=True)
    learning_rate: float = number(0.5, 0, 1, above=True)
    margin: float | None = number(None, 0, 0.5)
    elite: list[Individual] = field(init=False, repr=False, default_factory=list)
    probabilities: np.ndarray | None = field(init=False, repr=False, default=None)

    def generate(self) -> list[Individual]:
        """Return the first population, or the elite and samples of the distribution."""
        if self.probabilities is None:
            return self._drawn(self.population)
        batch = [self._copy(elite) for elite in self.elite]
        while len(batch) < self.population:
            batch += self._novel(self._sample, batch)
        return batch

    def update(self, evaluated: list[Individual]) -> None:
        """Move the probabilities towards the best of the batch."""
        ranked = sorted(evaluated, key=lambda individual: individual.fitness, reverse=True)
        selected = ranked[: max(1, round(self.truncation * len(ranked)))]
        before = _marginals(evaluated) if self.probabilities is None else self.probabilities
        moved = (1 - self.learning_rate) * before + self.learning_rate * _marginals(selected)
        margin = 1 / len(moved) if self.margin is None else self.margin
        self.probabilities = np.clip(np.round(moved, _DECIMALS), min(margin, 0.5), max(1 - margin, 0.5))
        self.elite = [best_of(evaluated)]

    def _sample(self) -> list[Individual]:
        assert self.probabilities is not None
        ones = (np.random.random(len(self.probabilities)) < self.probabilities).astype(int)  # (bits,)
        return [Individual(self.toolbox.repair(ones.tolist()))]


def _marginals(individuals: list[Individual]) -> np.ndarray:
    """Return the share of ones of each bit."""
    return np.mean(np.array(individuals, dtype=float), axis=0)  # (individuals, bits) -> (bits,)
