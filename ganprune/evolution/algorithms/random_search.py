"""Random search: the control that every other algorithm has to beat.

S. H. Brooks, "A discussion of random methods for seeking maxima", Operations Research 6(2), 1958.

Each generation is the elite of the last one, measured again, and fresh individuals from the initialiser.
"""

from __future__ import annotations

from typing import Any

from ganprune.evolution.algorithms.strategy import Strategy, best_of, check_population, check_saved
from ganprune.evolution.individual import Individual


class RandomSearch(Strategy):
    """Elite and fresh individuals, for one side. Uses ``individual`` and ``population`` of the toolbox.

    Args:
        population: individuals per generation, the elite among them, at least 2.

    Raises:
        UserError: a population below 2.
    """

    def __init__(self, population: int = 32):
        self.size = check_population(population)
        self.settings = {"population": population}
        self.elite: list[Individual] = []

    def generate(self) -> list[Individual]:
        """Return the first population, or the elite and fresh individuals."""
        kept = [self._copy(elite) for elite in self.elite]
        return kept + self.toolbox.population(n=self.size - len(kept))

    def update(self, evaluated: list[Individual]) -> None:
        """Keep the best."""
        self.elite = [best_of(evaluated)]

    def get_best(self) -> Individual:
        """Return the best individual of the last batch."""
        return best_of(self.elite)

    def state_dict(self) -> dict[str, Any]:
        """Return the elite as JSON data."""
        return {"settings": dict(self.settings), "elite": [elite.record() for elite in self.elite]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a ``state_dict`` of the same settings, else UserError."""
        check_saved(state["settings"], self.settings)
        self.elite = self._restore(state["elite"])
