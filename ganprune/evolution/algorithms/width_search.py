"""A search of widths: how many filters each group keeps, its most salient ones, within a budget that is always used up.

A (mu + lambda) evolution strategy (H.-G. Beyer and H.-P. Schwefel, "Evolution strategies: a comprehensive
introduction", 2002) on widths. That widths, not single filters, are what to search for is the finding of Y. Li et al.,
"Revisiting random channel pruning for neural network compression", CVPR 2022; trades of levels between layers under a
fixed budget are the mutation of O. Sieberling et al., "EvoPress", ICML 2025. Per offspring

    parent      the better of two random survivors
    child       with probability crossover blended with another survivor, else the parent; then traded

The survivors are measured again beside their offspring, because the partner changes, and the best of both survive.
"""

from __future__ import annotations

import random
from dataclasses import KW_ONLY, dataclass, field

from ganprune.evolution.algorithms.strategy import Strategy, number
from ganprune.evolution.individual import Individual


@dataclass(eq=False)
class WidthSearch(Strategy):
    """A (mu + lambda) search of widths for one side. Uses ``profile``, ``trade``, ``blend`` and
    ``repair`` of the toolbox.

    Args:
        population: individuals per generation, survivors and offspring together, at least 2.
        survivors: the share of them that survives, in (0, 1): mu / population.
        crossover: the probability of an offspring to have two parents.

    Attributes:
        parents: the survivors, evaluated in the last batch, the best first.

    Raises:
        UserError: a parameter is out of range.
    """

    requires = (*Strategy.requires, "profile", "trade", "blend")
    holds_best = "parents"

    _: KW_ONLY
    survivors: float = number(0.25, 0, 0.9, above=True)
    crossover: float = number(0.3, 0, 1)
    parents: list[Individual] = field(init=False, repr=False, default_factory=list)

    def generate(self) -> list[Individual]:
        """Return the first individuals, or the survivors and their offspring."""
        if not self.parents:
            return self._first()
        batch = [self._copy(parent) for parent in self.parents]
        while len(batch) < self.population:
            batch += self._novel(self._breed, batch)
        return batch

    def _first(self) -> list[Individual]:
        batch: list[Individual] = []
        while len(batch) < self.population:
            batch += self._novel(lambda: [Individual(self.toolbox.repair(self.toolbox.profile()))], batch)
        return batch

    def update(self, evaluated: list[Individual]) -> None:
        """Let the best of the batch survive."""
        ranked = sorted(evaluated, key=lambda individual: individual.fitness, reverse=True)
        self.parents = ranked[: max(1, round(self.survivors * self.population))]

    def _breed(self) -> list[Individual]:
        child = self._copy(self._parent())
        if random.random() < self.crossover:
            child, _ = self.toolbox.blend(child, self._copy(self._parent()))
        return [self._repair(self.toolbox.trade(child)[0])]

    def _parent(self) -> Individual:
        """The better of two: ``parents`` are ranked."""
        return self.parents[min(random.randrange(len(self.parents)) for _ in range(2))]
