"""The genetic algorithm of the paper (Algorithm 1).

Slot 1 of a new generation is the elite of the last one (elitism). Every further slot draws s in [0, 1] and breeds by

    s < reproduction                  one selected parent as it is
    s < reproduction + crossover      two selected parents, crossed: two slots, or one if only one is left
    else                              one selected parent, mutated

Parents are selected by their fitness in the last batch, all of it measured against one partner (Eq. 12 with
``select="selRoulette"``). The rates 0.2, 0.7 and 0.1 are those of the authors' released code.
"""

from __future__ import annotations

import math
import random
from dataclasses import KW_ONLY, dataclass, field
from functools import partial

from ganprune.errors import UserError
from ganprune.evolution.algorithms.strategy import Strategy, number, switch
from ganprune.evolution.individual import Individual


@dataclass(eq=False)
class Genetic(Strategy):
    """Algorithm 1 for one side. Uses ``select``, ``mate``, ``mutate``, ``repair`` and ``population`` of the toolbox.

    Args:
        population: individuals per generation (the paper's K), at least 2.
        reproduction: the share of slots filled by copying a parent.
        crossover: the share of draws that cross two parents.
        mutation: the share of slots filled by mutating a parent.
        novel: whether a child whose bits have been scored in the run is bred again. Reproduction alone then gives none,
            so that its draws go to the others. False is Algorithm 1 to the letter.

    Attributes:
        parents: the last batch, evaluated.

    Raises:
        UserError: a population below 2, a rate out of [0, 1], or rates that don't sum to 1.
    """

    requires = (*Strategy.requires, "select", "mate", "mutate")
    holds_best = "parents"
    added = ("novel",)

    _: KW_ONLY
    reproduction: float = number(0.2, 0, 1)
    crossover: float = number(0.7, 0, 1)
    mutation: float = number(0.1, 0, 1)
    novel: bool = switch(True)  # type: ignore[misc]
    parents: list[Individual] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        rates = (self.reproduction, self.crossover, self.mutation)
        if not math.isclose(sum(rates), 1.0, abs_tol=1e-9):
            shown = " + ".join(f"{rate:g}" for rate in rates)
            names = "reproduction, crossover and mutation"
            raise UserError(names, f"{shown} = {sum(rates):g}", "rates that sum to 1", "Set all three.")

    def generate(self) -> list[Individual]:
        """Return the first population, or the elite and its generation's offspring; none has a fitness."""
        if not self.parents:
            return self._drawn(self.population)
        batch = [self._copy(self.get_best())]
        while len(batch) < self.population:
            batch += self._novel(partial(self._breed, self.population - len(batch)), batch)
        return batch

    def update(self, evaluated: list[Individual]) -> None:
        """Make the evaluated batch the parents of the next."""
        self.parents = list(evaluated)

    def _breed(self, room: int) -> list[Individual]:
        s = random.random()
        if s < self.reproduction:
            return [self._copy(parent) for parent in self._select(1)]
        if s < self.reproduction + self.crossover:
            children = self.toolbox.mate(*map(self._copy, self._select(2)))
        else:
            children = self.toolbox.mutate(self._copy(self._select(1)[0]))
        return [self._repair(child) for child in children[:room]]

    def _select(self, count: int) -> list[Individual]:
        return self.toolbox.select(self.parents, count)
