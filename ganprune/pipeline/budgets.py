"""The bounds that repair holds every individual to, from settings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from ganprune.errors import UserError
from ganprune.filters.space import FilterSpace
from ganprune.fitness import CycleFitness
from ganprune.settings.evolve import BudgetSettings

SLOPES = [step / 10 for step in range(11)]  # from equal numbers of filters to equal shares


USED_UP = 0.9  # the share of a budget that counts as all of it


def set_budgets(fitness: Mapping[str, CycleFitness], settings: BudgetSettings) -> None:
    """Make repair hold every individual to the settings' target ratio, MACs and predicted latency.

    Raises:
        UserError: a budget that nothing can meet; the message names the least that is possible.
    """
    for side in fitness.values():
        space, limits = side.space, dict[Callable[[Sequence[int]], float], float]()
        least, full = space.repair([0] * len(space)), space.full()
        counts = {"target_ratio": space.parameter_count, "max_macs": side.macs, "max_latency_ms": side.latency_ms}
        for name, count in counts.items():
            given = getattr(settings, name)
            if given is None:
                continue
            limits[count] = count(full) / given if name == "target_ratio" else given
            if count(least) > limits[count]:
                most = f"at most {count(full) / count(least):.6g}"
                expected = most if name == "target_ratio" else f"{count(least):.6g} or more"
                advice = f"{'Lower' if name == 'target_ratio' else 'Raise'} --{name.replace('_', '-')}."
                fewest = "one filter" if space.multiple == 1 else f"{space.multiple} filters"
                found = f"{expected}, with {fewest} per group of {side.side}"
                raise UserError(name.replace("_", " "), given, found, advice)
        if limits:
            space.slope = find_slope(space, limits) if settings.width_slope is None else settings.width_slope
            space.limit(functools.partial(_fits, limits), "budget")


def find_slope(space: FilterSpace, limits: Mapping[Callable[[Sequence[int]], float], float]) -> float:
    """Return how repair cuts groups to these budgets where the settings do not say it: ``space.slope``.

    Equal numbers of filters, 0, unless both parameters and work are bounded: parameters are in the large groups, work
    is in the narrow ones at full resolution, which equal numbers leave nearly whole. Then it is the least slope at
    which an individual can use up both bounds; if there is none, the parameters' bound says nothing.
    The space's own slope and budget are changed by looking for it.
    """
    allowed = limits.get(space.parameter_count)
    if allowed is None or len(limits) == 1:
        return 0.0
    space.limit(functools.partial(_fits, limits), "budget")
    for slope in SLOPES:
        space.slope = slope
        if space.parameter_count(space.repair(space.full())) >= USED_UP * allowed:
            return slope
    return 0.0


def _fits(limits: Mapping[Callable[[Sequence[int]], float], float], bits: Sequence[int]) -> bool:
    return all(count(bits) <= most for count, most in limits.items())
