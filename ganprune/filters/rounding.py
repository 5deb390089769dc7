"""How many filters a group may keep where counts are multiples.

A group of at least twice the multiple keeps a multiple of it, or all its filters; a smaller one any number above 0.
"""

from __future__ import annotations


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
