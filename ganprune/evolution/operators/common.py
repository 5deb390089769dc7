"""What operators have in common: the range of a share, groups as slices of the bits, ranks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Any

from ganprune.specs import Range

Share = Annotated[float, Range(0.0, 1.0)]
"""A probability, a density or a share: what a specification gives is held to [0, 1]."""


def slices(group_sizes: Sequence[int]) -> list[slice]:
    """Return the bits of each group, as slices of an individual."""
    return [slice(end - size, end) for size, end in zip(group_sizes, accumulate(group_sizes), strict=True)]


def ranks(values: Sequence[Any]) -> list[float]:
    """Return the rank of each value, from 0 for the smallest; equals share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for index in order[start:end]:
            found[index] = (start + end - 1) / 2
        start = end
    return found
