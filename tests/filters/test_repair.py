"""Repair on bits alone: proportions are kept, budgets held and used up, and nothing that fits is touched."""

import random

import pytest
from toys import BUDGETS, ChainSpace

from ganprune.filters.repair import Repair

BOUNDED = [name for name, limits in BUDGETS.items() if limits]


def held(sizes, most):
    """Groups of these sizes, each in the order of its bits, with at most so many filters in all."""
    order = [place for size in sizes for place in range(size)]
    return Repair(sizes, (), order, fits=lambda bits: sum(bits) <= most)


def prefixes(widths, sizes):
    """The bits that keep the first filters of each group."""
    return [int(place < width) for width, size in zip(widths, sizes, strict=True) for place in range(size)]


@pytest.mark.parametrize(
    ("before", "most", "after"),
    [
        ((40, 20, 10), 35, (20, 10, 5)),  # half of each
        ((4, 20, 10), 17, (2, 10, 5)),  # a narrow group of a large layer stays narrow
        ((30, 1, 1), 16, (14, 1, 1)),  # no group is emptied
        ((3, 3, 3), 8, (3, 3, 2)),  # one too many: of equals, the last group's goes
        ((40, 20, 10), 3, (1, 1, 1)),
    ],
)
def test_a_budget_scales_all_groups_alike(before, most, after):
    sizes = (40, 20, 10)
    assert held(sizes, most)(prefixes(before, sizes)) == prefixes(after, sizes)


@pytest.mark.parametrize(
    ("before", "most", "after"),
    [
        ((20, 10, 5), 70, (40, 20, 10)),
        ((20, 10, 5), 42, (24, 12, 6)),
        ((2, 10, 5), 34, (4, 20, 10)),
        ((4, 20, 10), 40, (10, 20, 10)),  # the others are complete
        ((40, 20, 10), 35, (20, 10, 5)),  # too large: scaled down
    ],
)
def test_filling_up_scales_all_groups_alike(before, most, after):
    sizes = (40, 20, 10)
    assert held(sizes, most).fill(prefixes(before, sizes)) == prefixes(after, sizes)


def test_kept_filters_go_last_and_missing_ones_come_by_their_order():
    repair = Repair((6,), (), [5, 4, 3, 2, 1, 0], fits=lambda bits: sum(bits) <= 3)
    assert repair([1, 1, 1, 0, 0, 1]) == [0, 1, 1, 0, 0, 1]
    assert repair.fill([1, 0, 0, 0, 0, 0]) == [1, 0, 0, 0, 1, 1]


def test_without_a_budget_there_is_nothing_to_use_up():
    repair = Repair((2, 3), (1.0, 2.0, 3.0, 2.0, 1.0))
    assert repair.fill([1, 0, 0, 0, 0]) == repair.cut([1, 0, 0, 0, 0]) == [1, 0, 1, 0, 0]


@pytest.mark.parametrize("way", ["repair", "fill", "cut"])
@pytest.mark.parametrize("multiple", [1, 4])
@pytest.mark.parametrize("budget", BUDGETS)
def test_what_fits_is_left_alone_and_what_does_not_is_made_to(budget, multiple, way):
    space, draw = ChainSpace((4, 12, 24, 16, 6), budget, multiple), random.Random(2)
    for density in (0.05, 0.3, 0.6, 1.0):
        bits = [int(draw.random() < density) for _ in space.saliency]
        once = getattr(space, way)(bits)
        assert space.fits(once) and all(space.widths(once))
        assert getattr(space, way)(once) == once == space.repair(once) == space.cut(once)


@pytest.mark.parametrize("multiple", [1, 4])
@pytest.mark.parametrize("budget", BOUNDED)
def test_filled_up_no_group_can_be_wider(budget, multiple):
    space, draw = ChainSpace((4, 12, 24, 16, 6), budget, multiple), random.Random(3)
    for density in (0.05, 0.3, 0.9):
        filled = space.fill([int(draw.random() < density) for _ in space.saliency])
        for start, size, width in zip(space.starts, space.group_sizes, space.widths(filled), strict=True):
            if width < size:
                missing = [index for index in range(start, start + size) if not filled[index]]
                step = multiple if size >= 2 * multiple else 1
                wider = [bit or int(index in missing[:step]) for index, bit in enumerate(filled)]
                assert not space.fits(wider)


def test_two_budgets_hold_at_once_and_proportions_stay():
    space = ChainSpace((8, 32, 64, 32, 8), "both")
    bits = prefixes((8, 8, 64, 8, 8), space.group_sizes)
    first, second, third, fourth, fifth = space.widths(space.repair(bits))
    assert third >= 4 * second and abs(second - fourth) <= 1 and abs(first - fifth) <= 1
