"""From scores to bits at a wanted size.

Either the same share of every group is kept (*uniform*), or whatever scores highest over all groups (*global*). Both
are an order of all filters; what fits of it is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ganprune.errors import UserError
from ganprune.filters.space import FilterSpace


def order_filters(space: FilterSpace, scores: np.ndarray, width: str) -> list[int]:
    """Return all bits' indices, those to be kept first in front.

    Each group's highest score comes before everything else, so that no group is left empty. Ties go by place in the
    group, then by index.

    Args:
        space: the filter space.
        scores: (len(space),), higher is kept sooner.
        width: "uniform": by place in the group relative to its size; "global": by score.
    """
    place, share = np.empty(len(space)), np.empty(len(space))
    for start, end in zip(space.offsets[:-1], space.offsets[1:], strict=True):
        place[start + np.argsort(-scores[start:end], kind="stable")] = np.arange(end - start)
        share[start:end] = (place[start:end] + 0.5) / (end - start)
    first = np.where(place == 0, 0, 1)
    keys = (share, first) if width == "uniform" else (share, -scores, first)
    return [int(index) for index in np.lexsort(keys)]


def allocate(space: FilterSpace, order: Sequence[int], most: int) -> list[int]:
    """Return the bits that keep as much of ``order`` as ``most`` parameters allow.

    Each filter is kept that still fits beside those before it, so that no single filter more would fit. Every group
    keeps a prefix of its own part of the order.

    Args:
        space: the filter space.
        order: of all bits, one filter of each group first; see :func:`order_filters`.
        most: parameters of the compact network, biases and norms included.

    Raises:
        UserError: not even one filter per group fits.
    """
    first = set(order[: len(space.groups)])
    bits = [int(index in first) for index in range(len(space))]
    least = space.parameter_count(bits)
    if least > most:
        raise UserError("parameters", most, f"{least} or more, with one filter per group", "Allow more.")
    group_of = np.repeat(np.arange(len(space.groups)), space.group_sizes)
    full: set[int] = set()  # all filters of a group cost the same, so one that does not fit speaks for the rest
    for index in order[len(first) :]:
        if group_of[index] not in full:
            bits[index] = 1
            if space.parameter_count(bits) > most:
                bits[index] = 0
                full.add(group_of[index])
    return bits
