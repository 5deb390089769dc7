"""``ganprune baseline``: the pipeline of evolve without its search, and each bad input with its one message."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from networks import SIZE, toy_cyclegan
from toytask import FILES, contents

from ganprune.baselines.registry import BASELINES, Baseline
from ganprune.cli import main
from ganprune.commands.baseline import baseline_settings, prune_run
from ganprune.commands.evaluate import evaluate_run
from ganprune.commands.finetune import finetune_run
from ganprune.errors import UserError
from ganprune.evolution.individual import Individual, unpack_bits
from ganprune.filters.builder import make_builders
from ganprune.filters.saving import load_generator
from ganprune.filters.space import FilterSpace
from ganprune.fitness import CycleFitness
from ganprune.models.checkpoint import load_cyclegan, save_cyclegan
from ganprune.runs.directory import RunDirectory

SIDES = ("A2B", "B2A")
WRITTEN = FILES - {"evaluations.jsonl", "logbook.jsonl", "state.json"}
SMALL = {"finetune_steps": 0, "calibration_images": 4, "precision": "float32"}
MACHINE = {"size": SIZE, "device": "cpu", "threads": 1}


@pytest.fixture
def prune_toy(checkpoint, image_folder, tmp_path):
    """Prune the toy CycleGAN by a baseline, into a new folder."""

    def call(method, weights="own", out="new", **options):
        baseline = Baseline(method, weights)
        settings = baseline_settings(baseline, **{**SMALL, **options})
        place = {"out": tmp_path / out, "dry_run": False}
        return prune_run(baseline, settings, checkpoint, image_folder, **place, **MACHINE)

    return call


def bits_of(run, side):
    return Individual(unpack_bits(run.read_json(f"{side}.json")["bits"]))


def sides_of(run):
    return run.read_json("summary.json")["sides"]


@pytest.mark.slow
@pytest.mark.parametrize("method", BASELINES)
def test_a_run_has_the_files_and_figures_of_a_search(prune_toy, method):
    run = prune_toy(method, finetune_steps=1, finetune_batch=2, target_ratio=3)
    assert {path.name for path in run.directory.iterdir()} == WRITTEN
    config, summary = run.read_json("config.json"), run.read_json("summary.json")
    assert config["command"] == "baseline" and config["baseline"] == {"method": method, "weights": "own"}
    assert (summary["evaluations"], summary["rescores"], summary["generations"]) == (2, 0, 0)
    for name, figures in summary["sides"].items():
        assert figures["algorithm"] == method and figures["search"]["evaluations"] == 1
        assert 3 <= figures["parameters"]["ratio"] < 3.5
        assert figures["parameters"]["compact"] <= config["most_parameters"][name]
        assert figures["search"]["fitness"] > 0 and figures["search"]["reference_fitness"] > 0
        assert load_generator(run.path(name)) is not None


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["own", "sliced", "reconstructed"])
def test_the_fitness_is_that_of_the_weights_used(prune_toy, checkpoint, images, weights):
    run = prune_toy("l1", weights, validation_images=1)
    cyclegan, reconstruct = load_cyclegan(checkpoint), weights == "reconstructed"
    builders = make_builders(cyclegan, images, reconstruct=reconstruct, calibration_images=4)
    for name in SIDES:
        figures, bits = sides_of(run)[name]["search"], bits_of(run, name)
        scores = [
            CycleFitness(cyclegan, images, name, builders=builders, **options)(bits)
            for options in ({"validation_images": 1}, {"skip": 1})
        ]
        assert figures["fitness"] == pytest.approx(scores[0][0], rel=1e-4)
        assert figures["reference_fitness"] == pytest.approx(scores[1][0], rel=1e-4)
        assert {term: figures[term] for term in scores[0].terms} == pytest.approx(scores[0].terms, rel=1e-3)
        # Without a fine-tune the files hold exactly those weights.
        wanted, written = builders[name](bits).state_dict(), load_generator(run.path(name)).state_dict()
        assert all(torch.allclose(tensor, wanted[key], atol=1e-5) for key, tensor in written.items())


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_and_random_another_with_another(prune_toy):
    first, again, other = (prune_toy("random", out=out, seed=seed) for out, seed in (("a", 1), ("b", 1), ("c", 2)))
    for name in SIDES:
        assert first.path(f"{name}.safetensors").read_bytes() == again.path(f"{name}.safetensors").read_bytes()
        assert bits_of(first, name) == bits_of(again, name) != bits_of(other, name)


@pytest.mark.slow
def test_like_takes_the_size_of_each_side_and_all_else_of_a_run(run, tmp_path):
    pruned = prune_run(
        Baseline("l1"), baseline_settings(Baseline("l1"), like=run.directory), like=run.directory, out=tmp_path / "new",
        device="cpu", threads=1,
    )  # fmt: skip
    theirs, config = run.read_json("config.json"), pruned.read_json("config.json")
    assert config["like"] == str(run.directory)
    assert [config[key] for key in ("checkpoint", "data", "size")] == [
        theirs[k] for k in ("checkpoint", "data", "size")
    ]
    for part in ("finetune", "fitness", "measures", "precision", "seed"):
        assert config["settings"][part] == theirs["settings"][part]
    for field in ("calibration_images", "encoding"):
        assert config["settings"]["scoring"][field] == theirs["settings"]["scoring"][field]
    cyclegan = load_cyclegan(theirs["checkpoint"])
    for name in SIDES:
        space = FilterSpace(cyclegan[name].generator, size=SIZE)
        wanted = sides_of(run)[name]["parameters"]["compact"]
        bits = bits_of(pruned, name)
        assert config["most_parameters"][name] == wanted >= space.parameter_count(bits)
        for index in np.flatnonzero(np.array(bits) == 0):
            assert space.parameter_count([*bits[:index], 1, *bits[index + 1 :]]) > wanted


@pytest.mark.slow
def test_like_does_not_import_what_the_runs_file_names(run, tmp_path, monkeypatch):
    (tmp_path / "harmful.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copytree(run.directory, tmp_path / "run")
    config = run.read_json("config.json")
    config["settings"]["search"]["mutate"] = "harmful:function"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    settings = baseline_settings(Baseline("random"), like=tmp_path / "run", finetune_steps=0)
    prune_run(Baseline("random"), settings, like=tmp_path / "run", out=tmp_path / "new", device="cpu", threads=1)
    assert "harmful" not in sys.modules


def test_like_a_run_of_a_larger_generator_is_refused(run, image_folder, tmp_path):
    save_cyclegan(toy_cyclegan(ngf=6), tmp_path / "other")
    settings = baseline_settings(Baseline("l1"), like=run.directory)
    with pytest.raises(UserError, match=r"like: got .*, made of a generator A2B with .* parameters; expected one with"):
        prune_run(
            Baseline("l1"),
            settings,
            tmp_path / "other",
            image_folder,
            like=run.directory,
            out=tmp_path / "new",
            size=16,
        )
    assert not (tmp_path / "new").exists()


def test_like_a_run_with_a_damaged_summary_is_refused(run, tmp_path):
    shutil.copytree(run.directory, tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text('{"sides": {"A2B": {}}}')
    settings = baseline_settings(Baseline("l1"), like=tmp_path / "run")
    with pytest.raises(UserError, match=r"summary.json: got no parameters of side A2B .*; expected a finished run's"):
        prune_run(Baseline("l1"), settings, like=tmp_path / "run", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_baselines_run_can_be_evaluated_finetuned_and_taken_as_the_size_of_another(prune_toy, tmp_path):
    run = prune_toy("thinet")
    before = contents(run.directory)
    assert evaluate_run(run.directory, threads=1)["A2B"]["metrics"] == sides_of(run)["A2B"]["metrics"]
    tuned = finetune_run(run.directory, tmp_path / "tuned", steps=1, batch=1, device="cpu")
    assert sides_of(tuned)["A2B"]["algorithm"] == "thinet"
    assert sides_of(tuned)["A2B"]["search"] == sides_of(run)["A2B"]["search"]
    settings = baseline_settings(Baseline("thinet"), like=run.directory)
    again = prune_run(Baseline("thinet"), settings, like=run.directory, out=tmp_path / "again", device="cpu", threads=1)
    assert bits_of(again, "B2A") == bits_of(run, "B2A")
    assert contents(run.directory) == before


# --- the command


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory, so that default paths lead nowhere else."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def toy(checkpoint, image_folder, here):
    """The arguments of a toy run."""
    line = {"--checkpoint": checkpoint, "--data": image_folder, "--size": SIZE, "--threads": 1, "--device": "cpu"}
    line |= {"--calibration-images": 4, "--finetune-steps": 0}
    return [part for pair in line.items() for part in pair]


@pytest.mark.slow
def test_the_command_prunes_and_says_what_it_kept(toy, here):
    (here / "runs" / "baseline-001").mkdir(parents=True)
    result = call("baseline", "thinet", *toy, "--target-ratio", 4, "--weights", "reconstructed")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "filters kept" in result.stderr and "below the" in result.stderr
    assert "parameters" in result.stdout and "thinet, reconstructed weights" in result.stdout
    assert "runs/baseline-002/samples.png" in result.stdout
    assert call("evaluate", "runs/baseline-002", "--no-speed").exit_code == 0
    assert RunDirectory("runs/baseline-002").read_json("config.json")["settings"]["budget"]["target_ratio"] == 4


@pytest.mark.slow
def test_the_paper_preset_gives_its_fine_tune(toy, here):
    result = call("baseline", "random", *toy, "--preset", "paper", "--target-ratio", 2, "--out", "new")
    assert result.exit_code == 0, (result.output, result.exception)
    settings = RunDirectory("new").read_json("config.json")["settings"]
    assert (settings["finetune"]["objective"], settings["finetune"]["steps"]) == ("cyclegan", 0)
    assert settings["fitness"]["identity"] == 0.5


@pytest.mark.slow
def test_the_latency_share_can_be_the_size_term(toy, here):
    result = call("baseline", "l1", *toy, "--cost", "latency", "--out", "new")
    assert result.exit_code == 0, (result.output, result.exception)
    figures = sides_of(RunDirectory("new"))["A2B"]["search"]
    assert figures["size"] == figures["latency"] and figures["latency_ms"] > 0


def test_help_lists_the_methods(here):
    text = call("baseline", "--help").stdout
    assert all(f"  {name} " in text for name in BASELINES)
    assert "--finetune-steps" in text and "--population" not in text and "--max-macs" not in text


def test_bad_input_has_one_message_and_writes_nothing(toy, run, here, image_folder):
    before = contents(run.directory)
    for arguments, message in (
        (
            ["thinnet"],
            "baseline: got thinnet; expected l1, l1-global, random, trimming, thinet, slimming. Did you mean",
        ),
        ([], "Missing argument 'NAME'"),
        (
            ["l1", "--weights", "slice"],
            "weights: got slice; expected own, sliced, reconstructed. Did you mean 'sliced'?",
        ),
        (["l1", "--target-ratio", 1e6], "target ratio: got 1000000.0; expected at most"),
        (["l1", "--target-ratio", 0.5], "target ratio: got 0.5; expected 1 or more"),
        (["l1", "--target-ratio", "nan"], "target ratio: got nan"),
        (["l1", "--target-ratio", "ten"], "'ten' is not a valid float"),
        (["l1", "--preset", "paper"], "target ratio: got nothing; expected how many times fewer parameters are wanted"),
        (["l1", "--preset", "papr"], "Did you mean 'paper'?"),
        (["l1", "--like", run.directory, "--target-ratio", 4], "--target-ratio: got given with --like"),
        (["l1", "--like", run.directory, "--preset", "paper"], "--preset: got given with --like"),
        (["l1", "--like", "nowhere"], "run directory: got nowhere"),
        (["l1", "--like", image_folder], "expected a folder with the config.json of a run"),
        (["l1", "--population", 3], "--population"),
        (["l1", "--encoding", "group"], "Did you mean 'grouped'?"),
        (["l1", "--finetune", "distill"], "Did you mean 'distil'?"),
        (["l1", "--finetune-steps", -1], "finetune steps: got -1"),
        (["l1", "--calibration-images", 0], "calibration images: got 0"),
        (["l1", "--validation-images", 0], "validation images: got 0"),
        (["l1", "--gamma", "nan"], "gamma: got nan"),
        (["l1", "--seed", -1], "seed: got -1"),
        (["l1", "--device", "gpu"], "device: got gpu"),
        (["l1", "--threads", 0], "threads: got 0"),
        (["l1", "--size", 8], "size: got 8"),
        (["l1", "--out", run.directory], "holds no run yet"),
        (["l1", "--data", "nowhere"], "data: got nowhere"),
        (["l1", "--checkpoint", "nowhere"], "checkpoint: got nowhere"),
    ):
        result = call("baseline", *toy, *arguments)
        assert result.exit_code == 2, (arguments, result.output, result.exception)
        errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1 and message in errors[0], (arguments, errors)
    assert contents(here) == {} and contents(run.directory) == before


def test_an_interrupted_run_and_what_is_no_search_are_refused(prune_toy, run, here, tmp_path):
    shutil.copytree(run.directory, tmp_path / "half")
    (tmp_path / "half" / "summary.json").unlink()
    result = call("baseline", "l1", "--like", tmp_path / "half")
    assert result.exit_code == 2 and "(unfinished)" in result.stderr
    pruned = prune_toy("random")
    for command in (["evolve", "--resume"], ["pick", "--knee"]):
        result = call(*command, pruned.directory)
        assert result.exit_code == 2 and "ganprune evolve" in result.stderr
    assert contents(here) == {}


@pytest.mark.slow
def test_ctrl_c_leaves_the_folder_free(toy, here, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ganprune.commands.baseline.prune", interrupt)
        result = call("baseline", "l1", *toy, "--out", "new")
    assert result.exit_code == 130 and result.stderr.rstrip().endswith("Interrupted. Nothing was kept.")
    assert call("baseline", "l1", *toy, "--out", "new").exit_code == 0


@pytest.mark.slow
def test_a_baseline_notes_what_it_was_made_of_and_other_images_are_refused_later(prune_toy, image_folder, tmp_path):
    run = prune_toy("l1", target_ratio=3)
    config = run.read_json("config.json")
    assert config["format"] == 2 and {"data_sha256", "checkpoint_sha256"} <= config.keys()
    run.write_json("config.json", {**config, "data_sha256": "0" * 64})
    with pytest.raises(UserError, match="other images than when the run began"):
        finetune_run(run.directory, tmp_path / "finer", steps=1)
    assert not (tmp_path / "finer").exists()


def test_an_unfinished_baseline_names_no_option_that_there_is_not(prune_toy):
    run = prune_toy("l1", target_ratio=3)
    (run.directory / "summary.json").unlink()
    with pytest.raises(UserError, match=r"unfinished.*Make it anew") as caught:
        evaluate_run(run.directory)
    assert "--resume" not in str(caught.value)


def test_features_that_can_not_be_had_are_refused_before_anything_is_written(prune_toy, tmp_path):
    with pytest.raises(UserError, match="inception weights: got nowhere"):
        prune_toy("l1", target_ratio=3, features="inception", inception_weights="nowhere")
    assert not (tmp_path / "new").exists()
