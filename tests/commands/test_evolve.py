"""A whole run at toy size: what it writes, that its seed decides it, interrupted or not, and what it refuses."""

import json
import math
import os
import random
import shutil
import signal

import numpy as np
import pytest
import torch
from networks import SIZE, Counted, toy_generator
from PIL import Image
from toytask import FILES, QUICK, contents, copy_images, elites, outcome, toy_run

import ganprune
from ganprune.commands.evaluate import evaluate_run
from ganprune.commands.evolve import compress, resume
from ganprune.commands.finetune import finetune_run, resume_finetune
from ganprune.commands.pretrain import pretrain
from ganprune.data.images import UnpairedImages
from ganprune.device import resolve_precision
from ganprune.errors import UserError
from ganprune.filters.builder import make_builders
from ganprune.fitness import CycleFitness
from ganprune.models.architecture import build
from ganprune.models.checkpoint import load_cyclegan, save_cyclegan
from ganprune.models.cyclegan import CycleGAN, Side
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.pipeline import search
from ganprune.pipeline.config import _of_today
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.results import draw_samples
from ganprune.pipeline.task import Task
from ganprune.runs.directory import RunDirectory
from ganprune.runs.interruption import Interrupted
from ganprune.settings.evolve import EvolveSettings, make_settings
from ganprune.settings.fields import flat, from_json
from ganprune.settings.training import TrainingSettings

SIDES = ("A2B", "B2A")


@pytest.fixture
def summary(run):
    return run.read_json("summary.json")


@pytest.mark.slow
def test_the_precision_that_a_run_resolved_is_what_it_saves(checkpoint, image_folder, tmp_path):
    run = toy_run(checkpoint, image_folder, tmp_path / "run", precision="auto", finetune_steps=0)
    wanted = resolve_precision("auto", torch.device("cpu"))
    assert wanted in ("float32", "bfloat16")
    assert run.read_json("config.json")["settings"]["precision"] == wanted


