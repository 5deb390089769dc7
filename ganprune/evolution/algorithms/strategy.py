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

An algorithm is a dataclass. Fields that are arguments are its settings (:func:`number` and :func:`choice` say which
values they take), fields with ``init=False`` are what its steps change: lists of individuals, or numbers. ``Strategy``
checks the settings, saves and restores the state, and refuses a state of other settings. A field with
``compare=False`` is neither: functions can't be compared, and what follows from the rest need not be saved.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from deap.base import Toolbox

from ganprune.errors import UserError, did_you_mean
from ganprune.evolution.individual import Individual
from ganprune.runs.directory import refuse_changes

_TRIES = 10  # of each way to something new

STEPS = ("generate", "update", "get_best", "reset", "state_dict", "load_state_dict")


def number(
    default: float | None, low: float, high: float = math.inf, *, above: bool = False, changes: bool = False
) -> Any:
    """Return a field for a setting: a finite number from ``low`` to ``high``.

    Args:
        default: its value where none is given; if that is None, None may be given too.
        low: the least value.
        high: the largest value.
        above: ``low`` itself is none of the values.
        changes: steps change it, so that it is part of the state too.
    """

    def check(name: str, value: Any) -> None:
        if value is None and default is None:
            return
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not (fits and low <= value <= high) or (above and value == low):
            lower = f"above {low:g}" if above else f"of at least {low:g}"
            upper = "" if high == math.inf else f" and at most {high:g}"
            raise UserError(name, value, f"a number {lower}{upper}", "Choose another value.")

    return field(default=default, metadata={"check": check, "changes": changes})


def choice(*choices: str) -> Any:
    """Return a field for a setting: one of these texts, by default the first."""

    def check(name: str, value: Any) -> None:
        if value not in choices:
            raise UserError(name, value, "one of " + ", ".join(choices), did_you_mean(str(value), choices))

    return field(default=choices[0], metadata={"check": check})


