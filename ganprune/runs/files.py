"""Files that are whole or not there: written beside, flushed to the disk, renamed; and the versions of formats."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ganprune.errors import UserError

RUN = "run directory"


def replace(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Replace a file atomically by this content; errors as :func:`replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: str | os.PathLike[str], *, field: str = RUN) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what the block writes there takes its place, if the block ends well.

    A reader, or whoever comes after a crash, finds the old file or the new one, never a part.

    Args:
        path: of the file.
        field: whose place that is, for the message.

    Raises:
        UserError: it can't be written; the old one is whole.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        with suppress(OSError):  # not every system can say so of a folder
            flush(path.parent)
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
    with writing(path, field):
        path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise unwritable(path, "permission denied", field)


def flush(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk: a power cut can else take them away."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path, field: str = RUN) -> Iterator[None]:
    """Tell what the operating system refuses within the block as a place that can't be written, by a UserError."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error, field) from error


def unwritable(path: Path, reason: object, field: str = RUN) -> UserError:
    """Return the error for a place that can't be written."""
    detail = reason.strerror if isinstance(reason, OSError) and reason.strerror else reason
    return UserError(field, f"{path} ({detail})", "a place that can be written", "Choose another folder or make room.")


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
    if type(found) is not int:
        shown, remedy = f"format {found!r}", "Restore the file."
    elif found == known:
        return
    elif found > known:
        shown, remedy = f"format {found}, a newer version's", "Upgrade ganprune."
    else:
        shown, remedy = f"format {found}, an older version's", "Use the version that wrote it."
    raise UserError(str(where), shown, f"format {known}", remedy)