@pytest.mark.slow
def test_final_figures_are_measured_on_the_features_that_were_asked_for(
    checkpoint, image_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("ganprune.metrics.features.Inception", lambda weights: Counted())
    run = toy_run(checkpoint, image_folder, tmp_path / "run", features="inception", generations=1, finetune_steps=1)
    sides = run.read_json("summary.json")["sides"]
    for side in SIDES:
        assert sides[side]["features"] == "Counted" and sides[side]["measured_on"] == "test"
        assert all({"kid", "kid_std", "frechet"} <= set(sides[side]["metrics"][n]) for n in ("original", "compact"))
    again = evaluate_run(run.directory, device="cpu", threads=1)  # the run's own choice
    assert {side: again[side]["metrics"] for side in SIDES} == {side: sides[side]["metrics"] for side in SIDES}
    tuned = finetune_run(run.directory, tmp_path / "tuned", steps=1, batch=1, device="cpu", threads=1)
    assert "kid" in tuned.read_json("summary.json")["sides"]["A2B"]["metrics"]["compact"]


def test_runs_of_earlier_versions_with_features_of_a_classifier_are_read(run):
    config = run.read_json("config.json")
    assert config["settings"]["measures"]["features"] == "none"
    for earlier in ("auto", "shipped"):
        config["settings"]["measures"]["features"] = earlier
        assert from_json(EvolveSettings, _of_today(config["settings"])).measures.features == "none"


def test_features_that_can_not_be_had_are_refused_before_anything_is_written(
    checkpoint, image_folder, tmp_path, monkeypatch
):
    few = copy_images(image_folder, tmp_path / "few")
    next((few / "testA").iterdir()).unlink()
    message = r"3 test images of domain A; expected 4 or more.*--features none"
    with monkeypatch.context() as patch, pytest.raises(UserError, match=message):
        patch.setattr("ganprune.metrics.features.Inception", lambda weights: Counted())
        toy_run(checkpoint, few, tmp_path / "run", features="inception")
    with pytest.raises(UserError, match=r"inception weights: got .*nowhere.pth"):
        toy_run(checkpoint, image_folder, tmp_path / "run", features="inception", inception_weights="nowhere.pth")
    assert not (tmp_path / "run").exists()


def test_without_known_truth_the_picture_shows_sources_against_outputs(checkpoint, image_folder, tmp_path, monkeypatch):
    data = copy_images(image_folder, tmp_path / "data")
    for path in (data / "testB").iterdir():
        path.rename(path.with_stem(f"other {path.stem}"))
    drawn = {}
    monkeypatch.setattr("ganprune.pipeline.results.save_grid", lambda path, sections, **options: drawn.update(sections))
    images = UnpairedImages(data, SIZE)
    task = Task(load_cyclegan(checkpoint), images, None, None)
    draw_samples(tmp_path / "samples.png", task, {name: side.generator for name, side in task.cyclegan.items()})
    for title, domain in (("A2B (test images)", "A"), ("B2A (test images)", "B")):
        assert list(drawn[title]) == ["input", "original", "compact"]
        assert torch.equal(drawn[title]["input"], images[domain].test.tensor())


@pytest.mark.slow
def test_a_run_writes_every_file(run):
    assert {path.name for path in run.directory.iterdir()} == FILES
    config = run.read_json("config.json")
    assert config["command"] == "evolve" and config["size"] == SIZE and config["threads"] == 1
    assert config["settings"]["search"]["population"] == QUICK["population"]
    assert from_json(EvolveSettings, config["settings"]) == make_settings("quick", **QUICK)
    assert [(line["side"], line["generation"]) for line in run.read_jsonl("logbook.jsonl")] == [
        (side, generation) for generation in range(3) for side in SIDES
    ]
    samples = Image.open(run.path("samples.png"))
    assert samples.format == "PNG" and samples.width > 3 * SIZE and samples.height > 8 * SIZE


def test_the_summary_has_every_documented_key_with_sane_values(run, summary, image_folder):
    assert {
        "format", "ganprune", "torch", "seed", "threads", "device", "seconds", "evaluations", "rescores", "cost",
        "generations", "images", "data_sha256", "sides",
    } <= set(summary)  # fmt: skip
    assert (summary["format"], summary["ganprune"]) == (1, ganprune.__version__)
    assert (summary["seed"], summary["threads"], summary["device"], summary["generations"]) == (1, 1, "cpu", 2)
    assert summary["cost"] == summary["evaluations"] + summary["rescores"] / 2
    assert len(run.read_jsonl("evaluations.jsonl")) == summary["evaluations"] + summary["rescores"]
    assert 6 <= summary["evaluations"] <= 18
    assert 0 < summary["seconds_search"] < summary["seconds"]
    assert summary["images"] == UnpairedImages(image_folder, SIZE).counts()
    assert len(summary["data_sha256"]) == 64
    assert list(summary["sides"]) == ["A2B", "B2A"]


@pytest.mark.parametrize("side", SIDES)
def test_the_figures_of_a_side_agree_with_each_other(summary, side):
    figures = summary["sides"][side]
    assert figures["algorithm"] == "ga"
    parameters, memory, macs = (figures[key] for key in ("parameters", "memory_mb", "macs"))
    assert 0 < parameters["compact"] < parameters["original"]
    assert parameters["ratio"] == parameters["original"] / parameters["compact"]
    assert memory["original"] == pytest.approx(parameters["original"] * 4 / 2**20)
    assert set(macs) == {"input_size", "output_size"}
    assert all(value["ratio"] == value["original"] / value["compact"] > 1 for value in macs.values())
    assert figures["latency_ms"]["speedup"] > 0
    search = figures["search"]
    quality = search["l_disa"] + 10 * search["l_cyc"]
    assert search["fitness"] == pytest.approx(1 / (search["n"] + 10 * quality), rel=1e-6)
    assert 0 < search["n"] < 1 and search["reference_fitness"] > 0
    of_both = {"picture_error", "patch_distance", "l_cyc", "paired_l1", "rms_error", "psnr", "ssim"}
    assert set(figures["metrics"]["original"]) == of_both
    assert set(figures["metrics"]["compact"]) == of_both | {"l_disa", "l_gena"}
    for metrics in figures["metrics"].values():
        assert 0 < metrics["paired_l1"] < 1 and 0 < metrics["psnr"] < 40 and metrics["l_cyc"] > 0


def test_the_reference_fitness_is_the_elites_against_the_original_partner(run, summary, checkpoint, images):
    cyclegan = load_cyclegan(checkpoint)
    builders = make_builders(cyclegan, images, calibration_images=QUICK["calibration_images"])
    for side in SIDES:
        bits = [int(bit) for bit in elites(run)[side]]
        reference = CycleFitness(cyclegan, images, side, builders=builders)(bits)
        assert summary["sides"][side]["search"]["reference_fitness"] == pytest.approx(reference[0], rel=1e-5)


def test_compact_generators_load_as_plain_modules_and_reproduce(run, summary, checkpoint, images):
    original = load_cyclegan(checkpoint)
    real = images["A"].test.tensor()
    for side in SIDES:
        network = ganprune.load_generator(run.path(side))
        assert isinstance(network, torch.nn.Module) and not network.training
        parameters = sum(parameter.numel() for parameter in network.parameters())
        assert parameters == summary["sides"][side]["parameters"]["compact"]
    with torch.no_grad():
        network, real = ganprune.load_generator(run.path("A2B.json")), images["A"].test.tensor()
        l_gena = float((network(real) - original["A2B"].generator(real)).square().mean())
    assert summary["sides"]["A2B"]["metrics"]["compact"]["l_gena"] == pytest.approx(l_gena, rel=1e-4)


@pytest.mark.slow
def test_a_run_can_be_repeated_whatever_the_caller_draws(run, checkpoint, image_folder, tmp_path):
    random.seed(77)
    np.random.seed(78)
    torch.manual_seed(79)

    def meddle(*arguments):
        random.random()
        np.random.random()
        torch.rand(1)

    reporter = Reporter(search=meddle, evaluation=meddle, training=meddle)
    again = toy_run(checkpoint, image_folder, tmp_path / "again", reporter)
    assert outcome(again) == outcome(run)


@pytest.mark.slow
def test_the_callers_random_states_are_left_alone(checkpoint, image_folder, tmp_path):
    before = random.getstate(), np.random.get_state()[1].tolist()
    toy_run(checkpoint, image_folder, tmp_path / "run", generations=1, finetune_steps=1)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


@pytest.mark.slow
def test_another_seed_gives_other_elites(run, checkpoint, image_folder, tmp_path):
    other = toy_run(checkpoint, image_folder, tmp_path / "run", seed=2)
    assert elites(other) != elites(run)
    assert other.path("A2B.safetensors").read_bytes() != run.path("A2B.safetensors").read_bytes()


def break_off(kind, moment):
    """A reporter that raises KeyboardInterrupt, or sends SIGINT, when something happens for the ``moment``-th time."""
    seen = []

    def interrupt(*arguments):
        seen.append(arguments)
        if len(seen) == moment:
            if kind == "evaluation":
                os.kill(os.getpid(), signal.SIGINT)
            else:
                raise KeyboardInterrupt

    return Reporter(**{kind: interrupt})


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "moment"), [("search", 1), ("search", 4), ("evaluation", 8), ("training", 2)])
def test_interrupted_and_resumed_is_uninterrupted(run, checkpoint, image_folder, tmp_path, kind, moment):
    with pytest.raises(KeyboardInterrupt) as interruption:
        toy_run(checkpoint, image_folder, tmp_path / "run", break_off(kind, moment))
    assert isinstance(interruption.value, Interrupted) == (kind == "evaluation")
    assert not (tmp_path / "run" / "summary.json").exists()
    random.seed(5)
    torch.manual_seed(5)
    assert outcome(resume(tmp_path / "run")) == outcome(run)


