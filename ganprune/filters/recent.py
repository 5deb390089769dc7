"""What was made last is kept, as much of it as fits: networks, solved layers, translated images."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The values that were asked for last, by key; several threads may ask. It pickles empty: no worker is sent any.

    Args:
        most: bound of the values' sizes together; the latest value is kept even if it is larger.
        size: of a value; 1 of each without it.

    Attributes:
        held: the sizes of all that is kept together.
    """

    def __init__(self, most: float, size: Callable[[Value], float] | None = None):
        self.most, self.size = most, size
        self._lock = threading.Lock()
        self.clear()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key: the one that is kept, or a new one."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        value = make()  # meanwhile other threads may go on
        with self._lock:
            if key not in self._kept:
                self._kept[key] = value
                self.held += self._size(value)
            while len(self._kept) > 1 and self.held > self.most:
                self.held -= self._size(self._kept.popitem(last=False)[1])
        return value

    def _size(self, value: Value) -> float:
        return 1 if self.size is None else self.size(value)

    def clear(self) -> None:
        """Drop everything."""
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self.held = 0.0

    def __iter__(self) -> Iterator[Hashable]:
        """Yield the keys, the one that was asked for last at the end."""
        return iter(self._kept)

    def __getstate__(self) -> dict[str, Any]:
        return {"most": self.most, "size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
