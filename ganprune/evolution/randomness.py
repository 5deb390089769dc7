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

from ganprune.errors import UserError


class Randomness:
    """The run's own state of ``random`` and ``numpy.random``.

    Args:
        seed: a whole number in [0, 2**32).

    Raises:
        UserError: the seed is something else.
    """

    def __init__(self, seed: int):
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise UserError("seed", seed, "a whole number from 0 to 4294967295", "Choose another seed.")
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
            "numpy": {
                "keys": _to_hex(keys),
                "position": int(position),
                "has_gauss": int(has_gauss),
                "cached": float(cached),
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a ``state_dict``.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it is none.
        """
        python, numpy = state["python"], state["numpy"]
        words, keys = tuple(_from_hex(python["words"])), np.array(_from_hex(numpy["keys"]), dtype=np.uint32)
        states = random.Random(), np.random.RandomState()
        # The libraries know best what is a state; they are given it first where nothing is lost.
        states[0].setstate((python["version"], words, python["gauss"]))
        states[1].set_state(("MT19937", keys, numpy["position"], numpy["has_gauss"], numpy["cached"]))
        self._python, self._numpy = states[0].getstate(), states[1].get_state()


def _to_hex(words: Any) -> str:
    return "".join(f"{int(word):08x}" for word in words)


def _from_hex(text: str) -> list[int]:
    return [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
