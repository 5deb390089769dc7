"""Random search: the control that every other algorithm has to beat.

S. H. Brooks, "A discussion of random methods for seeking maxima", Operations Research 6(2), 1958.

Each generation is the elite of the last one, measured again, and fresh individuals from the initialiser.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ganprune.evolution.algorithms.strategy import Strategy, best_of
from ganprune.evolution.individual import Individual


@dataclass(eq=False)
class RandomSearch(Strategy):
    """Elite and fresh individuals, for one side. Uses ``individual`` and ``population`` of the toolbox.

    Args:
        population: individuals per generation, the elite among them, at least 2.

    Raises:
        UserError: a population below 2.
    """

    elite: list[Individual] = field(init=False, repr=False, default_factory=list)

    def generate(self) -> list[Individual]:
        """Return the first population, or the elite and fresh individuals."""
        kept = [self._copy(elite) for elite in self.elite]
        return kept + self._drawn(self.population - len(kept), kept)

    def update(self, evaluated: list[Individual]) -> None:
        """Keep the best."""
        self.elite = [best_of(evaluated)]