def switch(default: bool) -> Any:
    """Return a field for a setting: True or False."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, bool):
            raise UserError(name, value, "true or false", f"Leave it out for {str(default).lower()}.")

    return field(default=default, metadata={"check": check})


@dataclass(eq=False)
class Strategy(ABC):
    """A search algorithm for one side.

    Subclasses draw from the global ``random`` or ``numpy.random`` only, in ``generate`` and ``update`` only, and keep
    all that a step changes in fields (see the module).

    Args:
        population: individuals in the first batch, at least ``least``.

    Attributes:
        requires: the names that :meth:`register` expects on the toolbox.
        least: the smallest population.
        later: about how many times the population is in each further batch; tells how long a search will take.
        holds_best: the field with the individuals whose best is the elite.
        individual_type: of the individuals.
        novel: whether bits that were scored in the run are bred again until they are new; see :meth:`_novel`.
        added: arguments that states of earlier versions lack; such a search goes on with what is asked for now.
        settings: the arguments as they were given, but for functions; a saved state of others is refused.
        toolbox: what the strategy is registered on, once it is.

    Raises:
        UserError: an argument is out of range or unknown.
    """

    requires: ClassVar[tuple[str, ...]] = ("individual", "population", "repair", "clone")
    least: ClassVar[int] = 2
    later: ClassVar[int] = 1
    holds_best: ClassVar[str] = "elite"
    individual_type: ClassVar[type[Individual]] = Individual
    novel: ClassVar[bool] = True
    added: ClassVar[tuple[str, ...]] = ()

    population: int = 32

    def __post_init__(self) -> None:
        size = self.population
        if isinstance(size, bool) or not isinstance(size, int) or size < self.least:
            expected = f"a whole number of at least {self.least}"
            raise UserError("population", size, expected, "Choose a larger population.")
        given = [argument for argument in fields(self) if argument.init]
        for argument in given:
            if check := argument.metadata.get("check"):
                check(argument.name, getattr(self, argument.name))
        self.settings = {argument.name: getattr(self, argument.name) for argument in given if argument.compare}

    def register(self, toolbox: Toolbox) -> Strategy:
        """Register the steps on the toolbox: ``generate``, ``update``, ``get_best``, ``reset``, ``state_dict`` and
        ``load_state_dict``.

        Returns:
            This strategy.

        Raises:
            UserError: it already serves another toolbox, or the toolbox lacks a name of ``requires``.
        """
        name = type(self).__name__
        if getattr(self, "toolbox", toolbox) is not toolbox:
            raise UserError(name, "a second toolbox", "one toolbox per strategy", "Make one strategy for each side.")
        missing = [needed for needed in self.requires if not hasattr(toolbox, needed)]
        if missing:
            raise UserError("toolbox", f"no {', '.join(missing)}", f"all that {name} uses", "Use make_toolbox().")
        self.toolbox = toolbox
        toolbox.register("restore", self.individual_type.from_record)
        self._pristine = copy.deepcopy(self.state_dict())
        for step in STEPS:
            toolbox.register(step, getattr(self, step))
        return self

    @abstractmethod
    def generate(self) -> list[Individual]:
        """Return the individuals to evaluate, all of them without a fitness.

        The first call returns the first population. Calling does not change what :meth:`get_best` returns.
        """

    @abstractmethod
    def update(self, evaluated: list[Individual]) -> None:
        """Take the batch back, in its order, every individual scored against one and the same partner."""

    def get_best(self) -> Individual:
        """Return the elite: of the last batch, the individual that the other side should meet.

        Raises:
            RuntimeError: nothing has been evaluated yet.
        """
        return best_of(getattr(self, self.holds_best))

    def state_dict(self) -> dict[str, Any]:
        """Return, as JSON data, all that later steps depend on, except the state of the random generators."""
        state: dict[str, Any] = {"settings": dict(self.settings)}
        for name in self._state():
            part = getattr(self, name)
            if isinstance(part, list):
                part = [individual.record() for individual in part]
            state[name] = part.tolist() if isinstance(part, np.ndarray) else part
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a ``state_dict``.

        Raises:
            UserError: it comes from a strategy with other settings.
            KeyError, TypeError, ValueError: it is none.
        """
        saved = {**{name: self.settings[name] for name in self.added}, **state["settings"]}
        asked = {name: self.settings.get(name) for name in {**self.settings, **saved}}
        refuse_changes(saved, asked, "saved", "Resume with the saved settings, or start a new run.")
        for name in self._state():
            part = state[name]
            if isinstance(getattr(self, name), list):
                part = [self.toolbox.restore(record) for record in part]
            elif part is not None:
                part = np.array(part, dtype=float) if isinstance(part, list) else float(part)
            setattr(self, name, part)

    def reset(self) -> None:
        """Forget all steps: the state is again that of the moment of :meth:`register`."""
        self.load_state_dict(copy.deepcopy(self._pristine))

    def _drawn(self, count: int, batch: Sequence[Individual] = ()) -> list[Individual]:
        """Return so many individuals from the initialiser, new where that can be; ``batch`` is what they go with."""
        if not self._seeks_new:
            return self.toolbox.population(n=count)
        drawn: list[Individual] = []
        while len(drawn) < count:
            drawn += self._novel(lambda: self.toolbox.population(n=1), [*batch, *drawn])
        return drawn

    def _novel(self, breed: Callable[[], list[Individual]], batch: Sequence[Individual]) -> list[Individual]:
        """Return those children of one ``breed()`` that are new to the run and to the batch, at least one.

        Scoring known bits again tells nothing. Where all children are known it breeds again, a few times; then it
        trades filters of a child between groups, more from try to try; then it draws from the initialiser. Where even
        that finds nothing new, as in a space that has been seen whole, it returns known ones. Without a driver that
        says what is known, it is one ``breed()``.

        Args:
            breed: returns one or more repaired children.
            batch: what goes with them.
        """
        children = breed()
        if not self._seeks_new:
            return children
        taken = {tuple(individual) for individual in batch}
        for attempt in range(3 * _TRIES):
            unique = {tuple(child): child for child in children if tuple(child) not in taken}
            if new := [child for child in unique.values() if not self.toolbox.known(child)]:
                return new
            if attempt < _TRIES:
                children = breed()
            elif attempt < 2 * _TRIES:
                for _ in range(attempt - _TRIES + 1):
                    children = [self._repair(self.toolbox.trade(child)[0]) for child in children[:1]]
            else:
                children = self.toolbox.population(n=1)
        return children

    @property
    def _seeks_new(self) -> bool:
        return self.novel and hasattr(self.toolbox, "known") and hasattr(self.toolbox, "trade")

    def _state(self) -> list[str]:
        return [f.name for f in fields(self) if (f.compare and not f.init) or f.metadata.get("changes")]

    def _copy(self, individual: Individual) -> Individual:
        """Return a deep copy whose fitness has to be measured anew."""
        child = self.toolbox.clone(individual)
        del child.fitness.values
        child.terms = None
        return child

    def _repair(self, child: Individual) -> Individual:
        child[:] = self.toolbox.repair(child)
        return child


def best_of(individuals: Sequence[Individual]) -> Individual:
    """Return the individual of a batch with the best scalar fitness; among equals the first, so that an elite gives way
    to better ones only.

    Raises:
        RuntimeError: there is none.
    """
    if not individuals:
        raise RuntimeError("get_best: nothing has been evaluated yet.")
    return max(individuals, key=lambda individual: individual.scalar_fitness)
