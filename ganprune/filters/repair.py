"""Repair: any bits become an individual, with filters left in every group, in multiples, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ganprune.errors import UserError


@dataclass(frozen=True, eq=False)
class Repair:
    """What every strategy passes its bits through: ``repair(bits)``. It never changes; variants are made with
    ``dataclasses.replace``.

    Attributes:
        group_sizes: bits of each group, in their order.
        saliency: per bit, how much it matters within its group; higher matters more. Where there is an importance order
            it follows from that.
        order: the importance order: per bit its place in its group, 0 for the filter to be kept first. None for an
            arbitrary but fixed one, which keeps better sets than the order of the weights' size does.
        multiple: groups that have twice as many filters keep multiples of so many, or all of them. Kernels compute 4, 8
            or 16 channels at once, so that others cost as much as the next multiple. Smaller groups keep any number.
        fits: the budget: only bits for which it holds are returned. It has to be monotone: what fits goes on to fit
            when filters are dropped.
        slope: what a budget cuts groups to: n * size ** slope filters: 0 for equal numbers, 1 for equal shares of each
            group's.

    Raises:
        UserError: the multiple is below 1, or no group is that large; or not even the fewest filters per group fit.
    """

    group_sizes: tuple[int, ...]
    saliency: tuple[float, ...]
    order: Sequence[int] | None = None
    multiple: int = 1
    fits: Callable[[Sequence[int]], bool] | None = None
    slope: float = 0.0

    def __post_init__(self) -> None:
        if self.order is not None:
            sizes = np.repeat(self.group_sizes, self.group_sizes)
            object.__setattr__(self, "saliency", tuple((1 - np.asarray(self.order) / sizes).tolist()))
        most = max(1, max(self.group_sizes) // 2)
        if not 1 <= self.multiple <= most:
            expected = f"1 to {most}, half of the widest layer's filters"
            raise UserError("round to", self.multiple, expected, "Correct --round-to.")
        if self.fits is not None and not self.fits(self.least()):
            raise UserError("budget", f"less than {self.fewest} per group", "a budget that can be met", "Allow more.")

    def __call__(self, bits: Sequence[int]) -> list[int]:
        """Return repaired bits; draws nothing.

        An empty group gets its most salient filter back. Where groups keep multiples, each gets or loses as few filters
        as that takes. With a budget, filters are dropped from whichever group keeps the most (by ``slope``, for its
        size), no more of them than needed. Which of a group's filters go first, ``order`` says.

        Args:
            bits: zeros and ones, one per filter.
        """
        repaired = self._filled(bits)
        if self.fits is not None and not self.fits(repaired):
            return self._shrunk(np.asarray(repaired), self.fits)
        return repaired

    def least(self) -> list[int]:
        """Return the individual with the fewest filters that each group can keep."""
        return self._filled([0] * sum(self.group_sizes))

    @property
    def fewest(self) -> str:
        """How many filters a group keeps at least, in words."""
        return "one filter" if self.multiple == 1 else f"{self.multiple} filters"

    @cached_property
    def _places(self) -> np.ndarray:
        """Per bit its place: of one group's filters, the higher goes first."""
        count = sum(self.group_sizes)
        return np.random.default_rng(0).permutation(count) if self.order is None else np.asarray(self.order)

    def _split(self, values: np.ndarray) -> list[np.ndarray]:
        """Return each group's part, as views."""
        return np.split(values, np.cumsum(self.group_sizes)[:-1])

    def _filled(self, bits: Sequence[int]) -> list[int]:
        """Return bits with filters in every group, as many as are allowed."""
        array = np.array([int(bit) for bit in bits])
        for part, saliency in zip(self._split(array), self._split(np.asarray(self.saliency)), strict=True):
            if not part.any():
                part[saliency.argmax()] = 1
        return self._rounded(array, nearest)

    def _shrunk(self, array: np.ndarray, fits: Callable[[Sequence[int]], bool]) -> list[int]:
        """Drop filters from whichever group keeps the most, until ``fits``: wide layers are the redundant ones.

        By bisection, since dropping more always fits too: rounded down, what keeps fewer keeps a part of it.
        """
        ranks: dict[int, int] = {}  # filter -> how many of its group are kept before it goes
        for part in self._split(np.arange(len(array))):
            kept = part[array[part] == 1]
            ranks |= {int(index): rank for rank, index in enumerate(kept[np.argsort(self._places[kept])])}
        sizes = np.repeat(np.asarray(self.group_sizes, float), self.group_sizes)
        fewest = np.repeat([below(1, size, self.multiple) for size in self.group_sizes], self.group_sizes)
        order = sorted(ranks, key=lambda index: -ranks[index] / sizes[index] ** self.slope)
        order = [index for index in order if ranks[index] >= fewest[index]]

        def without(count: int) -> list[int]:
            fewer = array.copy()
            fewer[order[:count]] = 0
            return self._rounded(fewer, below)

        low, high = 0, len(order)  # `low` filters fewer do not fit; `high` fewer do, or nothing does
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(without(middle)) else (middle, high)
        fewer = without(high)
        return fewer if fits(fewer) else self.least()

    def _rounded(self, array: np.ndarray, rounding: Callable[[int, int, int], int]) -> list[int]:
        """Give every group as many filters as ``rounding`` says, those that are kept first."""
        result = array.copy()
        if self.multiple > 1:
            for part, places in zip(self._split(result), self._split(self._places), strict=True):
                wanted = rounding(int(part.sum()), len(part), self.multiple)
                order = np.lexsort((places, 1 - part))  # the kept ones, then the others
                part[order[:wanted]] = 1
                part[order[wanted:]] = 0
        kept: list[int] = result.tolist()
        return kept


def below(count: int, size: int, multiple: int) -> int:
    """Return the largest allowed number that is at most ``count``; the fewest there may be, where there is none."""
    if count == size or size < 2 * multiple:
        return count
    return max(multiple, count - count % multiple)


def nearest(count: int, size: int, multiple: int) -> int:
    """Return the allowed number nearest to ``count``, the smaller of two."""
    low = below(count, size, multiple)
    high = low if low >= count else min(size, low + multiple)
    return high if high - count < count - low else low
