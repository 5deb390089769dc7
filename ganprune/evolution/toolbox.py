"""A DEAP toolbox for one side: everything under DEAP's usual names, so that a plain DEAP loop can use it too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from deap.base import Toolbox

from ganprune.errors import UserError
from ganprune.evolution import registry
from ganprune.evolution.individual import Individual


class Space(Protocol):
    """What the search needs to know of a filter space.

    Where there is a budget, a space may also have ``fill(bits)``, which uses it up in the same proportions, and
    ``cut(bits)``, which holds first individuals to it. Without them ``repair`` does for both.
    """

    @property
    def group_sizes(self) -> Sequence[int]:
        """Filters per group, in the order of the bits."""

    @property
    def saliency(self) -> Sequence[float]:
        """One number per bit, larger = more worth keeping."""

    def repair(self, bits: Sequence[int]) -> list[int]:
        """Return bits that the space allows, changing as few as needed; draws nothing."""


def make_toolbox(
    space: Space,
    evaluate: Callable[..., Any],
    *,
    select: str | Callable[..., Any] = "selTournament:tournsize=3",
    mate: str | Callable[..., Any] = "cxGroup",
    mutate: str | Callable[..., Any] = "mutGroupOrFlip",
    init: str | Callable[..., Any] = "initMixed",
) -> Toolbox:
    """Return a toolbox with ``attributes``, ``individual``, ``population``, ``evaluate``, ``select``, ``mate``,
    ``mutate``, ``repair``, ``map`` and ``clone``, and with ``profile``, ``trade`` and ``blend``, which vary widths.

    ``toolbox.individual()`` is repaired already; children of ``mate`` and ``mutate`` are not. ``profile``, ``trade``
    and ``blend`` are ``initProfile``, ``mutTradeWidths`` and ``cxBlendWidths``, for strategies that search widths, or
    that find nothing new otherwise.

    Args:
        space: group sizes, saliency and repair; a ``FilterSpace``, or anything with these three.
        evaluate: ``evaluate(individual, partner=None) -> Score``, higher is better; ``partner`` is None for the
            original, unpruned network. A plain tuple of numbers serves too.
        select: a specification (see :mod:`ganprune.evolution.registry`), or a function by DEAP's conventions. A
            function with an argument ``group_sizes``, ``saliency`` or ``fill`` gets that of the space; so for the next
            three.
        mate: a crossover.
        mutate: a mutation.
        init: a function that returns a list of 0/1.

    Raises:
        UserError: an operator is unknown, or the space contradicts itself.
    """
    _check_space(space)
    toolbox = Toolbox()
    operators = {
        "attributes": ("init", init), "select": ("select", select), "mate": ("mate", mate),
        "mutate": ("mutate", mutate), "profile": ("init", "initProfile"), "trade": ("mutate", "mutTradeWidths"),
        "blend": ("mate", "cxBlendWidths"),
    }  # fmt: skip
    fill = getattr(space, "fill", space.repair)
    for alias, (kind, operator) in operators.items():
        resolved = registry.resolve(kind, operator)
        of_space = {name: fill if name == "fill" else getattr(space, name) for name in resolved.needs}
        toolbox.register(alias, resolved.function, **resolved.parameters, **of_space)
    toolbox.register("individual", _individual, toolbox)
    toolbox.register("population", _population, toolbox)
    toolbox.register("repair", space.repair)
    toolbox.register("cut", getattr(space, "cut", space.repair))
    # Not by register, which copies an object's attributes next to it: pickled for a worker they would travel twice.
    toolbox.evaluate = partial(evaluate)
    return toolbox


def operators_of(toolbox: Toolbox) -> dict[str, str | None]:
    """Return the toolbox's operators as text, to tell whether a run goes on with those that it began with.

    Returns:
        ``attributes``, ``select``, ``mate`` and ``mutate`` -> ``package.module:function`` with the arguments that are
        numbers or text, such as ``deap.tools.selection:selTournament:tournsize=3``; None where there is none.
    """
    return {name: _described(getattr(toolbox, name, None)) for name in ("attributes", "select", "mate", "mutate")}


def _described(operator: Any) -> str | None:
    if operator is None:
        return None
    function, keywords = getattr(operator, "func", operator), getattr(operator, "keywords", {})
    named = function if hasattr(function, "__qualname__") else type(function)
    values = [f"{key}={value}" for key, value in sorted(keywords.items()) if isinstance(value, (int, float, str))]
    return ":".join([f"{named.__module__}:{named.__qualname__}", *filter(None, [",".join(values)])])


def _individual(toolbox: Toolbox) -> Individual:
    """Return a new random individual, held to the budget."""
    return Individual(toolbox.cut(toolbox.attributes()))


def _population(toolbox: Toolbox, n: int) -> list[Individual]:
    """Return ``n`` new individuals."""
    return [toolbox.individual() for _ in range(n)]


def _check_space(space: Space) -> None:
    sizes = list(space.group_sizes)
    if not sizes or min(sizes) < 1:
        expected = "one or more groups of at least 1 filter"
        raise UserError("group_sizes of the space", sizes, expected, "Check the space.")
    if len(space.saliency) != sum(sizes):
        found, expected = f"{len(space.saliency)} numbers", f"one per bit, {sum(sizes)}"
        remedy = "Give one number per filter, in the order of the groups."
        raise UserError("saliency of the space", found, expected, remedy)
