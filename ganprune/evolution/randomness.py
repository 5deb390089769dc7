"""Random generators that belong to a run.

DEAP's operators draw from the global ``random``, others from ``numpy.random``. The run keeps its own state of both,
puts it in place around each step and gives the caller's back afterwards. So its results depend on its seed alone,
whatever the caller, the evaluation or a callback draws in between, and the caller never notices.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class Randomness:
    """The run's own state of ``random`` and ``numpy.random``.

    Args:
        seed: a whole number in [0, 2**32).
    """

    def __init__(self, seed: int):
        self._python: Any = random.Random(seed).getstate()
        self._numpy: Any = np.random.RandomState(seed).get_state()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within the block, ``random`` and ``numpy.random`` draw from the run's state."""
        callers = random.getstate(), np.random.get_state()
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        try:
            yield
        finally:
            self._python, self._numpy = random.getstate(), np.random.get_state()
            random.setstate(callers[0])
            np.random.set_state(callers[1])

    def state_dict(self) -> dict[str, Any]:
        """Return both states as JSON data, the words of the Mersenne twisters in hexadecimal."""
        version, words, gauss = self._python
        _, keys, position, has_gauss, cached = self._numpy
        return {
            "python": {"version": version, "words": _to_hex(words), "gauss": gauss},
            "numpy": {"keys": _to_hex(keys), "position": position, "has_gauss": has_gauss, "cached": cached},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a ``state_dict``.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it is none.
        """
        saved, python, numpy = state["numpy"], random.Random(), np.random.RandomState()
        words = tuple(_from_hex(state["python"]["words"]).tolist())
        # The libraries know best what is a state; they are given it first where nothing is lost.
        python.setstate((state["python"]["version"], words, state["python"]["gauss"]))
        numpy.set_state(("MT19937", _from_hex(saved["keys"]), saved["position"], saved["has_gauss"], saved["cached"]))
        self._python, self._numpy = python.getstate(), numpy.get_state()


def _to_hex(words: Any) -> str:
    return np.array(words, dtype=">u4").tobytes().hex()


def _from_hex(text: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), dtype=">u4").astype(np.uint32)
