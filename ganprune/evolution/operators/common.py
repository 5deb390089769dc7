"""What operators have in common: the range of a share, groups as slices of the bits, ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Annotated

import numpy as np

from ganprune.specs import Range

Share = Annotated[float, Range(0.0, 1.0)]
"""A probability, a density or a share: what a specification gives is held to [0, 1]."""

Extent = Annotated[float, Range(0.0, 8.0)]
"""How far something may go, on a scale of its own: an exponent, the logarithm of a factor."""

Fill = Callable[[Sequence[int]], list[int]]
"""The space's ``fill``: bits -> bits of the same proportions that use the budget up."""


def slices(group_sizes: Sequence[int]) -> list[slice]:
    """Return the bits of each group, as slices of an individual."""
    return [slice(end - size, end) for size, end in zip(group_sizes, accumulate(group_sizes), strict=True)]


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, from 0 for the smallest; equals share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[places].tolist()
