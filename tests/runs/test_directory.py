"""The run directory: atomic JSON, append-only lines that survive a crash, and clear refusals."""

import json
import os

import pytest

from ganprune.errors import UserError
from ganprune.runs.directory import RunDirectory


def test_create_makes_parents_and_open_finds_the_run(tmp_path):
    run = RunDirectory.create(tmp_path / "a" / "b")
    run.write_json("config.json", {"seed": 1})
    assert RunDirectory.open(tmp_path / "a" / "b").read_json("config.json") == {"seed": 1}
    assert run.path("summary.json") == tmp_path / "a" / "b" / "summary.json"


@pytest.mark.parametrize("name", ["config.json", "state.json"])
def test_create_refuses_a_folder_that_holds_a_run(tmp_path, name):
    RunDirectory(tmp_path).write_json(name, {})
    with pytest.raises(UserError, match=r"holds no run yet.*Resume"):
        RunDirectory.create(tmp_path)


def test_create_refuses_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can be written"):
        RunDirectory.create(tmp_path / "file" / "run")


def test_open_refuses_a_folder_without_a_run_and_a_damaged_config(tmp_path):
    with pytest.raises(UserError, match=r"expected a folder with the config\.json"):
        RunDirectory.open(tmp_path)
    (tmp_path / "config.json").write_text('{"seed": ')
    with pytest.raises(UserError, match=r"config\.json: got damaged JSON"):
        RunDirectory.open(tmp_path)


def test_next_free_counts_on_and_makes_nothing(tmp_path):
    assert RunDirectory.next_free(tmp_path) == tmp_path / "evolve-001"
    (tmp_path / "evolve-001").mkdir()
    (tmp_path / "evolve-003").mkdir()
    assert RunDirectory.next_free(tmp_path) == tmp_path / "evolve-002"
    assert not (tmp_path / "evolve-002").exists()


def test_write_json_leaves_the_old_file_when_the_new_one_cannot_be_written(tmp_path, monkeypatch):
    run = RunDirectory.create(tmp_path)
    run.write_json("state.json", {"step": 1})
    with pytest.raises(ValueError, match="JSON"):
        run.write_json("state.json", {"step": float("nan")})

    def fail(*paths):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match="no space"):
        run.write_json("state.json", {"step": 2})
    assert run.read_json("state.json") == {"step": 1}


def test_read_json_names_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"state\.json"):
        RunDirectory.create(tmp_path).read_json("state.json")


def test_jsonl_round_trip_and_missing_file(tmp_path):
    run = RunDirectory.create(tmp_path)
    assert run.read_jsonl("logbook.jsonl") == []
    records = [{"x": 0.1 + 0.2, "name": "ä"}, {"x": 1}]
    for record in records:
        run.append_jsonl("logbook.jsonl", record)
    assert run.read_jsonl("logbook.jsonl") == records
    with pytest.raises(ValueError, match="JSON"):
        run.append_jsonl("logbook.jsonl", {"x": float("inf")})
    assert run.read_jsonl("logbook.jsonl") == records


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_cut_last_line_is_ignored_and_does_not_damage_the_next(tmp_path, cut):
    run = RunDirectory.create(tmp_path)
    line = '{"b":22}\n'
    run.path("log.jsonl").write_text('{"a":1}\n' + line[:cut])
    whole = [{"a": 1}] + ([{"b": 22}] if cut == 8 else [])
    assert run.read_jsonl("log.jsonl") == whole
    run.append_jsonl("log.jsonl", {"c": 3})
    assert run.read_jsonl("log.jsonl") == [*whole, {"c": 3}]


def test_a_damaged_earlier_line_is_named(tmp_path):
    run = RunDirectory.create(tmp_path)
    run.path("log.jsonl").write_text('{"a":1}\n{"b":\n{"c":3}\n')
    with pytest.raises(UserError, match=r"log\.jsonl, line 2"):
        run.read_jsonl("log.jsonl")


def test_write_jsonl_replaces_all_lines(tmp_path):
    run = RunDirectory.create(tmp_path)
    run.append_jsonl("log.jsonl", {"a": 1})
    run.write_jsonl("log.jsonl", [{"b": 2}, {"c": 3}])
    assert [json.loads(line) for line in run.path("log.jsonl").read_text().splitlines()] == [
        {"b": 2},
        {"c": 3},
    ]
