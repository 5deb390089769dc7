"""``ganprune export``: what it writes, that it is the same function, and what it refuses with nothing written."""

import json
import shutil

import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from networks import toy_generator
from toytask import contents, toy_run

import ganprune
import ganprune.commands.export as export_module
from ganprune.cli import main
from ganprune.data.pixels import read_image, to_float
from ganprune.data.sizes import Framing
from ganprune.deploy.files import open_program
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.sizing import translate
from ganprune.pipeline.generators import load_trained

FILES = {f"{side}.{suffix}" for side in ("A2B", "B2A") for suffix in ("onnx", "pt2", "json", "safetensors", "pth")}


def call(run, *arguments, out="out"):
    line = ["export", run, *arguments, "--out", out, "--threads", 1, "--repeats", 1]
    return CliRunner().invoke(main, [str(part) for part in line])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """Both directions in every format, and what was printed."""
    folder = tmp_path_factory.mktemp("exported") / "deep" / "out"
    result = call(run.directory, "--format", "onnx", "--format", "pt2", "--format", "torch", out=folder)
    assert result.exit_code == 0, (result.output, result.exception)
    return folder, result


def real_images(folder, size=16):
    return to_float(torch.stack([read_image(path, size) for path in sorted(folder.iterdir())]))


def in_onnxruntime(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"image": images.numpy()})[0])


def refused(result, *words, folder=None, before=None):
    assert result.exit_code == 2 and "Traceback" not in result.output, (result.output, result.exception)
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and all(word in errors[0] for word in words), errors
    if folder is not None:
        assert contents(folder) == before


@pytest.mark.slow
def test_everything_asked_for_is_written_and_reported(exported):
    folder, result = exported
    assert {path.name for path in folder.iterdir()} == FILES | {"README.md"}
    for side in ("A2B", "B2A"):
        for name in ("onnx", "pt2", "torch"):
            assert f"{side} {name}: differs from PyTorch by at most " in result.stdout
        for engine in ("eager", "onnxruntime"):
            assert f"{side} {engine}: " in result.stdout and "times fewer MACs (quotient " in result.stdout
    readme = (folder / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in FILES) and "(N, 3, 16, 16)" in readme and "quotient" in readme


@pytest.mark.slow
@pytest.mark.parametrize("side", ["A2B", "B2A"])
def test_every_format_translates_as_the_run_does(exported, run, image_folder, side):
    folder = exported[0]
    real = real_images(image_folder / f"test{side[0]}")
    wanted = translate(ganprune.load_generator(run.path(side)), real, 4)
    assert (in_onnxruntime(folder / f"{side}.onnx", real) - wanted).abs().max() < 1e-4
    assert (open_program(folder / f"{side}.pt2")(real) - wanted).abs().max() < 1e-4
    assert torch.equal(translate(ganprune.load_generator(folder / side), real, 4), wanted)


@pytest.mark.slow
def test_an_export_can_be_translated_with_like_a_run(exported, run, image_folder):
    trained = load_trained(exported[0])
    assert set(trained.generators) == {"A2B", "B2A"} and trained.framing.size == (16, 16)
    assert trained.checkpoint is None and trained.pruned
    line = ["translate", exported[0], image_folder / "testA", "--direction", "A2B", "--out", "out", "--strips"]
    assert CliRunner().invoke(main, [str(part) for part in line]).exit_code == 0


@pytest.mark.slow
def test_the_json_keeps_what_the_run_knew(exported, run):
    before, after = run.read_json("A2B.json"), json.loads((exported[0] / "A2B.json").read_text())
    assert {key: after[key] for key in before} == before
    assert after["preprocessing"]["kind"] == "compact" and after["layers"][0]["kind"] == "ReflectionPad2d"


@pytest.mark.slow
def test_sizes_that_no_generator_takes_are_framed_in_the_file(run, image_folder):
    result = call(run.directory, "--size", "17x22", "--direction", "A2B", "--no-speed", "--format", "onnx")
    assert result.exit_code == 0, result.output
    assert "eager" not in result.stdout
    real = real_images(image_folder / "testA", (17, 22))
    wanted = translate(ganprune.load_generator(run.path("A2B")), real, 4)
    assert (in_onnxruntime("out/A2B.onnx", real) - wanted).abs().max() < 1e-4


@pytest.mark.slow
def test_free_sizes_and_other_images(run, image_folder, tmp_path):
    images = str(image_folder / "trainB" / "0*.png")
    options = ["--dynamic-size", "--direction", "B2A", "--no-speed", "--images", images, "--check-images", 3]
    result = call(run.directory, *options)
    assert result.exit_code == 0 and "compared with PyTorch on 3 images" in result.stderr, result.output
    real = real_images(image_folder / "testB", (24, 36))
    wanted = translate(ganprune.load_generator(run.path("B2A")), real, 4)
    assert (in_onnxruntime("out/B2A.onnx", real) - wanted).abs().max() < 1e-4
    assert "H and W multiples of 4; made for 16x16" in (tmp_path / "out" / "README.md").read_text()


def test_originals_and_checkpoints_are_exported_too(run, checkpoint, image_folder, tmp_path):
    original = load_cyclegan(checkpoint)["A2B"].generator
    real = real_images(image_folder / "testA")
    options = ["--format", "torch", "--direction", "A2B"]
    assert call(run.directory, *options, "--original", out="one").exit_code == 0
    images = ["--images", image_folder / "testA"]
    assert call(checkpoint, *options, "--size", 16, *images, out="two").exit_code == 0
    for out in ("one", "two"):
        network = ganprune.load_generator(f"{out}/A2B")
        assert torch.equal(translate(network, real, 4), translate(original, real, 4))
        assert json.loads((tmp_path / out / "A2B.json").read_text())["preprocessing"]["kind"] == "original"


