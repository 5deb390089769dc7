"""How memory is taken from the system: only for processes of our own, so that importing ganprune changes nothing."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h
STEP = 64 * 2**20  # bytes that are taken at once


def keep_memory() -> bool:
    """Let glibc keep freed memory for the next layer instead of giving it back; return whether this is glibc.

    A layer's output is large enough that glibc would take it from the system and give it back each time, every page of
    it with a fault and filled with zeros. The most that is held at once stays nearly the same.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - other libraries have a mallopt that means something else
    except (OSError, AttributeError):
        return False
    options = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: STEP}
    return all([library.mallopt(option, value) for option, value in options.items()])
