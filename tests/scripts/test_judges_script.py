"""The judges' tables: right orders and wrong ones are told apart, and known lines are not measured again."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def judges():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        specification = importlib.util.spec_from_file_location("judges", SCRIPTS / "judges.py")
        module = importlib.util.module_from_spec(specification)
        patch.setitem(sys.modules, "judges", module)  # where its dataclass looks for its own module
        specification.loader.exec_module(module)
        yield module


def doses(judges, kind, values):
    return [
        {"judge": "j", "domain": "A", "damage": kind, "dose": dose, "value": value}
        for dose, value in zip(judges.DAMAGES[kind].doses, values, strict=True)
    ]


def test_the_table_ranks_doses_and_compares_what_looks_equally_bad(judges):
    lines = doses(judges, "blur", [0.1, 0.2, 0.4, 0.6, 0.9]) + doses(judges, "hatching", [0.1, 0.6, 0.4, 0.3, 1.2])
    table = judges.damage_table("j", lines)
    (blur,), (hatching,) = ([row for row in table if row.startswith(f"| {kind}")] for kind in ("blur", "hatching"))
    assert "| 1.00 | 0.20 / 0.40 / 0.60 |" in blur and "| 0.60 | 0.60 / 0.40 / 1.20 |" in hatching
    assert table[-1].endswith("noticed 3.0, plain 1.0, bad 2.0")


def test_the_smallest_difference_is_of_neighbours_on_the_same_images(judges):
    again = {"a": [1.0, 2.0, 3.0], "b": [1.1, 2.1, 3.1], "c": [9.0, 12.0, 9.0]}
    values = {"a": 2.0, "b": 2.1, "c": 10.0}
    found = {name: {"value": values[name], "again": again[name]} for name in "cab"}
    first, second = 0.0, torch.tensor([7.9, 9.9, 5.9]).std(correction=0)
    assert judges.smallest(found) == pytest.approx(2 * float((first + second) / 2), rel=1e-5)


def test_measured_lines_are_known_when_it_goes_on(judges, tmp_path):
    line = {"judge": "L1", "domain": "A", "dose": 0.5}
    judges.Lines(tmp_path / "new" / "lines.jsonl", ("judge", "dose")).add(line)
    again = judges.Lines(tmp_path / "new" / "lines.jsonl", ("judge", "dose"))
    assert {**line, "domain": "B"} in again and {**line, "dose": 1.0} not in again


def test_only_paired_judges_look_at_the_truth(judges):
    images, truth = torch.zeros(2, 3, 16, 16), torch.full((2, 3, 16, 16), 0.2)
    judge = judges.JUDGES["RMS error"](truth)
    assert judge(images, truth) == pytest.approx(0.1) and judge(truth, truth) == 0
    blind = judges.kernel(torch.rand(8, 3, 4, 4), lambda given: given.flatten(1))
    assert not blind.paired and blind.both(images[..., :4, :4], truth)[1] == []
