"""A comparison as a report shows it."""

import pytest
from click.testing import CliRunner

from ganprune.cli import main
from ganprune.compare.page import holds_comparison, read_comparison
from ganprune.compare.statistics import summarise
from ganprune.errors import UserError
from ganprune.report.page.contents import Contents
from ganprune.report.page.render import render
from ganprune.runs.directory import RunDirectory

HOSTILE = "<b>ga</b>"


@pytest.fixture
def comparison(tmp_path):
    """Two contenders with two seeds, as ``ganprune compare`` leaves them."""
    directory, curves = RunDirectory.create(tmp_path / "compare"), {}
    contenders = {HOSTILE: {"settings": {"search": {"population": 4}}, "baseline": None}, "l1": "l1"}
    config = {"command": "compare", "format": 1, "seeds": [1, 2], "max_evaluations": 40, "contenders": contenders}
    facts = dict.fromkeys(("checkpoint", "data", "size", "data_sha256", "checkpoint_sha256"))
    directory.write_json("config.json", {**config, **facts})
    for index, name in enumerate(contenders, 1):
        for seed in (1, 2):
            steps = [{"cost": 10.0 * step, "best": 0.1 * step + 0.01 * seed + index, "seconds": 1.0} for step in (1, 2)]
            run = RunDirectory.create(directory.path(f"run-{index:02d}-seed-{seed}"))
            run.write_json("curve.json", {"steps": steps})
            curves.setdefault(name, []).append({"seed": seed, "steps": steps})
    directory.write_json("summary.json", summarise(curves, None))
    return directory


def test_a_comparison_has_its_table_tests_and_curves(comparison):
    found = read_comparison(comparison.directory)
    assert holds_comparison(comparison.directory) and found.state == ""
    assert [row[0] for row in found.rows] == ["l1", HOSTILE]  # best first
    assert found.rows[0][1] == "2.2150" and "2 seeds; A12" in found.notes[0]
    assert [series.name for series in found.curves.series] == [HOSTILE, "l1"]
    assert all(series.band and series.path for series in found.curves.series)
    text = render(Contents("title", "0", "ganprune report", comparisons=[found]))
    assert HOSTILE not in text and "&lt;b&gt;ga&lt;/b&gt;" in text and "population: 4" in text


def test_the_command_takes_a_comparison(comparison):
    result = CliRunner().invoke(main, ["report", str(comparison.directory)])
    assert result.exit_code == 0 and f"Report: {comparison.path('report.html')}" in result.stdout
    text = comparison.path("report.html").read_text(encoding="utf-8")
    assert "2.2150" in text and f"ganprune report {comparison.directory} --out" in text


def test_an_unfinished_comparison_shows_what_is_finished(comparison):
    comparison.path("summary.json").unlink()
    comparison.path("run-02-seed-2/curve.json").unlink()
    found = read_comparison(comparison.directory)
    assert found.state.startswith("3 of 4 runs are finished") and not found.rows and len(found.curves.series) == 2
    for index in (1, 2):
        for seed in (1, 2):
            comparison.path(f"run-{index:02d}-seed-{seed}/curve.json").unlink(missing_ok=True)
    assert read_comparison(comparison.directory).curves is None


def test_a_damaged_comparison_is_refused(comparison, tmp_path):
    comparison.write_json("summary.json", {"contenders": 3})
    with pytest.raises(UserError, match="entries that can't be read"):
        read_comparison(comparison.directory)
    assert not holds_comparison(tmp_path)
