"""The step interface of every search algorithm.

A loop over whole generations, such as DEAP's ``eaSimple``, cannot alternate two sides, stop and resume, or share one
driver. A strategy does one step at a time, and the driver (:func:`ganprune.evolution.coevolve`, or DEAP's
``eaGenerateUpdate``) scores what it asks for:

    batch = toolbox.generate()
    (score every individual of the batch against the current partner)
    toolbox.update(batch)

A fitness is only true against the partner it was measured with. So whatever ``update`` compares must be in the batch
that ``generate`` returned, and nothing measured earlier may enter: a genetic algorithm returns elite and offspring,
annealing its current point and the candidate, a swarm its particles and their personal bests.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deap.base import Toolbox

from ganprune.errors import UserError, did_you_mean
from ganprune.evolution.individual import Individual


def check_population(population: int, least: int = 2) -> int:
    """Return the population's size, a whole number of at least ``least``, else UserError."""
    if isinstance(population, bool) or not isinstance(population, int) or population < least:
        raise UserError("population", population, f"a whole number of at least {least}", "Choose a larger population.")
    return population


def check_number(field: str, value: float, low: float, high: float = math.inf, *, above: bool = False) -> float:
    """Return the finite number if it is from ``low`` (or, with ``above``, above it) to ``high``, else UserError."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not (number and low <= value <= high) or (above and value == low):
        lower = f"above {low:g}" if above else f"of at least {low:g}"
        upper = "" if high == math.inf else f" and at most {high:g}"
        raise UserError(field, value, f"a number {lower}{upper}", "Choose another value.")
    return value


def check_choice(field: str, value: str, choices: Iterable[str]) -> str:
    """Return the value if it is one of the choices, else UserError with the closest one."""
    choices = tuple(choices)
    if value not in choices:
        raise UserError(field, value, "one of " + ", ".join(choices), did_you_mean(str(value), choices))
    return value


def check_saved(saved: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Compare a saved state's settings with a strategy's own, field by field; UserError at the first difference."""
    for field, value in settings.items():
        if saved.get(field) != value:
            raise UserError(field, value, f"{saved.get(field)!r}, as saved", f"Resume with the run's own {field}.")


class Strategy(ABC):
    """A search algorithm for one side.

    Subclasses draw from the global ``random`` or ``numpy.random`` only, in ``generate`` and ``update`` only, and keep
    all that a step changes in ``state_dict``.

    Attributes:
        requires: the names that :meth:`register` expects on the toolbox.
        size: individuals in the first batch.
        later: about how many times as many are in each further batch; tells how long a search will take.
        toolbox: what the strategy is registered on, once it is.
    """

    requires: tuple[str, ...] = ("individual", "population", "repair", "clone")
    size: int = 1
    later: int = 1
    toolbox: Toolbox

    def register(self, toolbox: Toolbox) -> Strategy:
        """Register the steps on the toolbox: ``generate``, ``update``, ``get_best``, ``reset``, ``state_dict`` and
        ``load_state_dict``.

        Returns:
            This strategy.

        Raises:
            UserError: it already serves another toolbox, or the toolbox lacks a name of ``requires``.
        """
        if getattr(self, "toolbox", toolbox) is not toolbox:
            raise UserError(
                type(self).__name__,
                "a second toolbox",
                "one toolbox per strategy",
                "Make one strategy for each side.",
            )
        missing = [name for name in self.requires if not hasattr(toolbox, name)]
        if missing:
            raise UserError(
                "toolbox",
                f"no {', '.join(missing)}",
                f"all that {type(self).__name__} uses",
                "Use make_toolbox().",
            )
        self.toolbox = toolbox
        if not hasattr(toolbox, "restore"):
            toolbox.register("restore", Individual.from_record)
        self._pristine = copy.deepcopy(self.state_dict())
        for name in ("generate", "update", "get_best", "reset", "state_dict", "load_state_dict"):
            toolbox.register(name, getattr(self, name))
        return self

    @abstractmethod
    def generate(self) -> list[Individual]:
        """Return the individuals to evaluate, all of them without a fitness.

        The first call returns the first population. Calling does not change what :meth:`get_best` returns.
        """

    @abstractmethod
    def update(self, evaluated: list[Individual]) -> None:
        """Take the batch back, in its order, every individual scored against one and the same partner."""

    @abstractmethod
    def get_best(self) -> Individual:
        """Return the elite: of the last batch, the individual that the other side should meet.

        Raises:
            RuntimeError: nothing has been evaluated yet.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return, as JSON data, all that later steps depend on, except the state of the random generators."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a ``state_dict``.

        Raises:
            UserError: it comes from a strategy with other settings.
        """

    def reset(self) -> None:
        """Forget all steps: the state is again that of the moment of :meth:`register`."""
        self.load_state_dict(copy.deepcopy(self._pristine))

    def _copy(self, individual: Individual) -> Individual:
        """A deep copy whose fitness has to be measured anew."""
        child = self.toolbox.clone(individual)
        del child.fitness.values
        child.terms = None
        return child

    def _repair(self, child: Individual) -> Individual:
        child[:] = self.toolbox.repair(child)
        return child

    def _restore(self, records: Iterable[dict[str, Any]]) -> list[Individual]:
        return [self.toolbox.restore(record) for record in records]


def best_of(individuals: Sequence[Individual]) -> Individual:
    """Return the best individual of a batch; among equals the first, so an elite gives way to better ones only.

    Raises:
        RuntimeError: there is none.
    """
    if not individuals:
        raise RuntimeError("get_best: nothing has been evaluated yet.")
    return max(individuals, key=lambda individual: individual.fitness)