@pytest.mark.slow
def test_a_run_resumes_from_another_working_directory(checkpoint, image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(checkpoint.parent)
    with pytest.raises(KeyboardInterrupt):
        toy_run(
            checkpoint.name, os.path.relpath(image_folder), tmp_path / "run", break_off("search", 1),
            generations=1, finetune_steps=0,
        )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert resume("run").exists("summary.json")


@pytest.mark.slow
def test_a_resumed_run_takes_no_code_from_its_files(checkpoint, image_folder, tmp_path):
    operator = "ganprune.evolution.operators.variation:cxGroup"
    with pytest.raises(KeyboardInterrupt):
        toy_run(checkpoint, image_folder, tmp_path / "run", break_off("search", 1), mate=operator, generations=1)
    with pytest.raises(UserError, match=f"mate: got {operator} from the run's file.*Add --mate {operator}"):
        resume(tmp_path / "run")
    with pytest.raises(UserError, match=f"--mate: got cxUniform; expected {operator}"):
        resume(tmp_path / "run", operators={"mate": "cxUniform"})
    assert resume(tmp_path / "run", operators={"mate": operator}).exists("summary.json")


def test_resume_refuses_what_is_no_run_of_evolve(checkpoint, run, tmp_path):
    with pytest.raises(UserError, match=r"a folder with the config\.json"):
        resume(tmp_path)
    for config, message in (
        ({"command": "pretrain"}, "a run of ganprune evolve"),
        ({"command": "evolve"}, "config.json"),
        ({**run.read_json("config.json"), "settings": {"populations": 3}}, "populations"),
    ):
        RunDirectory(tmp_path).write_json("config.json", config)
        with pytest.raises(UserError, match=message):
            resume(tmp_path)


@pytest.mark.slow
def test_stages_and_progress_are_reported(checkpoint, image_folder, tmp_path):
    stages, evaluated, steps, searched, directories = [], [], [], [], []
    reporter = Reporter(
        stage=lambda text, total=None: stages.append((text.split()[0], total)), search=searched.append,
        evaluation=lambda *given: evaluated.append(given), directory=directories,
        training=lambda step, total, losses: steps.append((step, total)),
    )  # fmt: skip
    toy_run(checkpoint, image_folder, tmp_path / "run", reporter, generations=1, finetune_steps=3)
    assert stages == [("tracing", None), ("co-evolving", 12), ("fine-tuning", 3), ("evaluating", None)]
    assert len(evaluated) == 12
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert [(p.side, p.generation) for p in searched] == [("A2B", 0), ("B2A", 0), ("A2B", 1), ("B2A", 1)]
    assert directories == [tmp_path / "run"]


@pytest.mark.slow
def test_a_size_that_the_networks_cannot_take_is_said(checkpoint, image_folder, tmp_path):
    stages, settings = [], make_settings("quick", **{**QUICK, "generations": 1, "finetune_steps": 0})
    run = compress(
        checkpoint, image_folder, out=tmp_path / "run", settings=settings, size=18, device="cpu",
        reporter=Reporter(stage=lambda text, total=None: stages.append(text)),
    )  # fmt: skip
    assert stages[0] == "image size 18x18 is no multiple of 4: mirrored up to 20x20, results are cut back"
    assert run.read_json("config.json")["size"] == 18


@pytest.mark.slow
def test_every_setting_of_the_search_reaches_it(run, checkpoint, image_folder, tmp_path):
    options = {
        "select": "selRoulette", "mate": "cxTwoPoint", "mutate": "mutFlipSegment", "init": "initUniform:density=0.5",
        "algorithm": "ga:reproduction=0.1,crossover=0.5,mutation=0.4", "gamma": 1.0, "lam": 2.0, "identity": 0.5,
        "loss": "gena", "cost": "macs", "discriminator_output": "mean", "cycle_norm": "l1", "encoding": "tied",
        "schedule": "separate", "reconstruct": False, "validation_images": 1, "finetune": "cyclegan",
        "finetune_steps": 1, "finetune_batch": 1,
    }  # fmt: skip
    other = toy_run(checkpoint, image_folder, tmp_path / "run", **options)
    settings = flat(from_json(EvolveSettings, other.read_json("config.json")["settings"]))
    assert {name: settings[name] for name in options} == options
    assert len(elites(other)["A2B"]) < len(elites(run)["A2B"])  # tied
    assert {record["partner"] for record in other.read_jsonl("evaluations.jsonl")} == {None}  # separate
    assert {record["partner"] for record in run.read_jsonl("evaluations.jsonl")} != {None}
    for side in SIDES:
        search = other.read_json("summary.json")["sides"][side]["search"]
        quality = search["l_gena"] + 2 * search["l_cyc"] + 2 * 0.5 * search["identity"]
        assert search["fitness"] == pytest.approx(1 / (search["macs"] + quality), rel=1e-6)


@pytest.mark.slow
def test_budgets_stop_the_search_at_a_whole_step(checkpoint, image_folder, tmp_path):
    run = toy_run(checkpoint, image_folder, tmp_path / "run", generations=50, max_evaluations=12, finetune_steps=0)
    summary = run.read_json("summary.json")
    assert summary["generations"] < 50 and 9 <= summary["cost"] <= 12


@pytest.mark.slow
def test_a_target_ratio_holds_for_every_individual_and_an_impossible_one_writes_nothing(
    checkpoint, image_folder, tmp_path
):
    run = toy_run(checkpoint, image_folder, tmp_path / "run", generations=1, finetune_steps=0, target_ratio=6.0)
    for side in run.read_json("summary.json")["sides"].values():
        assert side["parameters"]["ratio"] >= 6
    for impossible, message in (
        ({"target_ratio": 1e6}, r"target ratio: got 1000000.0; expected at most \d+.*Lower --target-ratio"),
        ({"max_macs": 10.0}, r"max macs: got 10.0; expected \d+ or more.*Raise --max-macs"),
    ):
        with pytest.raises(UserError, match=message):
            toy_run(checkpoint, image_folder, tmp_path / "other", **impossible)
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_finetuning_helps_and_can_be_left_out(run, checkpoint, image_folder, tmp_path):
    untouched = toy_run(checkpoint, image_folder, tmp_path / "run", finetune_steps=0)
    assert elites(untouched) == elites(run)
    assert untouched.path("A2B.safetensors").read_bytes() != run.path("A2B.safetensors").read_bytes()
    longer = finetune_run(untouched.directory, tmp_path / "longer", steps=40, batch=4, device="cpu")
    before, after = (r.read_json("summary.json")["sides"] for r in (untouched, longer))
    for side in SIDES:  # the toy's generators are no trained pair: the cycle is what there is most to gain in
        assert after[side]["metrics"]["compact"]["l_cyc"] < before[side]["metrics"]["compact"]["l_cyc"]


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["distil", "features", "cyclegan"])
def test_finetune_writes_a_run_of_its_own_and_leaves_its_source_alone(run, tmp_path, objective):
    before = contents(run.directory)
    result = finetune_run(run.directory, tmp_path / "new", objective=objective, steps=2, batch=2, seed=3, device="cpu")
    assert contents(run.directory) == before
    assert elites(result) == elites(run)
    assert result.path("A2B.safetensors").read_bytes() != run.path("A2B.safetensors").read_bytes()
    config, summary = result.read_json("config.json"), result.read_json("summary.json")
    assert config["command"] == "finetune" and config["settings"]["finetune"]["objective"] == objective
    assert (config["settings"]["finetune"]["steps"], config["settings"]["seed"]) == (2, 3)
    old = run.read_json("summary.json")["sides"]["A2B"]
    new = summary["sides"]["A2B"]
    assert new["search"] == old["search"] and new["parameters"] == old["parameters"]
    assert new["metrics"]["compact"] != old["metrics"]["compact"]
    assert evaluate_run(tmp_path / "new")["A2B"]["metrics"] == new["metrics"]
    assert Image.open(result.path("samples.png")).size == Image.open(run.path("samples.png")).size


