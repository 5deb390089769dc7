"""From the settings' budgets to the repair that holds every individual to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ganprune.cost.network_cost import Budget, NetworkCost
from ganprune.errors import UserError
from ganprune.filters.space import FilterSpace
from ganprune.settings.evolve import BudgetSettings

# setting -> what it bounds
BUDGETS = {"target_ratio": "parameters", "max_macs": "macs", "max_latency_ms": "latency_ms"}
SLOPES = [step / 10 for step in range(11)]  # from equal numbers of filters to equal shares
USED_UP = 0.9  # the share of a budget that counts as all of it


def hold_to_budgets(cost: NetworkCost, settings: BudgetSettings, side: str) -> FilterSpace:
    """Return the space of one side with repair held to the settings' target ratio, MACs and predicted latency.

    Args:
        cost: of the side's generator, with its space.
        settings: of the run.
        side: for messages.

    Raises:
        UserError: a budget that nothing can meet; the message names the least that is possible.
    """
    space, limits = cost.space, dict[str, float]()
    for name, counted in BUDGETS.items():
        given = getattr(settings, name)
        if given is None:
            continue
        least, full = (getattr(cost, counted)(bits) for bits in (space.repair.least(), space.full()))
        limits[counted] = full / given if name == "target_ratio" else given
        if least > limits[counted]:
            expected, advice = f"{least:.6g} or more", "Raise"
            if name == "target_ratio":
                expected, advice = f"at most {full / least:.6g}", "Lower"
            found = f"{expected}, with {space.repair.fewest} per group of {side}"
            raise UserError(name.replace("_", " "), given, found, f"{advice} --{name.replace('_', '-')}.")
    if not limits:
        return space
    slope = find_slope(cost, limits) if settings.width_slope is None else settings.width_slope
    return space.with_repair(fits=Budget(cost, limits), slope=slope)


def find_slope(cost: NetworkCost, limits: Mapping[str, float]) -> float:
    """Return how first individuals are cut to these budgets where the settings do not say it: ``Repair.slope``.

    Equal numbers of filters, 0, unless both parameters and work are bounded: parameters are in the large groups, work
    is in the narrow ones at full resolution, which equal numbers leave nearly whole. Then it is the least slope at
    which an individual can use up both bounds; if there is none, the parameters' bound says nothing.
    """
    if "parameters" not in limits or len(limits) == 1:
        return 0.0
    repair = replace(cost.space.repair, fits=Budget(cost, limits))
    for slope in SLOPES:
        largest = replace(repair, slope=slope).cut(cost.space.full())
        if cost.parameters(largest) >= USED_UP * limits["parameters"]:
            return slope
    return 0.0
