"""``ganprune report``: what the page of a run holds, in whatever state the run is, and what is refused."""

import json
import re
import shutil

import pytest
from click.testing import CliRunner
from networks import toy_cyclegan
from toytask import contents, toy_run

from ganprune.cli import main
from ganprune.commands.report import write_report
from ganprune.data.images import UnpairedImages
from ganprune.errors import UserError
from ganprune.models.checkpoint import save_cyclegan
from ganprune.models.options import CheckpointOptions
from ganprune.pipeline.reporter import Reporter
from ganprune.report.page import measuring
from ganprune.runs.directory import RunDirectory

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the finished run, to change."""
    shutil.copytree(run.directory, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def page(*paths, out, **options):
    """Write a page; return its text, the data of its script, and the notes."""
    notes = []
    reporter = Reporter(note=notes.append)
    options = {"device": "cpu", "threads": 1, "reporter": reporter, **options}
    text = write_report(paths, out, **options).path.read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return text, json.loads(data), notes


def kinds(data):
    return [(network["kind"], network["direction"]) for network in data["networks"]]


def edit(run, name, **changed):
    run.write_json(name, {**run.read_json(name), **changed})


def test_the_page_of_a_finished_run(run, tmp_path):
    before = contents(run.directory)
    text, data, notes = page(run.directory, out=tmp_path / "page.html", with_original=True)
    assert notes == [] and contents(run.directory) == before
    assert kinds(data) == [("compact", "A2B"), ("compact", "B2A"), ("original", "A2B"), ("original", "B2A")]
    assert "3 of 4 test images" in text and "3 of 5 test images" in text  # those with a truth
    assert text.count('<figure class="case"') == 6 and text.count('class="truth"') == 6
    summary = run.read_json("summary.json")
    for side in summary["sides"].values():
        assert f"{side['parameters']['compact']:,}" in text and f"{side['metrics']['compact']['l_cyc']:.4f}" in text
    for words in ("fewer parameters", "what is kept of every layer", "A2B: elite", "ganprune evolve --checkpoint"):
        assert words in text
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)


def test_a_report_is_replaced_and_nothing_else_is(copy, tmp_path):
    (tmp_path / "notes.html").write_text("mine")
    with pytest.raises(UserError, match=r"out: got .*notes.html \(there already, no report\)"):
        write_report([copy.directory], tmp_path / "notes.html")
    assert (tmp_path / "notes.html").read_text() == "mine"
    with pytest.raises(UserError, match="a file such as page"):
        write_report([copy.directory], tmp_path)
    for _ in range(2):
        edit(copy, "config.json", data="nowhere")
        assert page(copy.directory, out=None)[0] == copy.path("report.html").read_text(encoding="utf-8")


def test_two_runs_share_pictures_and_stand_side_by_side(run, copy, tmp_path):
    text, data, _ = page(run.directory, copy.directory, out=tmp_path / "page.html", with_original=True)
    assert text.count('class="gallery"') == 2 and text.count('data-variant="2"') == 6
    assert "Side by side" in text and text.count('class="run"') == 2
    assert len(kinds(data)) == 6  # one original a side for both
    assert [network["variant"] for network in data["networks"]] == [1, 1, 2, 2, 0, 0]
    with pytest.raises(UserError, match="out: got nothing"):
        write_report([run.directory, copy.directory])


def test_a_search_that_still_goes_shows_what_there_is(copy, tmp_path):
    for name in ("summary.json", "A2B.safetensors", "B2A.safetensors", "A2B.json", "B2A.json"):
        copy.path(name).unlink()
    text, data, notes = page(copy.directory, out=tmp_path / "page.html")
    assert "is not finished: this is what there is after generation 2" in text and notes == []
    assert "A2B: elite" in text and "what is kept of every layer" in text
    assert data["networks"] == [] and 'id="pictures"' not in text and 'id="try"' not in text
    copy.path("logbook.jsonl").unlink()
    assert "before its first generation" in page(copy.directory, out=tmp_path / "page.html")[0]


def test_generators_that_nobody_evaluated_are_measured_by_the_page(copy, tmp_path):
    summary = copy.read_json("summary.json")
    found = {name: {key: side[key] for key in ("algorithm", "search")} for name, side in summary["sides"].items()}
    searched = {"finetuned": True, "bits": {}, "summary": {**summary, "sides": found}}
    copy.write_json("searched.json", searched)
    copy.path("summary.json").unlink()
    text, data, _ = page(copy.directory, out=tmp_path / "page.html")
    assert "is unfinished: its generators are fine-tuned, not evaluated" in text and len(kinds(data)) == 2
    side = summary["sides"]["A2B"]
    assert f"{side['parameters']['compact']:,}" in text
    assert "L_GenA (test)" in text


def test_what_is_lost_is_said_and_the_rest_shown(copy, tmp_path):
    edit(copy, "config.json", checkpoint=str(tmp_path / "gone"))
    text, data, notes = page(copy.directory, out=tmp_path / "page.html", with_original=True)
    assert len(notes) == 1 and "no pictures, and nothing of the originals: checkpoint: got" in notes[0]
    assert "Left out of this page" in text and 'id="pictures"' not in text and "No intervals" in text
    assert [network["bits"] for network in data["networks"]] == [32, 32]  # nothing to try half precision on
    copy.path("A2B.safetensors").unlink()
    _, data, notes = page(copy.directory, out=tmp_path / "page.html")
    assert data["networks"] == [] and any("no compact generators" in note for note in notes)


def test_generators_that_do_not_fit_are_left_out(run, tmp_path):
    _, data, notes = page(run.directory, out=tmp_path / "page.html", max_mb=0.001)
    assert data["networks"] == [] and len(notes) == 2
    assert "to keep this file below 0.001 MB; --max-mb allows more" in notes[0]


def test_images_without_a_truth_are_all_shown_without_gain(copy, tmp_path):
    edit(copy, "config.json", pairs=False)
    text, _, _ = page(copy.directory, out=tmp_path / "page.html", images=2)
    assert "2 of 4 test images" in text and "2 of 5 test images" in text
    assert 'class="truth"' not in text and text.count('data-gain="[]"') == 4


def test_html_in_a_run_shows_as_text(copy, tmp_path):
    place = tmp_path / HOSTILE
    copy.directory.rename(place)
    run = RunDirectory(place)
    log = run.read_jsonl("logbook.jsonl")
    run.write_jsonl("logbook.jsonl", [{**line, "note": f"note {HOSTILE}"} for line in log])
    config = run.read_json("config.json")
    config["settings"]["preset"], config["torch"] = f"preset {HOSTILE}", f"torch {HOSTILE}"
    run.write_json("config.json", config)
    text, data, _ = page(place, out=tmp_path / "page.html")
    assert HOSTILE not in text
    for words in ("note ", "preset ", "torch "):
        assert f"{words}&lt;img src=x onerror=alert(1)&gt;" in text
    assert data["networks"][0]["run"] == str(place)


@pytest.mark.parametrize(("name", "changed", "message"), [
    ("summary.json", {"sides": {"A2B": {}}}, "sides A2B; expected A2B, B2A, as its checkpoint has"),
    ("summary.json", {"sides": {"A2B": {"metrics": {}}, "B2A": {"metrics": {}}}}, "entries that can't be read"),
    ("config.json", {"settings": {}}, "settings in .*the settings of a run"),
    ("config.json", {"command": "pretrain"}, "of ganprune pretrain"),
])  # fmt: skip
def test_damaged_runs_are_refused(copy, tmp_path, name, changed, message):
    edit(copy, name, **changed)
    with pytest.raises(UserError, match=message):
        page(copy.directory, out=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_the_command_says_where_the_page_is(copy, tmp_path):
    edit(copy, "config.json", data="nowhere")  # is quicker
    result = CliRunner().invoke(main, ["report", str(copy.directory), "--device", "cpu"])
    assert result.exit_code == 0 and f"Report: {copy.path('report.html')} (0.1 MB)" in result.stdout
    assert "no pictures" in result.stderr
    result = CliRunner().invoke(main, ["report", "nowhere"])
    assert result.exit_code == 2 and "run directory: got nowhere" in result.stderr


@pytest.mark.slow
def test_a_run_of_one_side_of_grey_images(image_folder, tmp_path):
    save_cyclegan(toy_cyclegan(in_channels=1, out_channels=1), tmp_path / "grey")
    only = CheckpointOptions(only="B2A", discriminator="none")
    options = {"networks": only, "loss": "gena", "generations": 1, "finetune_steps": 0}
    run = toy_run(tmp_path / "grey", image_folder, tmp_path / "run", **options)
    text, data, notes = page(run.directory, out=tmp_path / "page.html")
    assert notes == [] and kinds(data) == [("compact", "B2A")] and data["networks"][0]["channels"] == 1
    assert text.count('class="gallery"') == 1 and "--only B2A" in text
    summary = run.read_json("summary.json")["sides"]["B2A"]["metrics"]["compact"]
    assert f"{summary['l_gena']:.4f}" in text


def test_few_images_are_pairs_in_one_order(image_folder, monkeypatch):
    monkeypatch.setattr(measuring, "LEAST", 2)
    images = UnpairedImages(image_folder, 16)
    few = measuring.few(images, pixels=1)
    names = {domain: [path.name for path in split.test.paths] for domain, split in few.domains.items()}
    assert names["A"] == names["B"] and len(names["A"]) == 2 and few.pairs("test") == [(0, 0), (1, 1)]
    assert len(images["A"].test) == 4  # the images themselves are as they were
