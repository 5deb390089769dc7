"""Ctrl-C that waits for the evaluation in progress."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was honoured at a safe point: finished evaluations and the last whole step are on disk, if the run has
    a directory, and resuming it continues as if nothing had happened."""


class Interruption:
    """A context in which the first Ctrl-C only asks and the second one aborts.

    The first sets a flag that :meth:`check` turns into :class:`Interrupted`; the second raises ``KeyboardInterrupt``
    where it falls. Outside the main thread, where signals can't be handled, nothing changes. The previous handler is
    restored at the end.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def check(self) -> None:
        """Raise :class:`Interrupted` if Ctrl-C was pressed."""
        if self.requested:
            raise Interrupted("Interrupted between two evaluations.")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
