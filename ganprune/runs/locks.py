"""One process at a time: a lock on a directory that goes when its holder goes, however it went."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ganprune.errors import UserError
from ganprune.runs.files import RUN, writing

try:
    import fcntl
except ImportError:  # a system without it gets no lock
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock within the block. What a dead process has left behind is not in the way.

    The operating system holds the lock for an open file, ``.lock``, which says whose it is. It is freed with the
    process; processes that are started meanwhile don't inherit it.

    Raises:
        UserError: another process has it, or the directory can't be written.
    """
    path = directory / LOCK
    with _acquire(path) as file:
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield
        finally:
            with suppress(OSError):
                path.unlink()


def _acquire(path: Path) -> IO[str]:
    while True:
        with writing(path.parent):
            file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - it stays open as long as the lock is held
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            found = f"{path.parent} (in use by {file.read(200) or 'another process'})"
            file.close()
            remedy = "Wait until that one has ended, or stop it."
            raise UserError(RUN, found, "a run that no other process works on", remedy) from error
        with suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()  # the holder before us has just removed it
