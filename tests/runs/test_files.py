"""Files that are whole or not there, formats of other versions, and one process at a time."""

import errno
import os
import signal
import stat
import subprocess
import sys

import pytest
from safetensors import SafetensorError
from toys import make_side

from ganprune.errors import UserError
from ganprune.evolution import Genetic, coevolve
from ganprune.filters.saving import save_generator
from ganprune.models.checkpoint import save_cyclegan
from ganprune.runs import locks
from ganprune.runs.directory import RunDirectory, changes, refuse_changes
from ganprune.runs.files import check_format, parse_json, replace, replacing
from ganprune.runs.locks import LOCK, locked


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def full_disk(monkeypatch):
    """From now on no byte reaches the disk."""

    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "fsync", fail)


def test_a_file_is_flushed_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    done = []
    fsync, rename = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda number: done.append(os.readlink(f"/proc/self/fd/{number}")) or fsync(number)
    )
    monkeypatch.setattr(os, "replace", lambda old, new: done.append("renamed") or rename(old, new))
    replace(tmp_path / "a.json", "new")
    assert done == [str(tmp_path / ".a.json.tmp"), "renamed", str(tmp_path)]
    assert (tmp_path / "a.json").read_text() == "new" and names(tmp_path) == ["a.json"]


def test_a_full_disk_leaves_the_old_file_whole_and_nothing_beside_it(tmp_path, full_disk):
    replace(tmp_path / "a", b"old")
    full_disk()
    with pytest.raises(UserError, match=r"a \(No space left on device\); expected a place that can be written"):
        replace(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old" and names(tmp_path) == ["a"]


def test_a_librarys_own_error_is_told_as_the_place_and_any_other_is_kept(tmp_path):
    def fail(error):
        with replacing(tmp_path / "a") as path:
            path.write_bytes(b"half")
            raise error

    with pytest.raises(UserError, match=r"a \(I/O error: full\)"):
        fail(SafetensorError("I/O error: full"))
    with pytest.raises(ValueError, match="mine"):
        fail(ValueError("mine"))
    assert names(tmp_path) == []


def test_checkpoints_and_generators_are_replaced_whole_or_not_at_all(tmp_path, cyclegan, full_disk):
    folder, facts = tmp_path / "saved", {"architecture": {"kind": "resnet"}, "bits": "1:1"}
    save_cyclegan(cyclegan, folder)
    save_generator(cyclegan["A2B"].generator, folder / "A2B", **facts)
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    assert len(before) == 4
    for network in cyclegan.networks().values():
        for parameter in network.parameters():
            parameter.data.add_(1)
    full_disk()
    with pytest.raises(UserError, match="No space left"):
        save_cyclegan(cyclegan, folder)
    with pytest.raises(UserError, match="No space left"):
        save_generator(cyclegan["A2B"].generator, folder / "A2B", **facts)
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_line_that_does_not_fit_on_the_disk_costs_only_itself(tmp_path):
    run = RunDirectory.create(tmp_path)
    run.path("log.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"log\.jsonl \(No space left on device\)"):
        run.append_jsonl("log.jsonl", {"step": 1})


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path):
    run = RunDirectory.create(tmp_path)
    (tmp_path / ".state.json.tmp").write_text('{"step"')
    with run.locked():
        assert names(tmp_path) == [LOCK]
    assert names(tmp_path) == []


def test_numbers_that_are_none_and_brackets_without_end_are_no_json():
    for text in ("NaN", "[1, Infinity]", '{"a": -Infinity}', "1e999"):
        with pytest.raises(ValueError, match="is no finite number"):
            parse_json(text)
    for text in ("[" * 100_000, '{"a":' * 100_000):
        with pytest.raises(ValueError, match="brackets in brackets without end"):
            parse_json(text)
    assert parse_json('{"a": [1, 2.5, 1e-300, null]}') == {"a": [1, 2.5, 1e-300, None]}


# --- formats


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"format": 4}, r"x\.json: got format 4, a newer version's; expected format 3. Upgrade ganprune"),
        ({"format": 2}, r"x\.json: got format 2, an older version's; expected format 3. Use the version that wrote it"),
        ({"format": "3"}, r"x\.json: got format '3'; expected format 3. Restore the file"),
        ({"format": True}, "got format True"),
        ({}, "got format None"),
        ([], "got format None"),
    ],
)
def test_formats_of_other_versions_are_told_apart(found, message):
    check_format({"format": 3}, 3, "x.json")
    with pytest.raises(UserError, match=message):
        check_format(found, 3, "x.json")


