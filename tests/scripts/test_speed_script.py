"""``scripts/speed.py`` in a tiny setting: it measures, goes on where it was, and prints its tables."""

import importlib.util
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ganprune.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "scripts" / "speed.py"
    spec = importlib.util.spec_from_file_location("speed_script", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module.main


def call(script, *arguments):
    result = CliRunner().invoke(script, [str(part) for part in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.slow
def test_it_measures_once_and_reports(script, tmp_path):
    tiny = ["--network", "toy", "--ratios", 4, "--costs", "macs", "--population", 3, "--generations", 1]
    tiny += ["--repeats", 1, "--threads", 1, "--out", tmp_path / "out"]
    shown = call(script, "measure", *tiny, "--multiples", 4)
    assert "A2B" in shown and "B2A" in shown and "onnxruntime" in shown
    records = RunDirectory(tmp_path / "out").read_jsonl("speed.jsonl")
    assert [(record["side"], record["multiple"]) for record in records] == [("A2B", 4), ("B2A", 4)]
    for record in records:
        assert record["macs_ratio"] >= 4 and record["reference_fitness"] > 0
        for engine in ("eager", "onnxruntime"):
            assert record[engine]["quotient"] == pytest.approx(record[engine]["speedup"] / record["macs_ratio"])
    assert call(script, "measure", *tiny, "--multiples", 4) == "", "what is measured is not measured again"
    table = call(script, "report", "--out", tmp_path / "out").splitlines()
    assert len(table) == 3 and table[2].startswith("| toy | 4x | macs | 4 | ")


@pytest.mark.slow
def test_it_times_the_ways_to_export(script):
    table = call(script, "forms", "--network", "toy", "--repeats", 1, "--threads", 1)
    for form in ("as it is (a group norm)", "the last layer in blocks of 2x2", "channels in multiples of 4"):
        assert form in table


@pytest.mark.slow
def test_it_times_given_numbers_of_filters(script):
    sizes = ",".join(["1"] * 3)
    table = call(script, "widths", sizes, "--network", "toy", "--repeats", 1, "--threads", 1).splitlines()
    assert len(table) == 3 and table[2].startswith(f"| {sizes} | ")
    cells = [float(cell) for cell in table[2].strip("| ").split(" | ")[1:]]
    assert cells[0] > 4 and cells[1] > 4 and cells[4] == pytest.approx(cells[3] / cells[1], abs=0.01)
