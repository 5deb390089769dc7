"""Translating files: names, sizes, strips, what is skipped, and what is refused before anything is written."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import write_images
from networks import toy_generator
from PIL import Image
from toytask import contents, toy_run

import ganprune
import ganprune.commands.translate as translate_module
from ganprune.cli import main
from ganprune.commands.translate import name_outputs
from ganprune.data.pixels import read_image, to_float, to_uint8
from ganprune.data.sizes import Framing
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.sizing import translate
from ganprune.report.figures import GAP


@pytest.fixture
def photos(tmp_path):
    """Three images of one size, and a wide one."""
    write_images(tmp_path / "photos", ["a", "b", "c"], size=(20, 18))
    write_images(tmp_path / "wide", ["w"], seed=3, size=(37, 18))
    shutil.move(tmp_path / "wide" / "w.png", tmp_path / "photos" / "w.png")
    return tmp_path / "photos"


def call(run, *arguments, direction="A2B", out="out"):
    line = ["translate", run, *arguments, "--direction", direction, "--out", out, "--device", "cpu", "--threads", 1]
    return CliRunner().invoke(main, [str(part) for part in line if part is not None])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1).int()


def wanted(network, path, size=None):
    """What a network makes of one file, in bytes."""
    image = to_float(read_image(path, size))[None]
    return to_uint8(translate(network, image, 4))[0].int()


def close(first, second):
    return first.shape == second.shape and (first - second).abs().max() <= 1  # rounding


def refused(result, *words, folder=None, before=None):
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and all(word in errors[0] for word in words), errors
    if folder is not None:
        assert contents(folder) == before


@pytest.mark.slow
def test_names_are_kept_and_pixels_are_the_networks(run, photos):
    result = call(run.directory, photos)
    assert result.exit_code == 0 and "4 images written: out" in result.stdout, result.output
    assert "translating 4 images A2B at 16x16" in result.stderr and "4/4 images" in result.stderr
    assert sorted(os.listdir("out")) == ["a.png", "b.png", "c.png", "w.png"]
    network = ganprune.load_generator(run.path("A2B"))
    for name in os.listdir("out"):
        assert close(pixels(f"out/{name}"), wanted(network, photos / name, (16, 16)))


def test_the_other_direction_is_the_other_generator(run, photos):
    assert call(run.directory, photos / "a.png", direction="B2A").exit_code == 0
    assert close(pixels("out/a.png"), wanted(ganprune.load_generator(run.path("B2A")), photos / "a.png", (16, 16)))
    assert not close(pixels("out/a.png"), wanted(ganprune.load_generator(run.path("A2B")), photos / "a.png", (16, 16)))


def test_files_folders_and_patterns_are_each_taken_once(run, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "more" / "deep")
    (tmp_path / "more" / "deep" / "notes.txt").write_text("no image, and not asked for")
    (tmp_path / "photos" / "[odd].png").write_bytes((photos / "a.png").read_bytes())
    arguments = [photos / "[odd].png", photos / "b.png", "photos/b*.png", "more/**/w.*"]
    assert "3 images written" in call(run.directory, *arguments).stdout
    assert sorted(os.listdir("out")) == ["[odd].png", "b.png", "w.png"]


@pytest.mark.parametrize("options", [["--native"], ["--size", "22x30"], ["--size", 17]])
def test_images_that_are_neither_square_nor_multiples_of_4(run, photos, options):
    assert call(run.directory, photos, *options).exit_code == 0
    network = ganprune.load_generator(run.path("A2B"))
    size = {"22x30": (22, 30), 17: (17, 17)}.get(options[-1])
    for name in ("b.png", "w.png"):
        assert close(pixels(f"out/{name}"), wanted(network, photos / name, size))
    assert Image.open("out/w.png").size == ((37, 18) if size is None else size[::-1])


def test_results_get_their_images_size_back(run, photos):
    assert call(run.directory, photos, "--original-size").exit_code == 0
    assert Image.open("out/a.png").size == (20, 18) and Image.open("out/w.png").size == (37, 18)


@pytest.mark.parametrize("batch", [1, 3])
def test_batches_change_nothing(run, photos, batch):
    assert call(run.directory, photos, "--native", out="one").exit_code == 0
    assert call(run.directory, photos, "--native", "--batch", batch, out="other").exit_code == 0
    for name in os.listdir(photos):
        assert close(pixels(f"one/{name}"), pixels(f"other/{name}"))


def test_the_original_generator_on_request(run, checkpoint, photos):
    assert call(run.directory, photos, "--original").exit_code == 0
    original = load_cyclegan(checkpoint)["A2B"].generator
    assert close(pixels("out/a.png"), wanted(original, photos / "a.png", (16, 16)))
    assert call(checkpoint, photos, "--size", 16, out="same").exit_code == 0
    assert torch.equal(pixels("same/a.png"), pixels("out/a.png"))


def pictures(path, width):
    """The pictures of a strip."""
    strip = pixels(path)
    count = (strip.shape[2] + GAP) // (width + GAP)
    assert strip.shape[2] == count * (width + GAP) - GAP
    return [strip[:, :, start : start + width] for start in range(0, strip.shape[2], width + GAP)]


def test_strips_show_source_original_and_compact(run, checkpoint, photos):
    assert call(run.directory, photos, "--strips").exit_code == 0
    source, original, compact = pictures("out/a.png", 16)
    assert torch.equal(source, read_image(photos / "a.png", 16).int())
    assert close(original, wanted(load_cyclegan(checkpoint)["A2B"].generator, photos / "a.png", (16, 16)))
    assert close(compact, wanted(ganprune.load_generator(run.path("A2B")), photos / "a.png", (16, 16)))
    assert call(run.directory, photos, "--strips", "--original-size", out="large").exit_code == 0
    assert torch.equal(pictures("large/w.png", 37)[0], read_image(photos / "w.png").int())
    assert call(checkpoint, photos, "--strips", "--native", out="two").exit_code == 0
    assert len(pictures("two/w.png", 37)) == 2


def test_a_run_whose_checkpoint_is_gone_still_translates(run, photos, tmp_path):
    shutil.copytree(run.directory, tmp_path / "moved")
    config = run.read_json("config.json")
    (tmp_path / "moved" / "config.json").write_text(json.dumps({**config, "checkpoint": str(tmp_path / "gone")}))
    assert call("moved", photos).exit_code == 0
    result = call("moved", photos, "--strips", out="strips")
    assert result.exit_code == 0 and "strips without the original generator: checkpoint: got" in result.stderr
    assert len(pictures("strips/a.png", 16)) == 2
    refused(call("moved", photos, "--original", out="x"), "checkpoint: got", "gone")


def test_what_cannot_be_read_is_skipped_and_told(run, photos, tmp_path):
    whole = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(whole[: len(whole) // 2])
    (photos / "c.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("words")
    write_images(tmp_path / "small", ["dot"], size=(15, 40))
    result = call(run.directory, photos, "notes.txt", tmp_path / "small", "--native")
    assert result.exit_code == 1 and "2 images written: out" in result.stdout and "Traceback" not in result.output
    assert sorted(os.listdir("out")) == ["a.png", "w.png"]
    told = result.stderr[result.stderr.index("Skipped 4:") :]
    for name in ("b.png (", "c.png (", "notes.txt (", "dot.png (40x15, smaller than 16 pixels"):
        assert name in told
    assert call(run.directory, photos / "c.png", out="none").exit_code == 1


def test_what_is_too_small_for_a_deep_generator_is_skipped_and_told(tmp_path):
    torch.save(toy_generator(ngf=2, downsamplings=4, blocks=1).state_dict(), tmp_path / "latest_net_G.pth")
    write_images(tmp_path / "small", ["a"], size=(20, 40))
    write_images(tmp_path / "large", ["b"], size=(33, 40))
    result = call(tmp_path / "latest_net_G.pth", tmp_path / "small", tmp_path / "large", "--native")
    assert "a.png (40x20, smaller than 32 pixels: give --size)" in result.output, result.output
    assert pixels("out/b.png").shape == (3, 40, 33)


def test_what_is_too_large_for_the_memory_is_left_out_and_the_rest_goes_on(run, photos, monkeypatch):
    original, seen = translate_module.translate, []

    def small_memory(network, images, multiple):
        seen.append(tuple(images.shape[:1] + images.shape[2:]))
        if images[:, 0].numel() > 18 * 20:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate")
        return original(network, images, multiple)

    monkeypatch.setattr(translate_module, "translate", small_memory)
    result = call(run.directory, photos, "--native")
    assert result.exit_code == 1 and "3 images written" in result.stdout
    assert "w.png (too large for the memory: give --size)" in result.stderr
    assert seen == [(3, 18, 20), (1, 18, 20), (1, 18, 20), (1, 18, 20), (1, 18, 37)]

    def broken(network, images, multiple):
        raise RuntimeError("something else")

    monkeypatch.setattr(translate_module, "translate", broken)
    assert isinstance(call(run.directory, photos, out="x").exception, RuntimeError)


def test_equal_names_keep_what_tells_them_apart(tmp_path):
    def names(*files):
        return [str(name) for name in name_outputs([tmp_path / file for file in files])]

    assert names("x/a.jpg", "y/b.png") == ["a.png", "b.png"]
    assert names("x/a.jpg", "y/a.jpg", "y/b.png") == ["x/a.png", "y/a.png", "b.png"]
    assert names("x/a.jpg", "x/a.png") == ["a.jpg.png", "a.png.png"]
    assert names("x/a.jpg", "x/A.PNG") == ["a.jpg.png", "A.PNG.png"]  # one file where case does not count
    assert names("p/a.png", "p/q/a.png", "p/q/r/a.png") == ["a.png", "q/a.png", "q/r/a.png"]
    assert names("x/m/a.jpg", "x/m/a.png", "y/m/a.png") == ["x/m/a.jpg.png", "x/m/a.png.png", "y/m/a.png"]


def test_two_folders_of_equal_names_go_side_by_side(run, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "other")
    assert "8 images written" in call(run.directory, photos, "other").stdout
    assert sorted(os.listdir("out")) == ["other", "photos"]
    assert torch.equal(pixels("out/other/a.png"), pixels("out/photos/a.png"))


def test_no_input_is_ever_overwritten_and_nothing_else_unasked(run, photos):
    before = contents(photos)
    message = ["which is an input", "Choose another --out"]
    refused(call(run.directory, photos, out=photos), *message, folder=photos, before=before)
    refused(call(run.directory, photos, "--overwrite", out=photos), *message, folder=photos, before=before)
    os.symlink(photos, "link")
    refused(call(run.directory, photos, "--overwrite", out="link"), *message, folder=photos, before=before)
    assert call(run.directory, photos / "a.png").exit_code == 0
    assert call(run.directory, photos / "b.png").exit_code == 0
    words = ["out: got out/a.png and 1 more (there already)", "--overwrite"]
    refused(call(run.directory, photos), *words)
    assert sorted(os.listdir("out")) == ["a.png", "b.png"]
    assert call(run.directory, photos, "--overwrite", "--size", 20).exit_code == 0
    assert Image.open("out/a.png").size == (20, 20)


def test_mistakes_are_refused_before_anything_is_written(run, checkpoint, photos, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "taken" / "a.png").mkdir(parents=True)
    shutil.copytree(run.directory, tmp_path / "unfinished", ignore=shutil.ignore_patterns("summary.json"))
    before = contents(tmp_path)
    at = {"folder": tmp_path, "before": before}
    refused(call("nowhere", photos), "run: got nowhere; expected a run directory or a checkpoint's folder", **at)
    refused(call("unfinished", photos), "unfinished", "ganprune evolve --resume", **at)
    refused(call("empty", photos), "checkpoint: got empty (no known files)", **at)
    refused(call(run.directory, photos, direction="a2b"), "direction: got a2b", "Did you mean 'A2B'?", **at)
    refused(call(run.directory, photos, "horse.jpg"), "image: got horse.jpg; expected a file, a folder", **at)
    refused(call(run.directory, "photos/*.jpeg"), "image: got photos/*.jpeg", **at)
    refused(call(run.directory, "empty"), "image folder: got empty (no images)", **at)
    refused(call(run.directory), "Missing argument 'PATHS...'", **at)
    refused(call(run.directory, photos, "--native", "--size", 16), "--native: got given with --size 16x16", **at)
    refused(call(run.directory, photos, "--size", "big"), "size: got 'big'", **at)
    refused(call(run.directory, photos, "--batch", 0), "batch: got 0; expected 1 or more", **at)
    refused(call(run.directory, photos, out="file"), "out: got file", "a place that can be written", **at)
    refused(call(run.directory, photos, "--overwrite", out="taken"), "taken/a.png (a folder)", **at)
    refused(call(checkpoint, photos), "size: got nothing", "Give --size, or --native", **at)
    refused(call(checkpoint, photos, "--original", "--native"), "original: got", "which is no run", **at)


@pytest.mark.slow
def test_a_run_of_crops_translates_whole_images_at_the_crops_scale(checkpoint, image_folder, photos):
    settings = {"generations": 1, "finetune_steps": 0}
    for load, sizes in (("own", [(20, 18), (37, 18)]), ((18, 24), [(24, 18), (24, 18)])):
        made = toy_run(checkpoint, image_folder, f"run-{load[0]}", size=Framing((16, 16), load), **settings)
        out = f"out-{load[0]}"
        assert call(made.directory, photos, out=out).exit_code == 0
        assert [Image.open(f"{out}/{name}.png").size for name in ("a", "w")] == sizes


def test_ctrl_c_keeps_what_is_done(run, photos, monkeypatch):
    original, calls = translate_module.translate, []

    def pressed(*arguments):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    monkeypatch.setattr(translate_module, "translate", pressed)
    result = call(run.directory, photos, "--batch", 1)
    assert result.exit_code == 130 and "What was translated so far is in out." in result.stderr
    assert sorted(os.listdir("out")) == ["a.png", "b.png"]


def test_damaged_discriminators_are_not_read(photos, tmp_path):
    generator = toy_generator(seed=3)
    (tmp_path / "public").mkdir()
    torch.save({"state_dict": generator.state_dict()}, tmp_path / "public" / "netG_A2B.pth")
    (tmp_path / "public" / "netD_B.pth").write_bytes(b"damaged")
    assert call("public", photos / "a.png", "--size", 16).exit_code == 0
    assert close(pixels("out/a.png"), wanted(generator.eval(), photos / "a.png", (16, 16)))


def test_a_lone_generator_is_the_side_that_is_said(photos, tmp_path):
    torch.save(toy_generator(seed=3).state_dict(), tmp_path / "mine.pth")
    refused(
        call("mine.pth", photos / "a.png", "--size", 16, direction="B2A"), "B2A, which mine.pth lacks", "--side B2A"
    )
    assert call("mine.pth", photos / "a.png", "--size", 16, "--side", "B2A", direction="B2A").exit_code == 0