def test_finetune_refuses_its_own_run_an_unfinished_one_and_nonsense(run, checkpoint, tmp_path):
    before = contents(run.directory)
    with pytest.raises(UserError, match="holds no run yet"):
        finetune_run(run.directory, run.directory, steps=1)
    assert contents(run.directory) == before
    for options, message in (
        ({"objective": "distill"}, "Did you mean 'distil'"),
        ({"steps": -1}, "finetune steps"),
        ({"batch": 0}, "finetune batch"),
        ({"device": "gpu"}, "device: got gpu"),
    ):
        with pytest.raises(UserError, match=message):
            finetune_run(run.directory, tmp_path / "new", **options)
    shutil.copytree(run.directory, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "summary.json").unlink()
    with pytest.raises(UserError, match=r"unfinished.*ganprune evolve --resume"):
        finetune_run(tmp_path / "unfinished", tmp_path / "new")
    with pytest.raises(UserError, match=r"unfinished.*ganprune evolve --resume"):
        evaluate_run(tmp_path / "unfinished")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["from", "from_sha256"])
def test_a_fine_tune_that_does_not_say_what_it_began_from_is_refused(run, tmp_path, missing):
    result = finetune_run(run.directory, tmp_path / "new", steps=1, batch=1, device="cpu")
    config = result.read_json("config.json")
    del config[missing]
    result.write_json("config.json", config)
    with pytest.raises(UserError, match=f"got nothing under '{missing}'; .*begin anew"):
        resume_finetune(result.directory)


