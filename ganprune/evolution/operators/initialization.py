"""How the first individuals are drawn.

The paper's authors set every bit with probability one half in their code (:func:`initUniform`). The others give each
individual its own overall density and each group of filters its own around it, so that the first population already
spans small and large networks and uneven widths. All draw from the global ``random`` only.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from ganprune.errors import UserError
from ganprune.evolution.operators.common import Extent, Fill, Share, slices


def initUniform(group_sizes: Sequence[int], density: Share = 0.5) -> list[int]:
    """Set every bit on its own with the same probability.

    Args:
        group_sizes: filters per group; the result has their sum of bits.
        density: the probability of a 1, in [0, 1].

    Returns:
        A list of 0/1. Groups can come out empty: ``repair`` sees to them.
    """
    return [int(random.random() < density) for _ in range(sum(group_sizes))]


def initDensity(group_sizes: Sequence[int], low: Share = 0.1, high: Share = 1.0) -> list[int]:
    """Draw a level for the individual, a density around it for each group, and that share of random filters.

    The level is uniform in [low, high], a group's density uniform in [level / 2, min(1, 1.5 * level)].

    Args:
        group_sizes: filters per group, each at least 1.
        low: the lowest level, in [0, 1].
        high: the highest level, in [low, 1].

    Returns:
        A list of 0/1 with at least one 1 in every group.

    Raises:
        UserError: not 0 <= low <= high <= 1.
    """
    return _draw(group_sizes, low, high, random.sample)


def initGuided(group_sizes: Sequence[int], saliency: Sequence[float], low: Share = 0.1, high: Share = 1.0) -> list[int]:
    """As :func:`initDensity`, but each group keeps its most salient filters instead of random ones.

    ``saliency`` is one number per bit, larger = more worth keeping (such as `FilterSpace.saliency`). The other
    arguments, result and errors are those of :func:`initDensity`.
    """

    def strongest(positions: range, count: int) -> list[int]:
        return sorted(positions, key=saliency.__getitem__, reverse=True)[:count]

    return _draw(group_sizes, low, high, strongest)


def initMixed(
    group_sizes: Sequence[int], saliency: Sequence[float], low: Share = 0.1, high: Share = 1.0, guided: Share = 0.5
) -> list[int]:
    """Draw from :func:`initGuided` with probability ``guided`` (in [0, 1]), else from :func:`initDensity`.

    Arguments, result and errors are theirs.
    """
    if random.random() < guided:
        return initGuided(group_sizes, saliency, low, high)
    return initDensity(group_sizes, low, high)


def initProfile(
    group_sizes: Sequence[int], saliency: Sequence[float], fill: Fill, slope: Extent = 1.0, jitter: Extent = 0.5
) -> list[int]:
    """Draw widths in proportion to size ** s, s uniform in [-``slope``, ``slope``], and use the budget up.

    1 is the same share of every group, 0 the same number, -1 most filters in the narrowest groups. Each group's width
    is then scaled by exp(u), u uniform in [-``jitter``, ``jitter``], and all so that the group which keeps most of its
    filters keeps a share uniform in [1/4, 1]: this is the size where no budget says it. Groups keep their most salient
    filters.

    Args:
        group_sizes: filters per group, each at least 1.
        saliency: one number per bit, larger = more worth keeping.
        fill: bits -> bits of the same proportions that use the budget up.
        slope: the largest exponent.
        jitter: the logarithm of the largest factor.

    Returns:
        A list of 0/1 with at least one 1 in every group.
    """
    exponent = random.uniform(-slope, slope)
    widths = [size**exponent * math.exp(random.uniform(-jitter, jitter)) for size in group_sizes]
    level = random.uniform(0.25, 1) / max(width / size for width, size in zip(widths, group_sizes, strict=True))
    bits = [0] * sum(group_sizes)
    for group, width in zip(slices(group_sizes), widths, strict=True):
        positions = sorted(range(group.start, group.stop), key=saliency.__getitem__, reverse=True)
        for index in positions[: max(1, round(level * width))]:
            bits[index] = 1
    return fill(bits)


def _draw(group_sizes: Sequence[int], low: float, high: float, choose: Callable[[range, int], list[int]]) -> list[int]:
    """Draw a level and the densities of the groups, and keep that many of each group's filters, at least one.

    ``choose(positions, count)`` says which.
    """
    if not 0 <= low <= high <= 1:
        raise UserError("low and high", f"{low} and {high}", "0 <= low <= high <= 1", "Change the initial densities.")
    bits = [0] * sum(group_sizes)
    level = random.uniform(low, high)
    for group in slices(group_sizes):
        positions = range(group.start, group.stop)
        density = random.uniform(level / 2, min(1.0, 1.5 * level))
        for index in choose(positions, max(1, round(len(positions) * density))):
            bits[index] = 1
    return bits