@pytest.mark.parametrize(("format_", "word"), [(99, "newer"), (0, "older")])
def test_a_search_of_another_version_is_not_gone_on_with(tmp_path, format_, word):
    def sides():
        return {side: make_side(Genetic(4)) for side in ("A2B", "B2A")}

    coevolve(sides(), run=tmp_path, generations=1)
    run = RunDirectory(tmp_path)
    run.write_json("state.json", {**run.read_json("state.json"), "format": format_})
    with pytest.raises(UserError, match=rf"state\.json: got format {format_}, an? {word} version's"):
        coevolve(sides(), run=tmp_path, generations=1, resume=True)


# --- options that changed


def test_every_difference_is_named_with_its_place():
    saved = {"seed": 1, "size": 16, "settings": {"gamma": 10.0, "lam": 10.0, "tune": None}}
    assert changes(saved, {"seed": 1, "settings": {"lam": 10.0}}) == []
    asked = {"seed": 2, "settings": {"gamma": 5.0, "tune": "distil"}, "new": 1}
    found = [("seed", 1, 2), ("settings.gamma", 10.0, 5.0), ("settings.tune", None, "distil"), ("new", None, 1)]
    assert changes(saved, asked) == found
    with pytest.raises(UserError, match=r"seed, settings\.gamma, .*: got 2, 5\.0, .*; expected 1, 10\.0, .*, as saved"):
        refuse_changes(saved, asked, "saved", "Repeat them.")
    for damaged in (None, [], "text"):
        assert changes(damaged, {"seed": 1}) == [("seed", None, 1)]


# --- locks


def test_one_at_a_time(tmp_path):
    with locked(tmp_path):
        message = rf"run directory: got .*\(in use by process {os.getpid()} on .*\); expected a run that no other"
        with pytest.raises(UserError, match=message), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass
    assert names(tmp_path) == []


def test_a_lock_goes_with_an_error(tmp_path):
    with pytest.raises(ValueError), locked(tmp_path):
        raise ValueError
    with locked(tmp_path):
        pass


def test_a_run_locks_itself_once_however_deep(tmp_path):
    run = RunDirectory.create(tmp_path)
    with run.locked(), run.locked():
        with pytest.raises(UserError, match="in use by process"), RunDirectory(tmp_path).locked():
            pass
        with run.locked():
            pass
        with pytest.raises(UserError, match="in use by process"), RunDirectory(tmp_path).locked():
            pass
    assert names(tmp_path) == []


HOLD = (
    "import sys, time; from ganprune.runs.locks import locked\nwith locked(__import__('pathlib').Path(sys.argv[1])):\n"
    + ("    print('held', flush=True); time.sleep(60)")
)


def test_another_processs_lock_holds_until_it_is_dead_however_it_died(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=rf"in use by process {holder.pid} on"), locked(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert names(tmp_path) == [LOCK], "a killed process can't tidy up, or this test shows nothing"
    with locked(tmp_path):
        pass
    assert names(tmp_path) == []


def test_a_lock_file_that_was_replaced_meanwhile_is_no_lock(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    tries, flock = [], fcntl.flock

    def late(file, operation):
        tries.append(1)
        if len(tries) == 1:
            (tmp_path / LOCK).unlink()  # the last holder removes it between our opening and our locking it
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(tmp_path):
        assert len(tries) == 2 and names(tmp_path) == [LOCK]


def test_a_folder_that_cannot_be_written_cannot_be_locked(tmp_path):
    message = r"nowhere \(No such file or directory\); expected a place that can be written"
    with pytest.raises(UserError, match=message), locked(tmp_path / "nowhere"):
        pass


def test_coevolve_refuses_a_run_that_is_in_use(tmp_path):
    pair = {side: make_side(Genetic(4)) for side in ("A2B", "B2A")}
    coevolve(pair, run=tmp_path, generations=1)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    with RunDirectory(tmp_path).locked(), pytest.raises(UserError, match="in use by process"):
        coevolve(pair, run=tmp_path, generations=2, resume=True)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_where_the_system_has_no_locks_nothing_is_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with locked(tmp_path), locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path, monkeypatch):
    def only_files(descriptor, fsync=os.fsync):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    replace(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new" and names(tmp_path) == ["a"]