def test_evaluate_gives_a_runs_own_figures_and_a_checkpoints(run, summary, checkpoint, image_folder):
    figures = evaluate_run(run.directory, device="cpu")
    for side in SIDES:
        for part in ("parameters", "memory_mb", "macs", "metrics"):
            assert figures[side][part] == summary["sides"][side][part]
    own = evaluate_run(checkpoint, data=image_folder, size=SIZE, device="cpu")
    assert own["A2B"]["parameters"]["ratio"] == 1 and own["A2B"]["metrics"]["compact"]["l_disa"] == 0
    assert own["A2B"]["metrics"]["original"] == figures["A2B"]["metrics"]["original"]


def test_evaluate_on_other_images(run, checkpoint, image_folder, tmp_path):
    copy_images(image_folder, tmp_path / "data")
    for path in (tmp_path / "data" / "testB").iterdir():
        path.rename(path.with_stem("x" + path.stem))
    figures = evaluate_run(run.directory, data=tmp_path / "data")
    assert "paired_l1" not in figures["A2B"]["metrics"]["compact"]
    assert evaluate_run(run.directory, size=32)["A2B"]["macs"] != figures["A2B"]["macs"]


def test_evaluate_refuses_what_is_neither(checkpoint, image_folder, tmp_path):
    with pytest.raises(UserError, match="a run directory or a checkpoint's folder"):
        evaluate_run(tmp_path / "nothing")
    with pytest.raises(UserError, match="data: got nothing; expected images to evaluate a checkpoint on"):
        evaluate_run(checkpoint)
    with pytest.raises(UserError, match="no known files"):
        evaluate_run(tmp_path, data=image_folder)


