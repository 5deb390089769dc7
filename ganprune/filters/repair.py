"""Repair: any bits become an individual, with filters left in every group, in multiples, within a budget.

A budget leaves open how wide each group is. Repair keeps an individual's proportions: all widths are scaled by one
factor, so that a group which variation has made wider than others stays wider than others. Widths are whole numbers;
as the factor rises, each group takes its next step where the scaled width is nearer to that than to the one before
(Webster's method of apportionment). So there is one order of steps, and bisection finds how many of them fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ganprune.errors import UserError


@dataclass(frozen=True, eq=False)
class Repair:
    """What every strategy passes its bits through: ``repair(bits)``. It never changes; variants are made with
    ``dataclasses.replace``. Nothing in it draws: the same bits give the same bits.

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
        slope: what :meth:`cut` cuts groups to: n * size ** slope filters: 0 for equal numbers, 1 for equal shares of
            each group's.

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
        """Return repaired bits; what is an individual already, and fits, is left alone.

        An empty group gets its most salient filter back. Where groups keep multiples, each gets or loses as few filters
        as that takes. With a budget, all groups lose the same share of their filters, no more than needed. Which of a
        group's filters go first, ``order`` says.

        Args:
            bits: zeros and ones, one per filter.
        """
        repaired = self._filled(bits)
        if self.fits is None or self.fits(repaired):
            return repaired
        array = np.asarray(repaired)
        return self._narrowed(array, self.fits, self._widths(array))

    def fill(self, bits: Sequence[int]) -> list[int]:
        """Return bits of the same proportions that use the budget up: no group can get its next filters.

        Groups gain the same share of their filters, as many as fit; what is then left goes to those groups whose next
        filters still fit. Without a budget there is nothing to use up, and these are the repaired bits.

        Args:
            bits: zeros and ones, one per filter.
        """
        repaired = self._filled(bits)
        if self.fits is None:
            return repaired
        return self._widened(np.asarray(repaired), self.fits)

    def cut(self, bits: Sequence[int]) -> list[int]:
        """Return bits that fit, the widest groups narrowed to n * size ** ``slope`` filters, no further than needed.

        For individuals whose widths mean nothing yet, such as those that keep every filter: wide layers are the
        redundant ones.

        Args:
            bits: zeros and ones, one per filter.
        """
        repaired = self._filled(bits)
        if self.fits is None or self.fits(repaired):
            return repaired
        return self._narrowed(np.asarray(repaired), self.fits, np.asarray(self.group_sizes, float) ** self.slope)

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
        return self._rounded(array)

    def _widths(self, array: np.ndarray) -> np.ndarray:
        """Return how many filters each group keeps."""
        return np.add.reduceat(array, np.cumsum((0, *self.group_sizes))[:-1])

    def _steps(self, scale: np.ndarray, most: np.ndarray) -> np.ndarray:
        """Return (steps, 2): group and its next width, in the order in which they are reached as the width of all
        groups rises in proportion to ``scale``, from the fewest filters to ``most``."""
        steps = [
            ((low + high) / 2 / scale[group], group, high)
            for group, size in enumerate(self.group_sizes)
            for low, high in pairwise(allowed(size, self.multiple))
            if high <= most[group]
        ]
        return np.array([step[1:] for step in sorted(steps)], dtype=int).reshape(-1, 2)

    def _reached(self, steps: np.ndarray, count: int) -> np.ndarray:
        """Return each group's width after that many of the steps."""
        widths = np.array([allowed(size, self.multiple)[0] for size in self.group_sizes])
        np.maximum.at(widths, steps[:count, 0], steps[:count, 1])
        return widths

    def _most(self, array: np.ndarray, fits: Callable[[Sequence[int]], bool], steps: np.ndarray) -> int:
        """Return how many of the steps fit, by bisection: none of them do, all of them do not."""
        low, high = 0, len(steps)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(self._resized(array, self._reached(steps, middle))) else (low, middle)
        return low

    def _narrowed(self, array: np.ndarray, fits: Callable[[Sequence[int]], bool], scale: np.ndarray) -> list[int]:
        """Return an individual that does not fit with as many of its filters, in proportion to ``scale``, as fit."""
        steps = self._steps(scale, self._widths(array))
        count = self._most(array, fits, steps)
        return self._resized(array, self._reached(steps, count)) if count else self.least()

    def _widened(self, array: np.ndarray, fits: Callable[[Sequence[int]], bool]) -> list[int]:
        """Return an individual, fitting or not, scaled to what fits, and then step by step as wide as fits."""
        if fits(full := [1] * len(array)):
            return full
        steps = self._steps(self._widths(array), np.asarray(self.group_sizes))
        count = self._most(array, fits, steps)
        widths, best = self._reached(steps, count), self.least()
        if count:
            best = self._resized(array, widths)
        ended = set()  # what does not fit now will not fit later, when others are wider
        for group, width in steps[count:].tolist():
            if group not in ended:
                before, widths[group] = widths[group], width
                wider = self._resized(array, widths)
                if fits(wider):
                    best = wider
                else:
                    widths[group] = before
                    ended.add(group)
        return best

    def _rounded(self, array: np.ndarray) -> list[int]:
        """Give every group the allowed number of filters that is nearest to what it has."""
        if self.multiple == 1:
            kept: list[int] = array.tolist()
            return kept
        sizes = zip(self._widths(array).tolist(), self.group_sizes, strict=True)
        return self._resized(array, [nearest(width, size, self.multiple) for width, size in sizes])

    def _resized(self, array: np.ndarray, widths: np.ndarray | Sequence[int]) -> list[int]:
        """Give every group that many filters: those that it keeps first, by their places, then the others."""
        result = array.copy()
        parts = zip(self._split(result), self._split(self._places), widths, strict=True)
        for part, places, width in parts:
            order = np.lexsort((places, 1 - part))  # the kept ones, then the others
            part[order[:width]] = 1
            part[order[width:]] = 0
        kept: list[int] = result.tolist()
        return kept


def allowed(size: int, multiple: int) -> list[int]:
    """Return the numbers of filters that a group of that size may keep, rising."""
    if size < 2 * multiple:
        return list(range(1, size + 1))
    return [*range(multiple, size, multiple), size]


def nearest(count: int, size: int, multiple: int) -> int:
    """Return the allowed number nearest to ``count``, the smaller of two."""
    return min(allowed(size, multiple), key=lambda number: (abs(number - count), number))
