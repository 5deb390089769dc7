"""Budgets: repair holds every individual to them, whatever made it."""

import random
from dataclasses import replace

import pytest
from networks import random_bits, toy_generator

from ganprune.cost.network_cost import Budget, NetworkCost
from ganprune.cost.profile import parameters
from ganprune.errors import UserError
from ganprune.evolution import make_toolbox
from ganprune.filters.builder import compact
from ganprune.filters.space import FilterSpace
from ganprune.pipeline.budgets import find_slope, hold_to_budgets
from ganprune.settings.evolve import make_settings


@pytest.fixture
def generator():
    return toy_generator(norm="instance", affine=True)


@pytest.fixture
def space(generator):
    return FilterSpace(generator, size=16)


def hold_to(space, ratio, **changes):
    """A space whose repair keeps to so many times fewer parameters, and how many these are."""
    most = space.parameter_count(space.full()) / ratio
    return space.with_repair(fits=lambda bits: space.parameter_count(bits) <= most, **changes), most


@pytest.mark.parametrize("seed", range(3))
def test_parameter_count_is_that_of_the_compact_network(generator, space, seed):
    bits = random_bits(space, seed)
    assert space.parameter_count(bits) == parameters(compact(generator, space, bits))


@pytest.mark.parametrize("ratio", [1.5, 4, 8])
@pytest.mark.parametrize("way", ["repair", "cut"])
def test_the_budget_is_met_with_as_few_filters_dropped_as_needed(space, ratio, way):
    space, most = hold_to(space, ratio)
    repaired = getattr(space, way)(space.full())
    assert space.parameter_count(repaired) <= most
    assert all(any(part) for part in space.split(repaired))
    missing = [index for index, bit in enumerate(repaired) if not bit]
    one_more = [[bit or i == index for i, bit in enumerate(repaired)] for index in missing]
    assert any(space.parameter_count(bits) > most for bits in one_more)  # the last one dropped had to go


def test_what_fits_already_is_left_alone(space):
    space, _ = hold_to(space, 1.5)
    small = space.repair.least()
    assert sum(small) == len(space.groups)
    assert space.repair(small) == small


def test_first_individuals_lose_filters_of_the_widest_groups(space):
    space, _ = hold_to(space, 2)
    before, after = (list(map(sum, space.split(bits))) for bits in (space.full(), space.cut(space.full())))
    narrowed = [kept for kept, size in zip(after, before, strict=True) if kept < size]
    assert max(narrowed) - min(narrowed) <= 1  # down to one width
    assert all(kept <= max(narrowed) for kept in after)


@pytest.mark.slow
@pytest.mark.parametrize("slope", [-1, -0.5, 0.5, 1])
def test_the_slope_says_how_groups_are_cut(space, slope):
    space, most = hold_to(space, 6, slope=slope)
    repaired = space.cut(space.full())
    kept = list(map(sum, space.split(repaired)))
    assert most * 0.8 <= space.parameter_count(repaired) <= most
    cut = [(count, size) for count, size in zip(kept, space.group_sizes, strict=True) if count < size]
    levels = [count / size**slope for count, size in cut]
    assert max(levels) - min(levels) <= max(1 / size**slope for _, size in cut) + 1e-9  # level but for one filter
    assert len({size for _, size in cut}) > 1


class OutermostCost(NetworkCost):
    """Counts the filters of the narrowest groups as work: a budget of another kind than parameters."""

    def macs(self, bits):
        parts = zip(self.space.split(bits), self.space.group_sizes, strict=True)
        return sum(sum(part) for part, size in parts if size == 4)


@pytest.fixture
def cost(space):
    return OutermostCost(space, {})


# The second budget says nothing; both hold; the first says nothing.
@pytest.mark.slow
@pytest.mark.parametrize(("most", "expected"), [(8, 0.0), (6, None), (3, 0.0)])
def test_two_budgets_are_both_used_up_where_that_is_possible(space, cost, most, expected):
    full = space.full()
    limits = {"parameters": space.parameter_count(full) / 3, "macs": most}
    slope = find_slope(cost, limits)
    assert slope == expected if expected is not None else 0 < slope <= 1

    def used(slope):
        repair = replace(space.repair, fits=Budget(cost, limits), slope=slope)
        return space.parameter_count(repair.cut(full)) / limits["parameters"]

    if expected is None:
        assert used(slope) >= 0.9 > used(0)


def test_one_budget_alone_is_met_by_equal_numbers(cost):
    assert find_slope(cost, {"parameters": 1000}) == 0
    assert find_slope(cost, {"macs": 2}) == 0


def test_settings_become_the_repair_of_another_space(space, cost):
    before = vars(space).copy()
    settings = make_settings("quick", target_ratio=3.0, max_macs=6.0).budget
    held = hold_to_budgets(cost, settings, "A2B")
    bits = held.repair(space.full())
    assert space.parameter_count(bits) <= space.parameter_count(space.full()) / 3 and cost.macs(bits) <= 6
    assert held.repair.slope == find_slope(cost, held.repair.fits.limits)
    assert vars(space) == before and space.repair(space.full()) == space.full()
    assert hold_to_budgets(cost, replace(settings, width_slope=0.5), "A2B").repair.slope == 0.5
    message = "max macs: got 0.5; expected 2 or more, with one filter per group of A2B. Raise --max-macs"
    with pytest.raises(UserError, match=message):
        hold_to_budgets(cost, replace(settings, max_macs=0.5), "A2B")


def test_alike_individuals_stay_alike(space):
    space, _ = hold_to(space, 2)
    bits = space.full()
    for index in range(0, len(space), 3):
        other = [*bits[:index], 0, *bits[index + 1 :]]
        first, second = space.repair(bits), space.repair(other)
        assert sum(a != b for a, b in zip(first, second, strict=True)) <= 6


def test_every_new_individual_obeys(space):
    space, most = hold_to(space, 5)
    toolbox = make_toolbox(space, lambda individual, partner=None: (1.0,), init="initUniform:density=0.9")
    random.seed(1)
    assert all(space.parameter_count(individual) <= most for individual in toolbox.population(n=5))


def test_a_budget_that_nothing_meets_is_refused(space):
    with pytest.raises(UserError, match="budget: got less than one filter per group"):
        space.with_repair(fits=lambda bits: False)


@pytest.mark.parametrize("budget", [{"max_macs": 1e6}, {"max_latency_ms": 3.0}])
def test_a_budget_of_ones_own_takes_the_place_of_the_presets(budget):
    assert make_settings("quick").budget.target_ratio > 1
    assert make_settings("quick", **budget).budget.target_ratio is None
    assert make_settings("quick", target_ratio=2.0, **budget).budget.target_ratio == 2.0
