"""Crossover and mutation of filter bit strings, by DEAP's conventions: both change what they are given, in place, and
return it in a tuple. All draw from the global ``random`` only. ``group_sizes`` are filters per group, in the order of
the bits. What they leave behind can have empty groups: the strategy repairs it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Annotated, Any

from deap.tools import mutFlipBit

from ganprune.errors import UserError
from ganprune.evolution.operators.common import Share, ranks, slices
from ganprune.specs import Range


def cxGroup(ind1: Any, ind2: Any, group_sizes: Sequence[int], indpb: Share = 0.5) -> tuple[Any, Any]:
    """Swap whole groups of filters: uniform crossover (Syswerda, 1989) with a group as its gene.

    Filters of one group only make sense together, so a child gets each group from one parent.

    Args:
        ind1, ind2: the parents.
        indpb: the probability of a group to be swapped, in [0, 1].
    """
    for group in slices(group_sizes):
        if random.random() < indpb:
            ind1[group], ind2[group] = ind2[group], ind1[group]
    return ind1, ind2


def mutFlipBitPerGroup(
    individual: Any, group_sizes: Sequence[int], flips: Annotated[float | Sequence[float], Range(0, math.inf)] = 1.0
) -> tuple[Any]:
    """Flip each bit at the rate of its group: ``flips`` / size of the group.

    One rate for all bits changes wide groups often and narrow ones hardly ever. The usual rate of one expected flip per
    string (H. Mühlenbein, "How genetic algorithms really work: mutation and hillclimbing", 1992) is here one per group.

    Args:
        flips: the expected number of flips in a group, at least 0; one number for all, or one for each.

    Raises:
        UserError: there are not as many numbers as groups.
    """
    expected = list(flips) if isinstance(flips, Sequence) else [flips] * len(group_sizes)
    if len(expected) != len(group_sizes):
        raise UserError(
            "flips of mutFlipBitPerGroup", f"{len(expected)} numbers", f"1, or {len(group_sizes)}, one for each group",
            "Give one number for all.",
        )  # fmt: skip
    for group, count in zip(slices(group_sizes), expected, strict=True):
        rate = count / (group.stop - group.start)
        individual[group] = [1 - bit if random.random() < rate else bit for bit in individual[group]]
    return (individual,)


def mutFlipBitGuided(
    individual: Any, group_sizes: Sequence[int], saliency: Sequence[float], indpb: Share = 0.01, guidance: Share = 1.0
) -> tuple[Any]:
    """Flip bits, dropping weak filters and adding strong ones more often than the other way round.

    Norm-based pruning (H. Li et al., "Pruning filters for efficient ConvNets", 2017) as the bias of a mutation. A
    filter of rank r in its group, from 0 for the weakest to 1 for the strongest, is flipped with probability

        indpb * (1 + guidance * (1 - 2 r))  if it is kept,      indpb * (1 + guidance * (2 r - 1))  if it is not

    Args:
        saliency: one number per bit, larger = more worth keeping. Ranks count: sizes differ from layer to layer.
        indpb: the probability of a bit of middling saliency to be flipped, in [0, 1].
        guidance: in [0, 1]: 0 flips all bits alike (:func:`mutFlipBit`), 1 never drops a group's strongest filter.
    """
    for group in slices(group_sizes):
        places = ranks(saliency[group])
        top = max(1, len(places) - 1)
        for index, rank in zip(range(group.start, group.stop), places, strict=True):
            lean = 2 * rank / top - 1 if len(places) > 1 else 0.0
            if random.random() < indpb * (1 + guidance * (-lean if individual[index] else lean)):
                individual[index] = 1 - individual[index]
    return (individual,)


def mutDensity(individual: Any, group_sizes: Sequence[int], low: Share = 0.1, high: Share = 1.0) -> tuple[Any]:
    """Draw a new density for one random group, and add or drop random filters until the group has it.

    Where :func:`mutGroup` takes a step from the width that a group has, this one forgets it, as ``initDensity`` draws.
    The group keeps at least one filter.

    Args:
        low: the lowest density, in [0, 1].
        high: the highest density, in [low, 1].
    """
    group = random.choice(slices(group_sizes))
    kept, dropped = _kept_and_dropped(individual, group)
    missing = max(1, round(random.uniform(low, high) * len(kept + dropped))) - len(kept)
    for index in random.sample(dropped if missing > 0 else kept, abs(missing)):
        individual[index] = int(missing > 0)
    return (individual,)


def mutFlipSegment(individual: Any) -> tuple[Any]:
    """Invert every bit between two random cut points: the mutation of the authors' code for Algorithm 1.

    At least one bit is inverted, at most all.
    """
    start, end = sorted(random.sample(range(len(individual) + 1), 2))
    individual[start:end] = [1 - bit for bit in individual[start:end]]
    return (individual,)


def mutGroup(individual: Any, group_sizes: Sequence[int], share: Share = 0.5) -> tuple[Any]:
    """Add filters to one random group, or drop filters from it.

    Adding and dropping are equally likely; where one cannot change anything the other is done. The number of filters
    is a uniform share of the group in (0, ``share``], at least 1. The group's last filter is never dropped.

    Args:
        share: the largest share of a group to add or drop, in (0, 1].
    """
    group = random.choice(slices(group_sizes))
    kept, dropped = _kept_and_dropped(individual, group)
    coin = random.random() < 0.5
    adding = bool(dropped) and (coin or len(kept) <= 1)
    room = len(dropped) if adding else max(0, len(kept) - 1)
    count = min(room, max(1, round(random.uniform(0, share) * len(kept + dropped))))
    for index in random.sample(dropped if adding else kept, count):
        individual[index] = int(adding)
    return (individual,)


def mutGroupOrFlip(
    individual: Any, group_sizes: Sequence[int], flip: Share = 0.5, indpb: Share = 0.01, share: Share = 0.5
) -> tuple[Any]:
    """Flip a few bits anywhere with probability ``flip``, else add or drop filters of one group.

    The first explores which filters of a group serve best, the second how wide each group should be.

    Args:
        flip: the probability of flipping bits, in [0, 1].
        indpb: then, the probability of each bit to be flipped (:func:`mutFlipBit`), in [0, 1].
        share: else, the largest share of a group to add or drop (:func:`mutGroup`), in (0, 1].
    """
    if random.random() < flip:
        return mutFlipBit(individual, indpb)
    return mutGroup(individual, group_sizes, share)


def _kept_and_dropped(individual: Any, group: slice) -> tuple[list[int], list[int]]:
    """Return the positions of the group's filters that are kept, and of those that are not."""
    positions = range(group.start, group.stop)
    return [index for index in positions if individual[index]], [index for index in positions if not individual[index]]