def test_without_the_original_nothing_is_timed(run, tmp_path):
    shutil.copytree(run.directory, tmp_path / "moved")
    config = run.read_json("config.json")
    (tmp_path / "moved" / "config.json").write_text(json.dumps({**config, "checkpoint": str(tmp_path / "gone")}))
    result = call("moved", "--format", "torch")
    assert result.exit_code == 0 and "there is no speed-up to measure: checkpoint: got" in result.stderr
    assert "quotient" not in result.stdout


@pytest.mark.slow
def test_a_file_that_computes_something_else_is_refused(run, monkeypatch, tmp_path):
    plain = ["--direction", "A2B", "--no-speed"]
    message = ["onnx of A2B: got a difference of ", "expected at most 0.", "Nothing was written"]
    refused(call(run.directory, *plain, "--tolerance", 0), *message, folder=tmp_path, before={})
    original = export_module.open_program

    def wrong(path):
        run = original(path)
        return lambda images: run(images) + torch.where(images[:, :, :1, :1] > 0, torch.nan, 0.0)

    monkeypatch.setattr(export_module, "open_program", wrong)
    result = call(run.directory, *plain, "--format", "pt2")
    refused(result, "pt2 of A2B: got a difference of inf", folder=tmp_path, before={})


def test_nothing_is_overwritten_and_half_an_export_is_none(run, tmp_path, monkeypatch):
    options = ["--format", "torch", "--no-speed"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert call(run.directory, *options, "--direction", "B2A").exit_code == 0
    before = contents(tmp_path)
    taken = ["out/B2A.json (there already)", "Choose another --out"]
    refused(call(run.directory, *options), *taken, folder=tmp_path, before=before)
    refused(call(run.directory, *options, "--direction", "A2B"), "README.md (there", folder=tmp_path, before=before)
    original, calls = shutil.copyfile, []

    def full(source, target):
        calls.append(target)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return original(source, target)

    monkeypatch.setattr(export_module.shutil, "copyfile", full)
    refused(call(run.directory, *options, out="new"), "No space left on device", "make room")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.slow
def test_mistakes_are_refused_before_anything_is_written(run, checkpoint, image_folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    shutil.copytree(run.directory, tmp_path / "unfinished", ignore=shutil.ignore_patterns("summary.json"))
    shutil.copytree(run.directory, tmp_path / "elsewhere")
    config = run.read_json("config.json")
    (tmp_path / "elsewhere" / "config.json").write_text(json.dumps({**config, "data": str(tmp_path / "gone")}))
    before = contents(tmp_path)
    at = {"folder": tmp_path, "before": before}
    refused(call("nowhere"), "run: got nowhere; expected a run directory", **at)
    refused(call("unfinished"), "unfinished", "ganprune evolve --resume", **at)
    refused(call(run.directory, "--format", "onxn"), "format: got onxn", "Did you mean 'onnx'?", **at)
    refused(call(run.directory, "--direction", "AB"), "direction: got AB", "Did you mean 'A2B'?", **at)
    refused(call(run.directory, "--check-images", 0), "check images: got 0", "Correct --check-images", **at)
    refused(call(run.directory, "--tolerance", "nan"), "tolerance: got nan; expected 0 or more", **at)
    refused(call(run.directory, "--size", 8), "size: got 8", **at)
    refused(call(run.directory, "--images", "none.png"), "image: got none.png", **at)
    refused(call(run.directory, out="file"), "out: got file; expected a folder that can be written", **at)
    refused(call(run.directory, out="file/in"), "out: got ", "file; expected a folder that can be written", **at)
    refused(call("elsewhere"), "images: got ", "gone/testA", "Give some with --images", **at)
    refused(call(checkpoint, "--images", image_folder / "testA"), "size: got nothing", "Give --size", **at)
    refused(call(checkpoint, "--size", 16), "images: got nothing", "Give some with --images", **at)
    refused(call(checkpoint, "--original", "--size", 16), "original: got", "which is no run", **at)
    monkeypatch.setattr("ganprune.deploy.files.missing_packages", lambda: ["onnx", "onnxscript"])
    refused(call(run.directory), "no package onnx, onnxscript", "pip install 'ganprune[onnx]'", **at)


@pytest.mark.slow
def test_an_export_of_a_run_of_crops_keeps_its_scale_unless_another_size_is_asked_for(
    checkpoint, image_folder, tmp_path
):
    made = toy_run(checkpoint, image_folder, "crops", size=Framing((16, 16), (18, 24)), generations=1, finetune_steps=0)
    plain = ["--format", "torch", "--direction", "A2B", "--no-speed"]
    assert call(made.directory, *plain, out="own").exit_code == 0
    own = load_trained("own").framing
    assert (own.size, own.load) == ((16, 16), (18, 24))
    assert call(made.directory, *plain, "--size", 32, out="other").exit_code == 0
    other = load_trained("other").framing
    assert (other.size, other.load) == ((32, 32), None)


def test_damaged_discriminators_are_not_read(image_folder, tmp_path):
    torch.save(toy_generator().state_dict(), tmp_path / "netG_A2B.pth")
    (tmp_path / "netD_B.pth").write_bytes(b"damaged")
    result = call(tmp_path, "--format", "torch", "--size", 16, "--images", image_folder / "testA")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "A2B.pth").is_file()
