"""A run that ends after its search, however that happens: its generators are there, and every command goes on."""

import shutil

import pytest
import torch
from click.testing import CliRunner
from toytask import contents, elites, outcome, toy_run

from ganprune.cli import main
from ganprune.commands.evolve import resume
from ganprune.commands.finetune import finetune_run, resume_finetune
from ganprune.errors import UserError
from ganprune.filters.saving import load_generator
from ganprune.pipeline.reporter import Reporter
from ganprune.runs.directory import RunDirectory

SIDES = ("A2B", "B2A")


class PowerCut(Exception):  # noqa: N818 - it is not the name of an error
    """Stands for anything that ends the process."""


def cut(*arguments, **options):
    raise PowerCut


@pytest.fixture(scope="module")
def searched(checkpoint, image_folder, tmp_path_factory):
    """A run that was cut off in the first step of its fine-tune."""
    folder = tmp_path_factory.mktemp("searched") / "run"
    with pytest.raises(PowerCut):
        toy_run(checkpoint, image_folder, folder, Reporter(training=cut))
    return RunDirectory(folder)


def call(*arguments):
    return CliRunner().invoke(main, [str(part) for part in arguments])


def test_elites_are_there_before_the_fine_tune(searched, run):
    assert not searched.exists("summary.json") and elites(searched) == elites(run)
    for side in SIDES:
        before, after = (load_generator(each.path(side)).state_dict() for each in (searched, run))
        assert before.keys() == after.keys()
        assert not any(torch.equal(before[key], after[key]) for key in before if key.endswith("weight"))


def test_every_command_goes_on_and_says_what_it_has(searched, image_folder, tmp_path):
    said = f"{searched.directory} is unfinished: its generators are as the search left them, not fine-tuned. Finish it"
    before, out = contents(searched.directory), tmp_path / "out"
    for command in (
        ["evaluate", searched.directory, "--json", "--no-speed"],
        ["translate", searched.directory, image_folder / "testA", "--direction", "A2B", "--out", out],
        ["export", searched.directory, "--format", "torch", "--no-speed", "--out", tmp_path / "exported"],
        ["finetune", searched.directory, "--steps", 1, "--batch", 1, "--out", tmp_path / "tuned"],
    ):
        result = call(*command, "--threads", 1)
        assert result.exit_code == 0, (command, result.output)
        assert said in result.stderr.replace("\n", "")
    assert contents(searched.directory) == before and len(list(out.iterdir())) == 4
    tuned = RunDirectory(tmp_path / "tuned").read_json("summary.json")
    assert tuned["sides"]["A2B"]["search"].keys() >= {"fitness", "reference_fitness", "n"}
    assert tuned["sides"]["A2B"]["algorithm"] == "ga" and "compact" in tuned["sides"]["A2B"]["metrics"]
    assert not RunDirectory(tmp_path / "tuned").exists("searched.json")


def test_it_is_resumed_as_if_nothing_had_been(searched, run, tmp_path):
    shutil.copytree(searched.directory, tmp_path / "run")
    assert outcome(resume(tmp_path / "run")) == outcome(run)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {path.name for path in run.directory.iterdir()}


def test_what_was_fine_tuned_outlives_an_evaluation_that_fails(searched, run, tmp_path, monkeypatch):
    shutil.copytree(searched.directory, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("ganprune.pipeline.job.measure", cut)
        with pytest.raises(PowerCut):
            resume(tmp_path / "run")
    for side in SIDES:
        assert (tmp_path / "run" / f"{side}.safetensors").read_bytes() == run.path(f"{side}.safetensors").read_bytes()
    result = call("evaluate", tmp_path / "run", "--no-speed")
    assert result.exit_code == 0 and "fine-tuned, not evaluated" in result.stderr.replace("\n", " ")
    steps = []
    again = resume(tmp_path / "run", reporter=Reporter(training=lambda *given: steps.append(given)))
    assert steps == [] and outcome(again) == outcome(run)


def test_a_fine_tune_that_ends_early_has_generators_too(run, tmp_path):
    with pytest.raises(PowerCut):
        finetune_run(run.directory, tmp_path / "new", steps=2, batch=1, device="cpu", reporter=Reporter(training=cut))
    result = call("evaluate", tmp_path / "new", "--no-speed")
    again = f"ganprune finetune --resume {tmp_path / 'new'}"
    assert result.exit_code == 0 and f"not fine-tuned. Finish it: {again}" in result.stderr.replace("\n", "")
    for side in SIDES:
        name = f"{side}.safetensors"
        assert (tmp_path / "new" / name).read_bytes() == run.path(name).read_bytes()
    assert resume_finetune(tmp_path / "new").exists("summary.json")


def test_a_finished_run_that_is_searched_further_stays_whole_until_there_is_better(run, tmp_path):
    shutil.copytree(run.directory, tmp_path / "run")
    with pytest.raises(PowerCut):
        resume(tmp_path / "run", options={"generations": 3}, reporter=Reporter(training=cut))
    for name in ("A2B.safetensors", "summary.json"):
        assert (tmp_path / "run" / name).read_bytes() == run.path(name).read_bytes()


def test_a_damaged_note_of_what_the_search_found_is_named(searched, tmp_path):
    shutil.copytree(searched.directory, tmp_path / "run")
    RunDirectory(tmp_path / "run").write_json("searched.json", {"finetuned": False})
    with pytest.raises(UserError, match=r"searched\.json: got other entries; .*Restore the file"):
        finetune_run(tmp_path / "run", tmp_path / "new", steps=1)
