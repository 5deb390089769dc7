"""Files that are whole or not there: written beside, flushed to the disk, renamed; and the versions of formats."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ganprune.errors import UserError

RUN = "run directory"


def replace(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Replace a file atomically: a reader, or whoever comes after a crash, finds the old one or the new one.

    Raises:
        UserError: it can't be written; the old one is whole.
    """
    data = content.encode() if isinstance(content, str) else content
    replace_with(path, lambda temporary: temporary.write_bytes(data))


def replace_with(path: str | os.PathLike[str], write: Callable[[Path], Any], *, field: str = RUN) -> None:
    """Replace a file atomically by what ``write(path)`` writes, for libraries that want a path.

    Args:
        path: of the file.
        write: what writes it.
        field: whose place that is, for the message.

    Raises:
        UserError: it can't be written; the old one is whole.
    """
    with replacing(Path(path), field=field) as temporary:
        write(temporary)


@contextmanager
def replacing(path: Path, *, field: str = RUN) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what the block writes there takes its place, if the block ends well.

    Args:
        path: of the file.
        field: whose place that is, for the message.

    Raises:
        UserError: it can't be written; the old one is whole.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        flush_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        # Libraries wrap the operating system's errors in their own.
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
            raise unwritable(path, error, field) from error
        raise


def make_folder(path: Path, *, field: str = RUN) -> None:
    """Make a folder and its parents, where they are missing.

    Args:
        path: of the folder.
        field: whose place that is, for the message.

    Raises:
        UserError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error, field) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise unwritable(path, "permission denied", field)


def flush(path: Path) -> None:
    """Wait until a file's content is on the disk: a power cut can else leave its name with nothing behind it."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can say so."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def unwritable(path: Path, reason: object, field: str = RUN) -> UserError:
    """Return the error for a place that can't be written."""
    detail = reason.strerror if isinstance(reason, OSError) and reason.strerror else reason
    return UserError(
        field,
        f"{path} ({detail})",
        "a place that can be written",
        "Choose another folder or make room.",
    )


def parse_json(text: str) -> Any:
    """Return what a JSON text says.

    Raises:
        ValueError: it is none, nested deeper than anything of ours, or holds a NaN or an infinity, which are not JSON.
    """
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except RecursionError as error:
        raise ValueError("brackets in brackets without end") from error


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # written out, or too large: 1e999
        raise ValueError(f"{text} is no finite number")
    return number


def check_format(data: Any, known: int, where: str | os.PathLike[str]) -> None:
    """Check the ``format`` of a file's content.

    Args:
        data: what was read.
        known: the format that this version reads and writes.
        where: the file.

    Raises:
        UserError: there is none, or another one; the message says whether a newer version wrote it or an older one.
    """
    found = data.get("format") if isinstance(data, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, int):
        raise UserError(str(where), f"format {found!r}", f"format {known}", "Restore the file.")
    if found > known:
        raise UserError(str(where), f"format {found}, a newer version's", f"format {known}", "Upgrade ganprune.")
    if found < known:
        raise UserError(
            str(where), f"format {found}, an older version's", f"format {known}", "Use the version that wrote it."
        )
