"""The command line: what works at toy size, and each bad input with its one message, status 2 and nothing written."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from networks import Counted
from PIL import Image
from safetensors.torch import load_file, save_file
from toytask import FILES, QUICK, contents, copy_images, elites, outcome

from ganprune.cli import main
from ganprune.evolution import registry
from ganprune.runs.directory import RunDirectory
from ganprune.training import CycleGANTrainer


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory, so that default paths lead nowhere else."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def task(checkpoint, image_folder, here):
    """The arguments of a toy search, into a new folder."""
    options = {"--population": 3, "--generations": 1, "--finetune-steps": 0, "--calibration-images": 4, "--size": 16}
    options |= {"--data": image_folder, "--checkpoint": checkpoint, "--out": "new", "--threads": 1, "--device": "cpu"}
    return {key: str(value) for key, value in options.items()}


TOY_TRAINING = [
    "--size", "32", "--steps", "1", "--decay-steps", "1", "--batch", "1", "--ngf", "4", "--ndf", "4", "--blocks", "1",
    "--save-every", "1", "--threads", "1", "--device", "cpu",
]  # fmt: skip


def call(*arguments, **changed):
    """Run a command; options by name, where given, replace or extend those of a dictionary among the arguments."""
    line = []
    for argument in arguments:
        if isinstance(argument, dict):
            options = {**argument, **{"--" + key.replace("_", "-"): value for key, value in changed.items()}}
            line += [str(part) for key, value in options.items() if value is not None for part in (key, value)]
        else:
            line.append(str(argument))
    return CliRunner().invoke(main, line)


def refused(result, message, folder=None, before=None):
    """Assert status 2, one message that holds these words, no traceback, and nothing written into the folder."""
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and result.stderr.rstrip().endswith(errors[0])
    assert "Traceback" not in result.output
    for words in [message] if isinstance(message, str) else message:
        assert words in errors[0]
    if folder is not None:
        assert contents(folder) == (before or {})


def worked(result):
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@pytest.mark.slow
def test_evolve_writes_a_run_and_prints_its_table(task, here):
    result = worked(call("evolve", task, finetune_steps=2, finetune_batch=1))
    assert {path.name for path in (here / "new").iterdir()} == FILES | {"report.html"}
    assert result.stdout.splitlines()[-1].startswith("Report: new/report.html (0.")
    summary = RunDirectory("new").read_json("summary.json")
    for name in ("parameters", "MACs, input size (M)", "L_DisA (test)", "paired L1 (test)"):
        assert name in result.stdout
    for side in summary["sides"].values():
        assert f"{side['parameters']['original']:,} -> {side['parameters']['compact']:,}" in result.stdout
    assert f"{summary['evaluations']} evaluations" in result.stdout and "new/samples.png" in result.stdout
    lines = result.stderr.splitlines()
    assert any(line.startswith("A2B  generation 0  best fitness 0.") and "L_cyc" in line for line in lines)
    assert any(line.startswith("step 2/2") for line in lines)
    assert "\x1b" not in result.output  # no terminal, no control codes


@pytest.mark.slow
def test_a_report_that_cannot_be_written_fails_no_run(task, here, monkeypatch):
    def failing(*arguments, **options):
        raise ValueError("no room")

    monkeypatch.setattr("ganprune.commands.report.write_report", failing)
    result = worked(call("evolve", task))
    assert result.stdout.splitlines()[-1] == "No report: no room; try again: ganprune report new"
    assert {path.name for path in (here / "new").iterdir()} == FILES
    assert "report" not in worked(call("evolve", task, "--no-report", out="other")).stdout.lower()


@pytest.mark.slow
def test_evolve_takes_the_next_free_folder(task, here):
    (here / "runs" / "evolve-001").mkdir(parents=True)
    worked(call("evolve", task, out=None))
    assert (here / "runs" / "evolve-002" / "summary.json").exists()


@pytest.mark.slow
def test_sizes_need_be_neither_square_nor_multiples_of_4(task, image_folder, checkpoint, here):
    result = worked(call("evolve", task, size="18x21", finetune_steps=1, finetune_batch=1))
    assert "image size 18x21 is no multiple of 4: mirrored up to 20x24, results are cut back" in result.stderr
    assert RunDirectory("new").read_json("config.json")["size"] == [18, 21]
    assert RunDirectory("new").read_json("A2B.json")["size"] == [18, 21]
    again = json.loads(worked(call("evaluate", "new", "--json", "--no-speed")).stdout)
    assert again["B2A"]["metrics"] == RunDirectory("new").read_json("summary.json")["sides"]["B2A"]["metrics"]
    shown = worked(call("evaluate", checkpoint, "--data", image_folder))  # the images themselves are 20 wide, 18 high
    assert "image size 18x18 is no multiple of 4" in shown.stderr
    assert "multiple" not in worked(call("evaluate", checkpoint, "--data", image_folder, "--size", 16)).stderr


@pytest.mark.slow
def test_images_are_cut_out_of_larger_ones(task, image_folder, here):
    options = ["--crop", 16, "--load-size", "17x24"]
    result = worked(call("evolve", task, *options, size=None, finetune_steps=1, finetune_batch=1))
    assert "mirrored" not in result.stderr
    config = RunDirectory("new").read_json("config.json")
    assert (config["size"], config["load_size"]) == (16, [17, 24])
    again = json.loads(worked(call("evaluate", "new", "--json", "--no-speed")).stdout)
    assert again["A2B"]["metrics"] == RunDirectory("new").read_json("summary.json")["sides"]["A2B"]["metrics"]
    sizes = ["--load-size", "40x32", "--crop", "32x30"]
    worked(call("pretrain", image_folder, *TOY_TRAINING[2:], *sizes, "--out", "trained"))
    saved = RunDirectory("trained").read_json("config.json")["data"]
    assert (saved["size"], saved["load_size"]) == ([32, 30], [40, 32])


def test_contradicting_sizes_are_refused(task, image_folder, here):
    refused(call("evolve", task, "--crop", 16), "--crop: got 16x16 with --size; expected one of the two", here)
    refused(call("evolve", task, "--load-size", 32, size=None), "load size: got 32x32; expected a --crop", here)
    message = "image: got " + str(image_folder / "trainA" / "01.png") + " (18x20); expected at least the crop, 18x24"
    refused(call("evolve", task, "--crop", "18x24", size=None), message, here)
    refused(call("compare", "--toy", "--crop", 16), "--toy: got given with other data", here)
    refused(call("compare", "--toy", "--trained", "BtoA"), "--toy: got given with other data", here)


def test_pretrain_then_resume(image_folder, here):
    result = worked(call("pretrain", image_folder, "--out", "trained", *TOY_TRAINING))
    assert "Checkpoint and samples: trained" in result.stdout and "step 2/2" in result.stderr
    before = (here / "trained" / "cyclegan.safetensors").read_bytes()
    worked(call("pretrain", image_folder, "--resume", "trained", *TOY_TRAINING))
    assert (here / "trained" / "cyclegan.safetensors").read_bytes() == before  # nothing was left to do
    assert [line["step"] for line in RunDirectory("trained").read_jsonl("logbook.jsonl")] == [2]
    result = worked(call("evaluate", "trained", "--data", image_folder, "--size", 32))
    assert "(1.00x)" in result.stdout


@pytest.mark.slow
def test_finetune_and_evaluate_a_run(run, here):
    before = contents(run.directory)
    arguments = ["--out", "tuned", "--steps", 1, "--batch", 1, "--device", "cpu"]
    result = worked(call("finetune", run.directory, *arguments))
    assert "Look at tuned/samples.png; compact generators and figures: tuned" in result.stdout
    assert contents(run.directory) == before
    table = worked(call("evaluate", "tuned", "--no-speed"))
    assert "paired L1 (test)" in table.stdout and table.stderr == ""
    figures = json.loads(worked(call("evaluate", run.directory, "--json", "--no-speed")).stdout)
    assert figures["A2B"]["metrics"] == run.read_json("summary.json")["sides"]["A2B"]["metrics"]
    assert "speed" not in figures["A2B"]


@pytest.mark.slow
def test_evaluate_times_a_runs_generators_and_says_what_the_macs_promise(run, here):
    result = worked(call("evaluate", run.directory, "--repeats", 2, "--threads", 1, "--json"))
    for figures in json.loads(result.stdout).values():
        speed, ratio = figures["speed"], figures["macs"]["input_size"]["ratio"]
        assert (speed["threads"], speed["size"], speed["macs_ratio"]) == (1, 16, ratio)
        for engine in ("eager", "onnxruntime"):
            assert speed[engine]["quotient"] == speed[engine]["original"] / speed[engine]["compact"] / ratio
        assert figures["latency_ms"]["speedup"] == speed["eager"]["speedup"]
    table = worked(call("evaluate", run.directory, "--repeats", 1)).stdout
    for row in ("latency (ms per image)", "speed-up / MAC ratio", "latency in onnxruntime (ms)"):
        assert row in table
    refused(call("evaluate", run.directory, "--repeats", 0), "repeats: got 0; expected 1 or more", here)


@pytest.mark.parametrize("command", ["evolve", "pretrain", "finetune", "evaluate", "pick", "translate"])
def test_help_of_every_command(command):
    text = worked(call(command, "--help")).stdout
    assert command in text and "--device" in text
    if command == "evolve":
        whole = worked(call(command, "--help-all")).stdout
        for kind in ("select", "mate", "mutate", "init"):
            assert all(name in whole.replace("\n", " ") for name in registry.names(kind))


BAD_VALUES = {
    "population": [("1", "population: got 1"), ("abc", "'abc' is not a valid integer"), ("2.5", "'2.5'"), ("", "''")],
    "generations": [("0", "generations: got 0; expected 1 or more"), ("ten", "'ten' is not a valid integer")],
    "gamma": [("-1", "gamma: got -1.0; expected 0 or more"), ("nan", "gamma: got nan"), ("inf", "inf"),
              ("1,5", "'1,5' is not a valid float")],
    "lam": [("-0.1", "lam: got -0.1")],
    "identity": [("nan", "identity: got nan")],
    "algorithm": [("gaa", ["algorithm: got gaa", "Did you mean 'ga'?"]),
                  ("ga:populaton=4", ["populaton", "Did you mean 'population'?"]),
                  ("ga:reproduction=0.9", "expected rates that sum to 1"),
                  ("ga:crossover=lots", ["crossover", "lots", "a number"])],
    "select": [("selRoulete", ["select: got selRoulete", "Did you mean 'selRoulette'?"]),
               ("selTournament:tournsize=0", "at least 1")],
    "mate": [("cxTwoPiont", "Did you mean 'cxTwoPoint'?"), ("no.module:function", "Importing 'no.module' failed"),
             ("ganprune.evolution.operators.variation:cxGruop", "Did you mean 'cxGroup'?")],
    "mutate": [("mutFlipBit:indp=0.1", "Did you mean 'indpb'?"), ("mutFlipBit:indpb=2", "a number from 0.0 to 1.0")],
    "init": [("initMixd", "Did you mean 'initMixed'?")],
    "loss": [("dis", "Did you mean 'disa'?")],
    "cost": [("mac", "Did you mean 'macs'?")],
    "discriminator-output": [("maps", "Did you mean 'map'?")],
    "cycle-norm": [("L3", ["cycle norm: got L3", "l2 or l1"])],
    "encoding": [("group", "Did you mean 'grouped'?")],
    "schedule": [("alternating", "Did you mean 'alternate'?")],
    "preset": [("papr", ["preset: got papr", "Did you mean 'paper'?"])],
    "finetune": [("distill", "Did you mean 'distil'?"), ("distil:ssm=1", "Did you mean 'ssim'?")],
    "finetune-steps": [("-1", "finetune steps: got -1")],
    "finetune-batch": [("0", "finetune batch: got 0")],
    "finetune-average": [("1", "finetune average: got 1.0; expected a number from 0")],
    "tune": [("distill", "Did you mean 'distil'?")],
    "tune-steps": [("-1", "tune steps: got -1")],
    "tune-passes": [("nan", "tune passes: got nan; expected 0 or more"), ("-1", "tune passes: got -1.0")],
    "tune-batch": [("0", "tune batch: got 0; expected 1 or more. Correct --tune-batch")],
    "target-ratio": [("1000000", "target-ratio"), ("0.9", "target ratio: got 0.9"), ("nan", "target ratio: got nan")],
    "max-macs": [("1", "max-macs"), ("-5", "max macs: got -5.0")],
    "calibration-images": [("0", "calibration images: got 0")],
    "validation-images": [("-3", "validation images: got -3")],
    "max-evaluations": [("2", "max evaluations: got 2.0; expected 6 or more"), ("nan", "max evaluations: got nan")],
    "max-seconds": [("0", "max seconds: got 0.0"), ("nan", "max seconds: got nan")],
    "features": [("incepton", ["features: got incepton", "Did you mean 'inception'?"])],
    "inception-weights": [("w.pth", "w.pth with --features none; expected --features inception")],
    "seed": [("-1", "seed: got -1; expected a whole number from 0"), ("4294967296", "seed: got 4294967296")],
    "size": [("12", "size: got 12; expected at least 16 pixels"), ("0", "size: got 0"), ("big", "'big'"),
             ("64x", "HEIGHTxWIDTH"), ("64x8", "size: got 64x8; expected at least 16 pixels a side")],
    "threads": [("0", "threads: got 0; expected 1 or more"), ("all", "'all' is not a valid integer")],
    "device": [("gpu", ["device: got gpu", "auto, cpu, cuda or cuda:N"]), ("cuda:x", "device: got cuda:x")],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("option", BAD_VALUES)
def test_a_bad_value_is_refused_by_name(task, here, option):
    for value, message in BAD_VALUES[option]:
        refused(call("evolve", task, **{option: value}), message, here)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_cuda_without_a_gpu_is_refused(task, here, device):
    refused(call("evolve", task, device=device), [f"device: got {device}", "Use --device cpu"], here)


def test_mistyped_commands_options_and_arguments(task, here):
    refused(call("evlove"), ["unknown command 'evlove'", "Did you mean 'evolve'?"], here)
    refused(call("evolve", task, populaton=3), ["--populaton", "--population"], here)
    refused(call("evolve", task, "horses"), "unexpected extra argument (horses)", here)
    refused(call("pretrain"), "Missing argument 'DATA'", here)
    refused(call("finetune", "somewhere"), "Missing option '--out'", here)
    refused(call("evaluate", here, "--size"), "'--size' requires an argument", here)


def test_images_without_a_checkpoint_and_the_reverse(task, here):
    refused(call("evolve", task, data=None), ["data: got nothing", "to go with --checkpoint", "Give both"], here)
    refused(call("evolve", task, checkpoint=None), ["checkpoint: got nothing", "to go with --data"], here)


def test_missing_and_empty_image_folders_are_named(task, here, image_folder, tmp_path):
    refused(call("evolve", task, data="nowhere"), "data: got nowhere; expected a folder with trainA, trainB", here)
    refused(call("pretrain", "nowhere"), "data: got nowhere", here)
    refused(call("evolve", task, data=__file__), ["data: got", "test_cli.py"], here)
    data = copy_images(image_folder, tmp_path / "data")
    for path in (data / "testB").iterdir():
        path.rename(path.with_suffix(".txt"))
    refused(
        call("evolve", task, data=data), [f"image folder: got {data / 'testB'} (no images; ", "(.txt)", "png"], here
    )
    shutil.rmtree(data / "testB")
    refused(call("evolve", task, data=data), f"image folder: got {data / 'testB'}; expected an existing folder", here)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["trainA/00.png", "trainB/15.png", "testA/02.png"])
def test_a_damaged_image_is_named_and_nothing_is_written(task, here, image_folder, run, tmp_path, victim):
    data = copy_images(image_folder, tmp_path / "data")
    whole = (data / victim).rename(tmp_path / "whole.png").read_bytes()
    for content in (whole[:300], b"no image at all", b""):
        (data / victim).write_bytes(content)
        refused(call("evolve", task, data=data, size=None), [f"image: got {data / victim}", "Replace or remove"], here)
        refused(call("pretrain", data, *TOY_TRAINING), f"image: got {data / victim}", here)


@pytest.mark.slow
def test_greyscale_palette_and_transparent_images_are_taken(task, here, image_folder, tmp_path):
    data = copy_images(image_folder, tmp_path / "data")
    for index, mode in enumerate(("L", "P", "RGBA", "LA", "1", "CMYK")):
        path = data / "trainA" / f"{index:02d}.png"
        with Image.open(path) as image:
            converted = image.convert(mode)
        path.unlink()
        converted.save(path.with_suffix(".tif" if mode == "CMYK" else ".png"))
    worked(call("evolve", task, data=data))


def test_damaged_checkpoints_are_refused_with_the_tensors_name(task, here, checkpoint, tmp_path):
    tensors = load_file(checkpoint / "cyclegan.safetensors")
    name = "A2B.generator.model.1.weight"
    damages = {
        "without tensor model.1.weight": {key: value for key, value in tensors.items() if key != name},
        "with extra tensor model.99.weight": {**tensors, "B2A.generator.model.99.weight": torch.zeros(2)},
        "tensor model.1.weight of shape (5, 3, 7, 7)": {**tensors, name: torch.zeros(5, 3, 7, 7)},
        "tensor model.1.weight with NaN": {**tensors, name: tensors[name] * float("nan")},
    }
    broken = tmp_path / "broken"
    for message, content in damages.items():
        shutil.copytree(checkpoint, broken, dirs_exist_ok=True)
        save_file(content, broken / "cyclegan.safetensors")
        refused(call("evolve", task, checkpoint=broken), ["checkpoint: got", str(broken), message], here)
    weights = (checkpoint / "cyclegan.safetensors").read_bytes()
    (broken / "cyclegan.safetensors").write_bytes(weights[: len(weights) // 2])
    refused(call("evolve", task, checkpoint=broken), ["cyclegan.safetensors", "undamaged"], here)
    (broken / "cyclegan.safetensors").unlink()
    refused(call("evolve", task, checkpoint=broken), "cyclegan.safetensors (missing)", here)
    refused(call("evolve", task, checkpoint="nowhere"), "checkpoint: got nowhere", here)
    refused(call("evolve", task, checkpoint=here), "no known files", here)


def test_a_checkpoint_without_its_other_side_is_pruned_alone_and_said_to_be(task, here, checkpoint, tmp_path):
    one = tmp_path / "one"
    one.mkdir()
    tensors = load_file(checkpoint / "cyclegan.safetensors")
    for file, part in (("latest_net_G_A.pth", "A2B.generator."), ("latest_net_D_A.pth", "A2B.discriminator.")):
        state = {key.removeprefix(part): value for key, value in tensors.items() if key.startswith(part)}
        torch.save(state, one / file)
    result = worked(call("evolve", task, checkpoint=one))
    assert "latest_net_G_B is not in" in result.stderr and "no cycle term" in result.stderr
    assert "A2B generator: resnet:ngf=4,blocks=2,norm=instance" in result.stderr
    assert "evolving generator A2B" in result.stderr and "B2A" not in result.stdout


@pytest.mark.slow
def test_places_that_cannot_be_written_or_hold_a_run_are_refused(task, here, run, image_folder, tmp_path):
    before = contents(run.directory)
    refused(call("evolve", task, out=run.directory), "expected a folder that holds no run yet. Resume the run", here)
    refused(call("pretrain", image_folder, *TOY_TRAINING, "--out", run.directory), "holds no run yet", here)
    refused(call("finetune", run.directory, "--out", run.directory, "--steps", 1), "holds no run yet", here)
    assert contents(run.directory) == before
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "run"
    refused(call("evolve", task, out=place), [f"run directory: got {place}", "a place that can be written"], here)
    refused(call("evolve", task, out=tmp_path / "file"), "a place that can be written", here)
    refused(call("pretrain", image_folder, *TOY_TRAINING, "--out", place), "a place that can be written", here)
    refused(call("finetune", run.directory, "--steps", 1, "--out", place), "a place that can be written", here)


def test_resume_takes_a_run_and_no_other_options(task, here, run, image_folder):
    before = contents(run.directory)
    refused(call("evolve", "--resume", "nowhere"), "run directory: got nowhere; expected a folder with", here)
    refused(call("evolve", "--resume", image_folder), "expected a folder with the config.json of a run", here)
    for option, value, saved in (
        ("--size", 32, 16), ("--preset", "paper", "quick"), ("--seed", 2, 1), ("--threads", 2, 1),
        ("--generations", 1, 2), ("--max-evaluations", 50, None), ("--data", here, image_folder.resolve()),
    ):  # fmt: skip
        message = [f"{option}: got {value}", f"expected {saved}, as the run began. Leave out what differs"]
        refused(call("evolve", "--resume", run.directory, option, value), message, here)
    several = call("evolve", "--resume", run.directory, "--seed", 2, "--population", 3, "--gamma", 5, "--device", "cpu")
    refused(several, "--seed, --gamma: got 2, 5.0; expected 1, 10.0, as the run began", here)
    refused(call("evolve", "--resume", run.directory, "--no-reconstruct"), "--reconstruct: got False", here)
    refused(call("evolve", "--resume", run.directory, "--out", "x"), "--out: got given with --resume", here)
    refused(call("evolve", "--resume", run.directory, "--mate", "cxUniform"), "cxGroup, as the run began", here)
    refused(call("pretrain", image_folder, "--resume", run.directory, *TOY_TRAINING), "run of ganprune pretrain", here)
    refused(call("pretrain", image_folder, "--resume", "x", "--out", "y", *TOY_TRAINING), "--out: got given", here)
    refused(call("finetune", "--resume", run.directory), "run of ganprune finetune", here)
    refused(call("finetune", run.directory, "--resume", "x"), "--resume: got x with", here)
    assert contents(run.directory) == before


@pytest.mark.slow
def test_evaluate_measures_what_is_asked(here, run, image_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("ganprune.metrics.features.Inception", lambda weights: Counted())

    def figures(*options):
        return json.loads(worked(call("evaluate", run.directory, "--json", "--no-speed", *options)).stdout)["B2A"]

    before = contents(run.directory)
    plain, asked = figures(), figures("--features", "inception", "--features-cache", here / "cache")
    assert "kid" not in plain["metrics"]["compact"] and plain["measured_on"] == "test"
    assert asked["features"] == "Counted" and len(list((here / "cache").iterdir())) == 2
    for name in ("original", "compact"):
        found = asked["metrics"][name]
        assert {key: found[key] for key in plain["metrics"][name]} == plain["metrics"][name]
        assert set(found) - set(plain["metrics"][name]) == {"kid", "kid_std", "frechet"}
    assert figures("--features", "inception", "--features-cache", here / "cache")["metrics"] == asked["metrics"]
    seen = figures("--images", "validation")
    assert seen["measured_on"] == "validation" and seen["metrics"] != plain["metrics"]
    shown = worked(call("evaluate", run.directory, "--features", "inception", "--no-speed")).stdout
    assert "KID (test, Counted)" in shown and "±" in shown
    assert contents(run.directory) == before


@pytest.mark.slow
def test_evaluate_takes_a_segmenter_from_the_command_line(here, run, image_folder, monkeypatch):
    (here / "segmenters.py").write_text(
        "def brightest(images):\n    return images.argmax(1)\n\n\ndef small(images):\n    return images[..., :4]\n"
    )
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path], raising=True)  # as the console script begins
    monkeypatch.delitem(sys.modules, "segmenters", raising=False)
    (here / "labels").mkdir()
    for path in (image_folder / "testB").iterdir():
        Image.new("L", (16, 16), 1).save(here / "labels" / path.name)
    options = ["--labels", "labels", "--device", "cpu"]
    result = worked(
        call("evaluate", run.directory, "--segmenter", "segmenters:brightest", *options, "--json", "--no-speed")
    )
    metrics = {side: figures["metrics"]["compact"] for side, figures in json.loads(result.stdout).items()}
    assert 0 <= metrics["B2A"]["mean_iou"] <= metrics["B2A"]["pixel_accuracy"] <= 1
    assert "mean_iou" not in metrics["A2B"]
    refused(call("evaluate", run.directory, "--segmenter", "segmenters:small", *options), "shape (5, 3, 16, 4)")
    refused(call("evaluate", run.directory, "--segmenter", "segmenters:nothing", *options), "segmenters:nothing")
    Image.new("L", (32, 32)).save(here / "labels" / "00.png")
    arguments = ["--segmenter", "segmenters:brightest", *options]
    refused(call("evaluate", run.directory, *arguments), ["00.png of 32x32", "expected 16x16"])
    (here / "labels" / "00.png").unlink()
    refused(call("evaluate", run.directory, *arguments), "without 00.png")
    refused(call("evaluate", run.directory, *arguments, "--segmented", "A"), "segmented: got A; expected A2B or B2A")
    refused(call("evaluate", run.directory, *options), "segmenter: got nothing; expected a --segmenter to go with")


@pytest.mark.slow
def test_what_evaluate_cannot_measure(here, run):
    for options, message in (
        (["--images", "train"], "images: got train; expected test or validation"),
        (["--features", "inceptoin"], "Did you mean 'inception'?"),
        (["--features", "inception", "--inception-weights", "nowhere.pth"], "inception weights: got nowhere.pth"),
        (["--inception-weights", "w.pth"], "expected --features inception"),
    ):
        refused(call("evaluate", run.directory, *options), message, here)


def test_what_evaluate_and_finetune_cannot_use(here, run, checkpoint, image_folder):
    refused(call("evaluate", "nowhere"), "run: got nowhere; expected a run directory or a checkpoint's folder", here)
    refused(call("evaluate", checkpoint), "data: got nothing; expected images to evaluate a checkpoint on", here)
    refused(call("evaluate", image_folder, "--data", image_folder), "no known files", here)
    refused(call("finetune", checkpoint, "--out", "new"), "expected a folder with the config.json of a run", here)
    for option, value, message in (
        ("--objective", "distill", "Did you mean 'distil'?"), ("--steps", -1, "steps: got -1"),
        ("--batch", 0, "batch: got 0"), ("--seed", -1, "seed: got -1"), ("--device", "gpu", "device: got gpu"),
        ("--average", 1, "average: got 1"),
    ):  # fmt: skip
        refused(call("finetune", run.directory, "--out", "new", option, value), message, here)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--ngf", 0, "ngf: got 0"), ("--ndf", 0, "ndf: got 0"), ("--norm", "instnce", "Did you mean 'instance'?"),
        ("--save-every", 0, "save every: got 0"), ("--batch", 0, "batch: got 0"), ("--lam", "nan", "lam: got nan"),
        ("--learning-rate", 0, "learning rate: got 0.0"), ("--learning-rate", "nan", "learning rate: got nan"),
        ("--augment", 0.5, "augment: got 0.5"), ("--pool", -1, "pool: got -1"), ("--seed", -1, "seed: got -1"),
        ("--precision", "bf16", "precision: got bf16"), ("--steps", -1, "steps: got -1"), ("--size", 8, "size: got 8"),
        ("--size", 16, "larger --size"), ("--device", "gpu", "device: got gpu"), ("--threads", 0, "threads: got 0"),
    ],
)  # fmt: skip
def test_pretrain_refuses_what_cannot_be(image_folder, here, option, value, message):
    refused(call("pretrain", image_folder, *TOY_TRAINING, option, value), message, here)


def test_pretrain_without_any_step_is_refused(image_folder, here):
    result = call("pretrain", image_folder, *TOY_TRAINING, "--steps", 0, "--decay-steps", 0)
    refused(result, "steps: got 0; expected 1 or more", here)


def interrupt_at(monkeypatch, owner, name, moment, number=signal.SIGINT):
    """Press Ctrl-C, or send another signal, during the ``moment``-th call of a method."""
    original, calls = getattr(owner, name), []

    def method(*arguments, **options):
        calls.append(1)
        if len(calls) == moment:
            os.kill(os.getpid(), number)
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, method)


@pytest.mark.parametrize(("command", "module"), [("evolve", "evolve"), ("finetune", "finetune")])
def test_ctrl_c_before_a_resumed_run_goes_on_says_that_all_is_kept(run, here, monkeypatch, command, module):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    shutil.copytree(run.directory, here / "new")
    config = json.loads((here / "new" / "config.json").read_text())
    config |= {"command": command, "from": str(run.directory), "from_sha256": ""}
    (here / "new" / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(f"ganprune.commands.{module}.begin", interrupt)
    result = call(command, "--resume", "new")
    assert result.exit_code == 130
    assert result.stderr.rstrip().endswith(f"Go on with: ganprune {command} --resume new")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["search", "finetune"])
def test_ctrl_c_says_how_to_go_on_and_the_run_does(checkpoint, image_folder, run, here, monkeypatch, moment):
    options = {"--data": image_folder, "--checkpoint": checkpoint, "--out": "new", "--size": 16, "--threads": 1}
    options |= {"--" + key.replace("_", "-"): value for key, value in QUICK.items()} | {"--device": "cpu"}
    with monkeypatch.context() as patch:
        if moment == "search":
            from ganprune.fitness import CycleFitness

            interrupt_at(patch, CycleFitness, "__call__", 8)
        else:
            interrupt_at(patch, CycleGANTrainer, "train_step", 2)
        result = call("evolve", options)
    assert result.exit_code == 130 and "Traceback" not in result.output
    assert "Interrupted. new holds every finished step." in result.stderr
    assert result.stderr.rstrip().endswith("Go on with: ganprune evolve --resume new")
    assert not (here / "new" / "summary.json").exists()
    worked(call("evolve", "--resume", "new"))
    assert outcome(RunDirectory("new")) == outcome(run)
    assert elites(RunDirectory("new")) == elites(run)


@pytest.mark.slow
def test_ctrl_c_in_pretrain_keeps_the_step(image_folder, here, monkeypatch):
    worked(call("pretrain", image_folder, "--out", "whole", *TOY_TRAINING))
    with monkeypatch.context() as patch:
        interrupt_at(patch, CycleGANTrainer, "train_step", 1)
        result = call("pretrain", image_folder, "--out", "new", *TOY_TRAINING, "--save-every", 100)
    assert result.exit_code == 130
    assert result.stderr.rstrip().endswith("Go on with: the same command with --resume new")
    worked(call("pretrain", image_folder, "--resume", "new", *TOY_TRAINING))
    resumed, whole = (here / name / "cyclegan.safetensors" for name in ("new", "whole"))
    assert resumed.read_bytes() == whole.read_bytes()


def test_ctrl_c_before_anything_is_kept_says_so(run, here, monkeypatch):
    from ganprune.commands import evaluate

    interrupt_at(monkeypatch, evaluate, "measure", 1)
    result = call("evaluate", run.directory)
    assert result.exit_code == 130
    assert result.stderr.rstrip().endswith("Interrupted. Nothing was kept.")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_finetune_says_how_to_go_on_and_does(run, here, monkeypatch, number, status):
    options = ["--steps", 4, "--batch", 1, "--device", "cpu", "--threads", 1]
    worked(call("finetune", run.directory, "--out", "whole", *options))
    with monkeypatch.context() as patch:
        interrupt_at(patch, CycleGANTrainer, "train_step", 2, number)
        result = call("finetune", run.directory, "--out", "new", "--no-dry-run", *options)  # whose step would count
    assert result.exit_code == status and "Traceback" not in result.output
    assert result.stderr.rstrip().endswith("Interrupted. new holds every finished step. "
                                           "Go on with: ganprune finetune --resume new")  # fmt: skip
    worked(shown := call("evaluate", "new", "--no-speed"))
    assert "new is unfinished" in shown.stderr and "Finish it: ganprune finetune --resume new" in shown.stderr
    refused(call("finetune", "--resume", "new", "--steps", 5), "steps: got 5; expected 4, as the run began")
    steps = []
    with monkeypatch.context() as patch:
        train_step = CycleGANTrainer.train_step
        patch.setattr(CycleGANTrainer, "train_step", lambda self: steps.append(self.step) or train_step(self))
        worked(call("finetune", "--resume", "new"))
    assert steps == [2, 3]
    for name in ("A2B.safetensors", "B2A.safetensors", "A2B.json", "samples.png"):
        assert (here / "new" / name).read_bytes() == (here / "whole" / name).read_bytes()
    assert not (here / "new" / "training.safetensors").exists()


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from ganprune.cli import main\n"
        "try: main(['evolve', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'numpy', 'deap', 'PIL', 'rich') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--population" in output and output.splitlines()[-1] == "[]"
