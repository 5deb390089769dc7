"""How the first individuals are drawn.

The paper's authors set every bit with probability one half in their code (:func:`initUniform`). The others give each
individual its own overall density and each group of filters its own around it, so that the first population already
spans small and large networks and uneven widths. All draw from the global ``random`` only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from ganprune.errors import UserError


def initUniform(group_sizes: Sequence[int], density: float = 0.5) -> list[int]:
    """Set every bit on its own with the same probability.

    Args:
        group_sizes: filters per group; the result has their sum of bits.
        density: the probability of a 1, in [0, 1].

    Returns:
        A list of 0/1. Groups can come out empty: ``repair`` sees to them.
    """
    return [int(random.random() < density) for _ in range(sum(group_sizes))]


def initDensity(group_sizes: Sequence[int], low: float = 0.1, high: float = 1.0) -> list[int]:
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
    bits = [0] * sum(group_sizes)
    for positions, keep in _widths(group_sizes, low, high):
        _switch_on(bits, random.sample(positions, keep))
    return bits


def initGuided(group_sizes: Sequence[int], saliency: Sequence[float], low: float = 0.1, high: float = 1.0) -> list[int]:
    """As :func:`initDensity`, but each group keeps its most salient filters instead of random ones.

    Args:
        group_sizes: filters per group, each at least 1.
        saliency: one number per bit, larger = more worth keeping (such as `FilterSpace.saliency`).
        low: the lowest level, in [0, 1].
        high: the highest level, in [low, 1].

    Returns:
        A list of 0/1 with at least one 1 in every group.

    Raises:
        UserError: not 0 <= low <= high <= 1.
    """
    bits = [0] * sum(group_sizes)
    for positions, keep in _widths(group_sizes, low, high):
        _switch_on(bits, sorted(positions, key=saliency.__getitem__, reverse=True)[:keep])
    return bits


def initMixed(
    group_sizes: Sequence[int],
    saliency: Sequence[float],
    low: float = 0.1,
    high: float = 1.0,
    guided: float = 0.5,
) -> list[int]:
    """Draw from :func:`initGuided` with probability ``guided`` (in [0, 1]), else from :func:`initDensity`.

    Arguments, result and errors are theirs.
    """
    if random.random() < guided:
        return initGuided(group_sizes, saliency, low, high)
    return initDensity(group_sizes, low, high)


def _widths(group_sizes: Sequence[int], low: float, high: float) -> Iterator[tuple[range, int]]:
    """Yield, for each group, its positions and how many of them to keep, at least 1."""
    if not 0 <= low <= high <= 1:
        raise UserError("low and high", f"{low} and {high}", "0 <= low <= high <= 1", "Change the initial densities.")
    level = random.uniform(low, high)
    start = 0
    for size in group_sizes:
        density = random.uniform(level / 2, min(1.0, 1.5 * level))
        yield range(start, start + size), max(1, round(size * density))
        start += size


def _switch_on(bits: list[int], kept: Sequence[int]) -> None:
    for index in kept:
        bits[index] = 1
