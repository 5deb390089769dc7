"""Variation of *widths*: how many filters each group keeps. Which ones these are saliency says.

Both operators work on bit strings, by DEAP's conventions: they change what they are given, in place, and return it in a
tuple. They draw from the global ``random`` only. Widths are varied by factors, since what a layer gains from its next
filter falls as it gets wider; then ``fill``, the space's, scales all groups until the budget is used up. So what one
group gains the others give, as in the level switches of EvoPress (O. Sieberling et al., "EvoPress: Accurate dynamic
model compression via evolutionary search", ICML 2025), and every child has the size that is allowed.

Filters that stay are not exchanged for others: a group gets its most salient missing filters, or loses its least
salient ones.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Annotated, Any

from ganprune.evolution.operators.common import Extent, Fill, slices
from ganprune.specs import Range

_EXPONENT = 1.5  # of the power law of how many groups change
_FINEST = 32.0  # the smallest step is this part of the largest


def mutTradeWidths(
    individual: Any, group_sizes: Sequence[int], saliency: Sequence[float], fill: Fill, step: Extent = 1.0
) -> tuple[Any]:
    """Widen or narrow a few random groups; the others pay for it, or get what they leave, in proportion.

    Mostly one group changes, sometimes many, and mostly by little, sometimes by much. Both are drawn from heavy tails,
    which need no rate that adapts itself: the number of groups k with probability ~ k ** -1.5 (B. Doerr et al., "Fast
    genetic algorithms", 2017), the logarithm of a width's factor log-uniformly from ``step`` / 32 to ``step``.

    Args:
        individual: bits, changed in place.
        group_sizes: filters per group, in the order of the bits.
        saliency: one number per bit, larger = more worth keeping.
        fill: bits -> bits of the same proportions that use the budget up.
        step: the logarithm of the largest factor: 1 is 2.7 times as wide, or as narrow.
    """
    groups = slices(group_sizes)
    counts = range(1, len(groups) + 1)
    (count,) = random.choices(counts, weights=[number**-_EXPONENT for number in counts])
    for group in random.sample(groups, count):
        width, size = sum(individual[group]), group.stop - group.start
        factor = math.exp(step * _FINEST ** -random.random())
        wider = random.random() < 0.5
        if width == size or width <= 1:
            wider = width <= 1
        changed = max(width + 1, round(width * factor)) if wider else min(width - 1, round(width / factor))
        _resize(individual, group, min(size, max(1, changed)), saliency)
    individual[:] = fill(individual)
    return (individual,)


def cxBlendWidths(
    ind1: Any,
    ind2: Any,
    group_sizes: Sequence[int],
    saliency: Sequence[float],
    fill: Fill,
    alpha: Annotated[float, Range(0.0, 4.0)] = 0.5,
) -> tuple[Any, Any]:
    """Blend the widths of two parents, group by group: BLX-alpha (Eshelman and Schaffer, 1993) on their logarithms.

    With gamma uniform in [-alpha, 1 + alpha] for each group, as in DEAP's ``cxBlend``, the children's widths are
    a ** (1 - gamma) * b ** gamma and a ** gamma * b ** (1 - gamma). Each child keeps the filters of its own parent, as
    far as its widths let it.

    Args:
        ind1, ind2: the parents.
        group_sizes: filters per group, in the order of the bits.
        saliency: one number per bit, larger = more worth keeping.
        fill: bits -> bits of the same proportions that use the budget up.
        alpha: how far beyond the parents' widths, as a share of their distance.
    """
    for group in slices(group_sizes):
        size = group.stop - group.start
        first, second = max(1, sum(ind1[group])), max(1, sum(ind2[group]))
        gamma = (1 + 2 * alpha) * random.random() - alpha
        for child, own, other in ((ind1, first, second), (ind2, second, first)):
            _resize(child, group, min(size, max(1, round(own * (other / own) ** gamma))), saliency)
    ind1[:], ind2[:] = fill(ind1), fill(ind2)
    return ind1, ind2


def _resize(individual: Any, group: slice, width: int, saliency: Sequence[float]) -> None:
    """Bring a group to that many filters: add the most salient missing ones, or drop the least salient kept ones."""
    positions = sorted(range(group.start, group.stop), key=lambda index: -saliency[index])
    kept = [index for index in positions if individual[index]]
    missing = [index for index in positions if not individual[index]]
    for index in missing[: max(0, width - len(kept))]:
        individual[index] = 1
    for index in kept[width:]:
        individual[index] = 0