def test_the_paper_preset_is_the_papers():
    settings = make_settings("paper")
    expected = {
        "preset": "paper", "algorithm": "ga:reproduction=0.2,crossover=0.7,mutation=0.1,novel=false",
        "population": 32, "generations": 100, "max_evaluations": None, "max_seconds": None, "select": "selRoulette",
        "mate": "cxTwoPoint", "mutate": "mutFlipSegment", "init": "initUniform:density=0.5", "gamma": 10.0,
        "lam": 10.0, "identity": 0.5, "loss": "disa", "cost": "params", "discriminator_output": "map",
        "cycle_norm": "l2", "target_ratio": None, "max_macs": None, "encoding": "grouped", "schedule": "alternate",
        "reconstruct": False, "tune": "cyclegan", "tune_passes": 1.0, "tune_steps": 0, "finetune": "cyclegan",
    }  # fmt: skip
    values = {"preset": settings.preset, **flat(settings)}
    assert {name: values[name] for name in expected} == expected
    strategy = search.make_strategy(settings.search, "A2B")
    assert strategy.population == 32
    assert (strategy.reproduction, strategy.crossover, strategy.mutation, strategy.novel) == (0.2, 0.7, 0.1, False)
    training = settings.training
    assert (training.lam, training.identity, training.adversarial, training.distil) == (10, 0.5, 1, 0)
    assert (training.total, training.batch, training.learning_rate) == (2000, 1, 2e-4)
    assert training.augment == 286 / 256 and training.pool == 50


