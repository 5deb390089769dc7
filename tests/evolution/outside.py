"""An algorithm and an operator that the package does not have; test_outside.py gives each a row of the registry."""

import random
from dataclasses import KW_ONLY, dataclass, field

from ganprune.evolution.algorithms.strategy import Strategy, best_of, number


@dataclass(eq=False)
class HillClimber(Strategy):
    """The elite and mutants of it, or now and then a new individual."""

    requires = (*Strategy.requires, "mutate")

    _: KW_ONLY
    fresh: float = number(0.1, 0, 1)
    elite: list = field(init=False, repr=False, default_factory=list)

    def generate(self):
        if not self.elite:
            return self.toolbox.population(n=self.population)
        return [self._copy(self.get_best()), *(self._neighbour() for _ in range(self.population - 1))]

    def update(self, evaluated):
        self.elite = [best_of(evaluated)]

    def _neighbour(self):
        if random.random() < self.fresh:
            return self.toolbox.individual()
        return self._repair(self.toolbox.mutate(self._copy(self.get_best()))[0])


def mutDropLast(individual, group_sizes, times=1):
    """Drop the last filter of random groups."""
    for _ in range(times):
        individual[random.randrange(len(group_sizes))] = 0
    return (individual,)
