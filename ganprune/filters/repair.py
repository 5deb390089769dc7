"""What makes bits legal: filters left in every group, in multiples where these are asked for, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ganprune.errors import UserError


class LegalBits:
    """Bit strings in groups, one bit per filter, and :meth:`repair`, which every strategy passes them through.

    Args:
        group_sizes: bits of each group, in their order.

    Attributes:
        group_sizes: the same.
        offsets: where each group begins, and where the last one ends.
        multiple: of how many filters groups keep multiples; see :meth:`round_to`.
        saliency: per bit, how much it matters within its group: higher matters more.
        slope: what a budget cuts groups to: n * size ** slope filters: 0 for equal numbers, 1 for equal shares of
            each group's.
    """

    def __init__(self, group_sizes: Sequence[int]):
        self.group_sizes = list(group_sizes)
        self.offsets = np.concatenate([[0], np.cumsum(self.group_sizes)])
        self.multiple = 1
        self.slope = 0.0
        self.saliency: list[float] = [1.0] * len(self)
        self._turns = np.random.default_rng(0).permutation(len(self))  # of one group's filters, the higher goes first
        self._fits: Callable[[Sequence[int]], bool] | None = None

    def __len__(self) -> int:
        """Number of bits."""
        return int(self.offsets[-1])

    def split(self, bits: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Return the bits of each group."""
        return np.split(np.asarray(bits), self.offsets[1:-1])

    def limit(self, fits: Callable[[Sequence[int]], bool], what: str) -> None:
        """Set a budget: from now on :meth:`repair` returns only bits for which ``fits(bits)`` holds.

        Args:
            fits: monotone: what fits goes on to fit when filters are dropped.
            what: the budget in the user's words, for the message.

        Raises:
            UserError: not even one filter per group fits, or with :meth:`round_to` one multiple of them.
        """
        self._fits = None
        if not fits(self.repair([0] * len(self))):
            fewest = "one filter" if self.multiple == 1 else f"{self.multiple} filters"
            raise UserError(what, f"less than {fewest} per group", "a budget that can be met", "Allow more.")
        self._fits = fits

    def round_to(self, multiple: int) -> None:
        """Let :meth:`repair` keep multiples of so many filters in each group that has twice as many, or all of them.

        Kernels compute 4, 8 or 16 channels at once, so that others cost as much as the next multiple. Smaller groups
        keep any number.

        Raises:
            UserError: it is below 1, or no group is that large; or the budget does not hold one multiple per group.
        """
        most = max(self.group_sizes) // 2
        if not 1 <= multiple <= max(1, most):
            expected = f"1 to {most}, half of the widest layer's filters"
            raise UserError("round to", multiple, expected, "Correct --round-to.")
        self.multiple = multiple
        if self._fits is not None:
            self.limit(self._fits, "budget")

    def repair(self, bits: Sequence[int]) -> list[int]:
        """Return legal bits; draws nothing.

        An empty group gets its most salient filter back. Where groups keep multiples, each gets or loses as few filters
        as that takes. With a budget, filters are dropped from whichever group keeps the most (by ``slope``, for its
        size), no more of them than needed. Which of a group's filters go first was said by :meth:`rank`, or is an
        arbitrary but fixed order, which keeps better sets than the order of the weights' size does.

        Args:
            bits: ``len(self)`` zeros and ones.
        """
        repaired = [int(bit) for bit in bits]
        for start, end in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            if not any(repaired[start:end]):
                repaired[start + int(np.argmax(self.saliency[start:end]))] = 1
        if self.multiple > 1:
            repaired = self._rounded(np.asarray(repaired), nearest)
        if self._fits is not None and not self._fits(repaired):
            repaired = self._shrink(repaired, self._fits)
        return repaired

    def _shrink(self, bits: list[int], fits: Callable[[Sequence[int]], bool]) -> list[int]:
        """Drop filters from whichever group keeps the most, until ``fits``: wide layers are the redundant ones.

        By bisection, since dropping more always fits too: rounded down, what keeps fewer keeps a part of it.
        """
        array = np.asarray(bits)
        ranks: dict[int, int] = {}  # filter -> how many of its group are kept before it goes
        for start, part in zip(self.offsets, self.split(array), strict=False):
            kept = start + np.flatnonzero(part)
            ranks |= {int(index): rank for rank, index in enumerate(kept[np.argsort(self._turns[kept])])}
        sizes = np.repeat(np.asarray(self.group_sizes, float), self.group_sizes)
        fewest = np.repeat([fewest_kept(size, self.multiple) for size in self.group_sizes], self.group_sizes)
        order = sorted(ranks, key=lambda index: -ranks[index] / sizes[index] ** self.slope)
        order = [index for index in order if ranks[index] >= fewest[index]]

        def without(count: int) -> list[int]:
            fewer = array.copy()
            fewer[order[:count]] = 0
            return self._rounded(fewer, below) if self.multiple > 1 else fewer.tolist()

        low, high = 0, len(order)  # `low` filters fewer do not fit; `high` fewer do, or nothing does
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(without(middle)) else (middle, high)
        fewer = without(high)
        return fewer if fits(fewer) else self._least()

    def _rounded(self, array: np.ndarray, rounding: Callable[[int, int, int], int]) -> list[int]:
        """Give every group as many filters as ``rounding`` says, those that are kept first."""
        result = array.copy()
        for start, part in zip(self.offsets, self.split(array), strict=False):
            wanted = rounding(int(part.sum()), len(part), self.multiple)
            order = np.lexsort((self._turns[start : start + len(part)], 1 - part))  # the kept ones, then the others
            result[start + order[:wanted]] = 1
            result[start + order[wanted:]] = 0
        kept: list[int] = result.tolist()
        return kept

    def _least(self) -> list[int]:
        """Return the fewest filters that each group can keep: what every budget was checked to allow."""
        fits, self._fits = self._fits, None
        least = self.repair([0] * len(self))
        self._fits = fits
        return least

    def rank(self, places: Sequence[int]) -> None:
        """Say in which order to keep each group's filters: in ``repair``, and as ``saliency``.

        Args:
            places: per bit its place in its group, 0 = kept first.
        """
        self._turns = np.asarray(places)
        sizes = np.repeat(self.group_sizes, self.group_sizes)
        self.saliency = (1 - self._turns / sizes).tolist()


def fewest_kept(size: int, multiple: int) -> int:
    """Return the fewest filters that a group of ``size`` may keep."""
    return multiple if size >= 2 * multiple else 1


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