def test_options_take_the_place_of_a_presets_values():
    settings = make_settings("paper", population=8, reconstruct=True, gamma=0.0, mate=None)
    assert (settings.search.population, settings.scoring.reconstruct, settings.fitness.gamma) == (8, True, 0.0)
    assert settings.search.mate == "cxTwoPoint" and settings.search.generations == 100
    quick = make_settings("quick")
    assert quick == EvolveSettings() and quick.scoring.reconstruct and quick.finetune.objective == "distil"


BAD_SETTINGS = {
    "population": (1, "population: got 1"),
    "generations": (0, "generations: got 0"),
    "gamma": (-1.0, "gamma: got -1.0"),
    "lam": (math.nan, "lam: got nan"),
    "algorithm": ("gaa", "algorithm: got gaa.*Did you mean 'ga'"),
    "select": ("selRoulete", "Did you mean 'selRoulette'"),
    "mate": ("cxgruop", "Did you mean 'cxGroup'"),
    "mutate": ("mutFlipBit:indp=0.1", "parameter of mutFlipBit: got indp.*Did you mean 'indpb'"),
    "init": ("initUniform:density=2", "density: got 2"),
    "encoding": ("tie", "encoding: got tie.*Did you mean 'tied'"),
    "schedule": ("alternating", "schedule: got alternating.*Did you mean 'alternate'"),
    "finetune": ("distill", "Did you mean 'distil'"),
    "finetune_steps": (-1, "finetune steps: got -1"),
    "finetune_batch": (0, "finetune batch: got 0"),
    "calibration_images": (0, "calibration images: got 0"),
    "validation_images": (0, "validation images: got 0"),
    "max_seconds": (0, "max seconds: got 0"),
    "max_evaluations": (5, "max evaluations: got 5; expected 6 or more"),
    "seed": (-1, "seed: got -1"),
    "populaton": (3, "option: got populaton.*Did you mean 'population'"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(checkpoint, image_folder, tmp_path, name):
    value, message = BAD_SETTINGS[name]
    with pytest.raises(UserError, match=message):
        toy_run(checkpoint, image_folder, tmp_path / "run", **{name: value})
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, -1])
@pytest.mark.parametrize("name", ["max_seconds", "max_evaluations"])
def test_a_budget_is_a_positive_number(name, value):
    with pytest.raises(UserError, match=f"expected a number above 0. Correct --{name.replace('_', '-')}"):
        make_settings("quick", **{name: value})


def test_a_damaged_image_anywhere_is_found_before_anything_is_written(run, checkpoint, image_folder, tmp_path):
    data = copy_images(image_folder, tmp_path / "data")
    victim = data / "testB" / "03.png"
    victim.write_bytes(victim.read_bytes()[:200])
    with pytest.raises(UserError, match=r"image: got .*testB/03\.png"):
        toy_run(checkpoint, data, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    config = run.read_json("config.json")
    shutil.copytree(run.directory, tmp_path / "old")
    RunDirectory(tmp_path / "old").write_json("config.json", {**config, "data": str(data)})
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"image: got .*testB/03\.png"):
        finetune_run(tmp_path / "old", tmp_path / "new", steps=1)
    assert contents(tmp_path) == before


