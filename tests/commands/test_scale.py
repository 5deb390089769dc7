"""The scale of images above 8 bits in runs, their exports and checkpoints: one for all that comes of a run."""

import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from toytask import toy_run

import ganprune
import ganprune.commands.evaluate as evaluate_module
from ganprune.cli import main
from ganprune.commands.evaluate import evaluate_run
from ganprune.data.pixels import to_uint8
from ganprune.data.values import EACH
from ganprune.models.sizing import translate
from ganprune.pipeline.generators import load_trained
from ganprune.pipeline.task import load_task

SCALE, DARKER = 1400.0, 350.0


def slices(folder, count, seed):
    """Write noise as floats, one of which reaches the scale's end."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    for index in range(count):
        values = draw.uniform(0, DARKER if index else SCALE, (20, 20)).astype(np.float32)
        values[0, :2] = 0, DARKER if index else SCALE
        Image.fromarray(values).save(folder / f"{index}.tif")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("slices")
    for seed, (folder, count) in enumerate({"trainA": 10, "trainB": 10, "testA": 4, "testB": 4}.items()):
        slices(root / folder, count, seed)
    return root


@pytest.fixture(scope="module")
def wide_run(checkpoint, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("wide") / "run"
    return toy_run(checkpoint, data, out, generations=1, population=2, finetune_steps=0)


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in (*arguments, "--threads", 1)])


def call_translate(path, image, out, *options):
    return call("translate", path, image, "--direction", "A2B", "--out", out, "--device", "cpu", *options)


def translated(network, path, scale):
    """What a network makes of a slice on that scale, in bytes."""
    values = torch.from_numpy(np.array(Image.open(path))) / scale
    return to_uint8(translate(network, (values.clamp(0, 1) * 2 - 1).expand(1, 3, -1, -1), 4))[0].int()


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1).int()


def test_a_run_records_the_scale_and_translates_on_it(wide_run, data, tmp_path):
    values = {"A": [0, SCALE], "B": [0, SCALE]}
    assert wide_run.read_json("config.json")["values"] == wide_run.read_json("A2B.json")["values"] == values
    network, dark = ganprune.load_generator(wide_run.path("A2B")), data / "testA" / "1.tif"
    result = call_translate(wide_run.directory, dark, tmp_path / "own", "--native", "--strips")
    assert result.exit_code == 0, result.output
    wanted = translated(network, dark, SCALE)
    assert (pixels(tmp_path / "own" / "1.png")[:, :, -20:] - wanted).abs().max() <= 1
    source = pixels(tmp_path / "own" / "1.png")[:, :, :20]
    assert source[:, 0, :2].tolist() == [[0, round(255 * DARKER / SCALE)]] * 3


def test_another_scale_is_taken_where_it_is_asked_for(wide_run, data, tmp_path):
    image = data / "testA" / "0.tif"
    assert call_translate(wide_run.directory, image, tmp_path, "--native", "--values", "0,350/0,1").exit_code == 0
    network, found = ganprune.load_generator(wide_run.path("A2B")), pixels(tmp_path / "0.png")
    assert (found - translated(network, image, DARKER)).abs().max() <= 1  # what is beyond it is white
    assert (found - translated(network, image, SCALE)).abs().max() > 9


def test_a_file_of_which_nothing_says_the_scale_is_refused(checkpoint, run, data, tmp_path):
    dark = data / "testA" / "1.tif"
    for path in (checkpoint, run.directory):
        result = call_translate(path, dark, tmp_path / "out", "--native")
        assert result.exit_code == 2 and "1.tif (floating point); expected images whose" in result.stderr
        assert "Give --values LOW,HIGH" in result.stderr and not (tmp_path / "out").exists()
    assert call_translate(checkpoint, dark, tmp_path / "out", "--native", "--values", "0,1400").exit_code == 0


def test_evaluate_keeps_the_scale_of_the_run(wide_run, data, tmp_path, monkeypatch):
    for folder in ("trainA", "trainB", "testA", "testB"):  # none of these reaches the scale's end
        (tmp_path / folder).mkdir()
        for number in range(10):
            shutil.copy(data / "testA" / "1.tif", tmp_path / folder / f"{number}.tif")
    seen = []
    monkeypatch.setattr(evaluate_module, "measure", lambda task, *rest: seen.append(task.images) or {})
    evaluate_run(wide_run.directory, data=tmp_path, size=20, device="cpu")
    assert seen[0].frame == (20, 20)
    assert seen[0]["A"].test.tensor().max() == pytest.approx(2 * DARKER / SCALE - 1, abs=1e-5)


def test_pairs_are_left_out_of_the_figures_on_request(wide_run):
    result = call("evaluate", wide_run.directory, "--no-pairs", "--json", "--no-speed", "--device", "cpu")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)["A2B"]["metrics"]["compact"]
    assert "l_gena" in figures and not {"paired_l1", "psnr", "ssim"} & set(figures)


def test_a_checkpoint_is_evaluated_on_what_is_found_with_a_word(checkpoint, data):
    result = call("evaluate", checkpoint, "--data", data, "--size", 16, "--json", "--device", "cpu")
    assert result.exit_code == 0 and "paired_l1" in result.stdout, result.output
    assert "Taken for" in result.stderr and "values of domain A: 0 to 1400" in result.stderr
    assert "(--no-pairs)" in result.stderr


def test_an_export_says_the_scale_and_keeps_it(wide_run, data, tmp_path):
    out = tmp_path / "exported"
    result = call("export", wide_run.directory, "--format", "torch", "--out", out, "--no-speed")
    assert result.exit_code == 0, result.output
    facts = json.loads((out / "A2B.json").read_text())
    assert facts["values"]["A"] == [0, SCALE]
    assert facts["preprocessing"]["from_values"] == "2 * (x - 0) / 1400 - 1, limited to -1 and 1"
    assert facts["preprocessing"]["to_values"] == "0 + (y + 1) / 2 * 1400"
    assert "- From values of more than 8 bits, A2B: `2 * (x - 0) / 1400 - 1" in (out / "README.md").read_text()
    dark = data / "testA" / "1.tif"
    assert call_translate(wide_run.directory, dark, tmp_path / "run").exit_code == 0
    assert call_translate(out, dark, tmp_path / "export").exit_code == 0
    assert (pixels(tmp_path / "run" / "1.png") - pixels(tmp_path / "export" / "1.png")).abs().max() <= 1


def test_a_run_that_recorded_nothing_is_read_as_it_was(run, data, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(run.directory, old)
    config = run.read_json("config.json")
    assert config.pop("values") == {} and config.pop("background") == "white"
    (old / "config.json").write_text(json.dumps(config))
    assert load_trained(old).framing.values == EACH
    assert call_translate(old, data / "testA" / "1.tif", tmp_path / "out").exit_code == 0


def test_a_pretrained_checkpoint_brings_its_scale_along(checkpoint, data, tmp_path):
    folder = tmp_path / "pretrained"
    shutil.copytree(checkpoint, folder)
    made = {"size": 16, "values": {"A": [0, 2800], "B": [0, 2800]}, "background": "black"}
    (folder / "config.json").write_text(json.dumps({"command": "pretrain", "data": made}))
    images = load_task(folder, data, 18, "cpu").images
    assert images.framing.to_json() == {**made, "size": 18} and not any("values" in line for line in images.taken_for)
    (folder / "config.json").write_text("no JSON of ours")
    assert load_task(folder, data, 18, "cpu").images.framing.values["A"] == (0, SCALE)


def test_a_resumed_run_takes_no_other_scale(wide_run):
    result = call("evolve", "--resume", wide_run.directory, "--values", "0,700")
    assert result.exit_code == 2 and "--values" in result.stderr and "as the run began" in result.stderr
    result = call("evolve", "--resume", wide_run.directory, "--background", "black")
    assert result.exit_code == 2 and "--background: got black; expected white, as the run began" in result.stderr
    result = call("evolve", "--resume", wide_run.directory, "--no-pairs")
    assert result.exit_code == 2 and "--no-pairs: got True; expected False" in result.stderr
