"""The directory of one run: what was asked, what was measured, where the search stands, and what came out.

JSON and bytes only. Whole files are replaced atomically; the ``.jsonl`` files are append-only, one record a line,
so that a crash costs at most the line that was being written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ganprune.errors import UserError
from ganprune.runs.files import RUN, flush, make_folder, parse_json, replace, writing
from ganprune.runs.locks import locked

CONFIG = "config.json"
STATE = "state.json"
LOGBOOK = "logbook.jsonl"
EVALUATIONS = "evaluations.jsonl"
SEARCHED = "searched.json"  # of a run whose search is done and whose summary is not there yet
SUMMARY = "summary.json"


class RunDirectory:
    """The files of one run, by name.

    Use :meth:`create` for a new run and :meth:`open` for an existing one; the constructor checks nothing.

    Args:
        path: the directory.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.directory = Path(path)
        self._holds = False

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """Make the directory, and its parents, for a new run.

        Raises:
            UserError: it already holds a run, or cannot be written.
        """
        run = cls(path)
        make_folder(run.directory)
        run.check_free(CONFIG, STATE)
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """Open the run that the directory holds.

        Raises:
            UserError: there is no run in it, or its ``config.json`` is damaged.
        """
        run = cls(path)
        if not (run.exists(CONFIG) or run.exists(STATE)):
            expected = f"a folder with the {CONFIG} of a run"
            raise UserError(RUN, str(run.directory), expected, "Check the path, or start a new run there.")
        if run.exists(CONFIG):
            run.read_json(CONFIG)
        return run

    @staticmethod
    def next_free(root: str | os.PathLike[str] = "runs", prefix: str = "evolve") -> Path:
        """Return the first of ``root/prefix-001``, ``root/prefix-002``, ... that does not exist; makes nothing."""
        number = 1
        while (candidate := Path(root) / f"{prefix}-{number:03d}").exists():
            number += 1
        return candidate

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within the block, this process alone works on the run; blocks of the same object may be nested.

        Raises:
            UserError: another process does, or the directory can't be written.
        """
        if self._holds:
            yield
            return
        with locked(self.directory):
            self._holds = True
            try:
                for left in self.directory.glob(".*.tmp"):  # by a process that was killed
                    with suppress(OSError):
                        left.unlink()
                yield
            finally:
                self._holds = False

    def check_free(self, *names: str) -> None:
        """Check that none of these files is there.

        Raises:
            UserError: one is.
        """
        if any(map(self.exists, names)):
            expected = "a folder that holds no run yet"
            raise UserError(RUN, str(self.directory), expected, "Resume the run in it, or choose another folder.")

    def path(self, name: str) -> Path:
        """Return the path of the file ``name`` in this run, whether it exists or not."""
        return self.directory / name

    def exists(self, name: str) -> bool:
        """Return whether the run has a file ``name``."""
        return self.path(name).is_file()

    def write_json(self, name: str, data: Any) -> None:
        """Replace the file ``name`` atomically: a reader sees the old one or the new one, never a part.

        Raises:
            ValueError: ``data`` holds a NaN or an infinity, which are not JSON.
            UserError: the directory cannot be written.
        """
        replace(self.path(name), json.dumps(data, indent=1, allow_nan=False) + "\n")

    def read_json(self, name: str) -> Any:
        """Return the content of the JSON file ``name``.

        Raises:
            UserError: the file is missing or damaged.
        """
        text = self._read(name)
        try:
            return parse_json(text)
        except ValueError as error:
            found = f"damaged JSON ({error})"
            raise UserError(str(self.path(name)), found, "a whole JSON document", "Restore the file.") from error

    def append_jsonl(self, name: str, record: Mapping[str, Any]) -> None:
        """Append ``record`` as one line and hand it to the operating system at once.

        A line cut short by an earlier crash is removed first, so that it cannot damage this one.

        Raises:
            ValueError: ``record`` holds a NaN or an infinity.
            UserError: the directory cannot be written.
        """
        line = _to_line(record)
        with writing(self.path(name)), open(self.path(name), "a+b") as file:
            _mend_end(file)
            file.write(line.encode())

    def write_jsonl(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Replace the file ``name`` atomically by these records, one a line; errors as :meth:`append_jsonl`."""
        replace(self.path(name), "".join(map(_to_line, records)))

    def read_jsonl(self, name: str, *, least: int = 0) -> list[dict[str, Any]]:
        """Return the records of ``name``; no file means no records.

        A last line that a crash cut short is left out.

        Raises:
            UserError: another line is damaged, which the message names; or there are fewer than ``least``.
        """
        *lines, unfinished = self._read(name).split("\n") if self.exists(name) else [""]
        records = []
        for number, line in enumerate(lines, start=1):
            if (record := _to_record(line)) is None:
                where, shown = f"{self.path(name)}, line {number}", line if len(line) <= 60 else line[:57] + "..."
                raise UserError(where, shown, "one JSON object", "Restore the file, or remove the line.")
            records.append(record)
        if (last := _to_record(unfinished)) is not None:
            records.append(last)
        if len(records) < least:
            expected, remedy = f"the {least} that the saved state counts", "Restore the file, or start a new run."
            raise UserError(str(self.path(name)), f"{len(records)} lines", expected, remedy)
        return records

    def flush(self, *names: str) -> None:
        """Wait until what was appended to these files is on the disk.

        Raises:
            UserError: it can't be written there.
        """
        for name in filter(self.exists, names):
            with writing(self.path(name)):
                flush(self.path(name))

    def _read(self, name: str) -> str:
        try:
            return self.path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            found = reason or f"bytes that are no text ({error})"
            raise UserError(str(self.path(name)), found, "a readable file", "Restore the file.") from error


def changes(saved: Any, asked: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Return (name, saved, asked) of every entry of ``asked`` that differs; names of nested ones are joined by dots."""
    saved, found = saved if isinstance(saved, Mapping) else {}, []
    for name, value in asked.items():
        old = saved.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            found += changes(old, value, f"{prefix}{name}.")
        elif old != value:
            found.append((prefix + name, old, value))
    return found


def refuse_changes(saved: Any, asked: Mapping[str, Any], whose: str, remedy: str) -> None:
    """Refuse to go on with other options than those that were saved.

    Raises:
        UserError: some differ; each is named.
    """
    found = changes(saved, asked)
    if found:
        names, old, new = (", ".join(str(part) for part in column) for column in zip(*found, strict=True))
        raise UserError(names, new, f"{old}, as {whose}", remedy)


def _to_line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n"


def _to_record(line: str) -> dict[str, Any] | None:
    """Return the JSON object that the line is, or None; a proper prefix of one never is one."""
    try:
        record = parse_json(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _mend_end(file: BinaryIO) -> None:
    """Make the open file end with a whole line: finish a whole record, drop a cut one."""
    if file.seek(0, os.SEEK_END) == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    if _to_record(content[start:].decode(errors="replace")) is None:
        file.truncate(start)
    else:
        file.write(b"\n")