def test_a_network_that_cannot_take_the_images_is_refused(image_folder, tmp_path):
    def save(folder, **options):
        sides = (Side(name, toy_generator(**options), build(DiscriminatorConfig(ndf=4))) for name in SIDES)
        save_cyclegan(CycleGAN(*sides), folder)

    save(tmp_path / "large")
    with pytest.raises(UserError, match=r"size: got 16x16, which the A2B discriminator can't take.*larger --size"):
        toy_run(tmp_path / "large", image_folder, tmp_path / "run")
    save(tmp_path / "grey", in_channels=1, out_channels=1)
    with pytest.raises(UserError, match=r"A2B discriminator can't take.*check the channels"):
        toy_run(tmp_path / "grey", image_folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def toy_pretrain(images, path, **options):
    settings = TrainingSettings(steps=2, decay_steps=2, batch=2, seed=options.pop("seed", 0))
    return pretrain(
        images, path, settings, generator=GeneratorConfig(ngf=4, blocks=1),
        discriminator=DiscriminatorConfig(ndf=4, layers=1), **options,
    )  # fmt: skip


def test_pretraining_writes_a_checkpoint_that_loads(images, tmp_path):
    seen = []
    cyclegan = toy_pretrain(images, tmp_path / "run", save_every=3, report=lambda *given: seen.append(given[:2]))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.json", "cyclegan.json", "cyclegan.safetensors", "logbook.jsonl", "samples-000003.png",
        "samples-000004.png", "training.safetensors",
    }  # fmt: skip
    loaded = load_cyclegan(tmp_path / "run")
    for name, network in loaded.networks().items():
        trained = cyclegan.networks()[name].state_dict()
        assert all(torch.equal(value, trained[key]) for key, value in network.state_dict().items())
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["command"] == "pretrain" and config["settings"]["steps"] == 2
    assert config["data"]["images"] == images.counts()
    own = evaluate_run(tmp_path / "run", data=images.root, size=SIZE)  # its checkpoint, not a run of evolve
    assert own["A2B"]["parameters"]["ratio"] == 1


@pytest.mark.slow
def test_interrupted_pretraining_resumes_as_if_it_had_not_been(images, tmp_path, monkeypatch):
    monkeypatch.setattr("ganprune.commands.pretrain.LOG_EVERY", 1)
    toy_pretrain(images, tmp_path / "whole", save_every=2)

    def interrupt(step, total, losses):
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        toy_pretrain(images, tmp_path / "broken", save_every=2, report=interrupt)
    toy_pretrain(images, tmp_path / "broken", save_every=2, resume=True)

    def crash(step, total, losses):
        if step == 4:  # step 3 is in the logbook, but not in the saved networks
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        toy_pretrain(images, tmp_path / "crashed", save_every=2, report=crash)
    toy_pretrain(images, tmp_path / "crashed", save_every=2, resume=True)
    for name in ("cyclegan.safetensors", "training.safetensors", "logbook.jsonl", "samples-000004.png"):
        whole = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "broken" / name).read_bytes() == whole
        assert (tmp_path / "crashed" / name).read_bytes() == whole


def test_pretraining_broken_off_before_its_first_save_begins_anew(images, tmp_path):
    toy_pretrain(images, tmp_path / "whole")

    def crash(step, total, losses):
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        toy_pretrain(images, tmp_path / "crashed", report=crash)
    toy_pretrain(images, tmp_path / "crashed", resume=True)
    whole = (tmp_path / "whole" / "cyclegan.safetensors").read_bytes()
    assert (tmp_path / "crashed" / "cyclegan.safetensors").read_bytes() == whole


def test_pretraining_refuses_other_settings_and_other_runs(images, run, tmp_path):
    toy_pretrain(images, tmp_path / "run")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="seed: got 5; expected 0, as the interrupted run"):
        toy_pretrain(images, tmp_path / "run", resume=True, seed=5)
    with pytest.raises(UserError, match="holds no run yet"):
        toy_pretrain(images, tmp_path / "run")
    with pytest.raises(UserError, match="expected a run of ganprune pretrain"):
        toy_pretrain(images, run.directory, resume=True)
    with pytest.raises(UserError, match="save every: got 0"):
        toy_pretrain(images, tmp_path / "new", save_every=0)
    assert contents(tmp_path) == before


def test_pretraining_with_damaged_settings_is_refused(images, tmp_path):
    toy_pretrain(images, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    config = run.read_json("config.json")
    run.write_json("config.json", {**config, "settings": 5})
    with pytest.raises(UserError, match="as the interrupted run"):
        toy_pretrain(images, tmp_path / "run", resume=True)
