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
from typing import Any

from ganprune.errors import UserError
from ganprune.evolution.algorithms.strategy import Strategy, best_of, check_population, check_saved
from ganprune.evolution.individual import Individual


class Genetic(Strategy):
    """Algorithm 1 for one side. Uses ``select``, ``mate``, ``mutate``, ``repair`` and ``population`` of the toolbox.

    Args:
        population: individuals per generation (the paper's K), at least 2.
        reproduction: the share of slots filled by copying a parent.
        crossover: the share of draws that cross two parents.
        mutation: the share of slots filled by mutating a parent.

    Raises:
        UserError: a population below 2, a negative rate, or rates that don't sum to 1.
    """

    requires = (*Strategy.requires, "select", "mate", "mutate")

    def __init__(
        self,
        population: int = 32,
        *,
        reproduction: float = 0.2,
        crossover: float = 0.7,
        mutation: float = 0.1,
    ):
        rates = {"reproduction": reproduction, "crossover": crossover, "mutation": mutation}
        for name, rate in rates.items():
            if not 0 <= rate <= 1:
                raise UserError(name, rate, "a rate from 0 to 1", "Change it so that all three rates sum to 1.")
        if not math.isclose(sum(rates.values()), 1.0, abs_tol=1e-9):
            shown = " + ".join(f"{rate:g}" for rate in rates.values())
            raise UserError(
                "reproduction, crossover and mutation",
                f"{shown} = {sum(rates.values()):g}",
                "rates that sum to 1",
                "Set all three.",
            )
        self.size = check_population(population)
        self.reproduction, self.crossover, self.mutation = reproduction, crossover, mutation
        self.settings = {"population": population, **rates}
        self.parents: list[Individual] = []

    def generate(self) -> list[Individual]:
        """Return the first population, or the elite and its generation's offspring; none has a fitness."""
        if not self.parents:
            return self.toolbox.population(n=self.size)
        batch = [self._copy(self.get_best())]
        while len(batch) < self.size:
            batch += self._breed(room=self.size - len(batch))
        return batch

    def update(self, evaluated: list[Individual]) -> None:
        """Make the evaluated batch the parents of the next."""
        self.parents = list(evaluated)

    def get_best(self) -> Individual:
        """Return the best individual of the last batch; among equals the first."""
        return best_of(self.parents)

    def state_dict(self) -> dict[str, Any]:
        """Return the last batch with its fitness, as JSON data."""
        return {"settings": dict(self.settings), "parents": [parent.record() for parent in self.parents]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a ``state_dict`` of the same settings, else UserError."""
        check_saved(state["settings"], self.settings)
        self.parents = self._restore(state["parents"])

    def _breed(self, room: int) -> list[Individual]:
        s = random.random()
        if s < self.reproduction:
            return [self._copy(parent) for parent in self._parents(1)]
        if s < self.reproduction + self.crossover:
            children = self.toolbox.mate(*map(self._copy, self._parents(2)))
        else:
            children = self.toolbox.mutate(self._copy(self._parents(1)[0]))
        return [self._repair(child) for child in children[:room]]

    def _parents(self, count: int) -> list[Individual]:
        return self.toolbox.select(self.parents, count)
