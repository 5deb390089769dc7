"""Ctrl-C and SIGTERM that wait for the evaluation in progress."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """The process was told to stop.

    Args:
        number: by which signal.
    """

    def __init__(self, number: int = signal.SIGINT):
        super().__init__(f"Stopped by {signal.Signals(number).name}.")
        self.number = number


class Interrupted(Stopped):
    """Ctrl-C or SIGTERM was honoured at a safe point: finished evaluations and the last whole step are on disk, if the
    run has a directory, and resuming it continues as if nothing had happened."""


def exit_status(error: KeyboardInterrupt) -> int:
    """Return the exit status that says which signal it was: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (error.number if isinstance(error, Stopped) else signal.SIGINT)


class Interruption:
    """A context in which the first Ctrl-C or SIGTERM only asks and the second one aborts.

    The first sets a flag that :meth:`check` turns into :class:`Interrupted`; the second raises a
    ``KeyboardInterrupt`` where it falls. Outside the main thread, where signals can't be handled, nothing changes. The
    previous handlers are restored at the end.

    Attributes:
        requested: the number of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise :class:`Interrupted` if a signal came."""
        if self.requested is not None:
            raise Interrupted(self.requested)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)
        self.requested = number


def stop(number: int, frame: FrameType | None) -> None:
    """Handle a signal by raising :class:`Stopped`: SIGTERM where nothing better is known."""
    raise Stopped(number)
