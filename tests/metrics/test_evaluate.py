"""The table of figures: size and speed of both generators, quality on test images, paired figures with known truth."""

import io
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import Counted, toy_cyclegan, toy_generator, toy_images
from PIL import Image
from rich.console import Console

from ganprune.data.images import UnpairedImages
from ganprune.errors import UserError
from ganprune.metrics.evaluate import evaluate, latency_figures, size_figures
from ganprune.metrics.fid import frechet_distance
from ganprune.metrics.kid import kernel_distance
from ganprune.metrics.measures import Measures, Wanted
from ganprune.metrics.rows import METRICS, Metric, compute_figures
from ganprune.metrics.segmentation import Segmentation, confusion_matrix, scores
from ganprune.pipeline.task import load_toy
from ganprune.report.figures import image_grid, save_grid
from ganprune.report.summary import summary_table

SIDES = {"A2B": ("A", "B"), "B2A": ("B", "A")}


@pytest.fixture(scope="module")
def other_pair():
    """Generators that are not the original's, and narrower."""
    return {name: toy_generator(seed=40 + index, ngf=2) for index, name in enumerate(SIDES)}


def test_the_original_against_itself_has_no_loss(cyclegan, images):
    own = {name: side.generator for name, side in cyclegan.items()}
    table = evaluate(cyclegan, own, images)
    assert list(table) == ["A2B", "B2A"]
    for figures in table.values():
        assert figures["parameters"]["ratio"] == 1
        assert figures["parameters"]["original"] == figures["parameters"]["compact"] > 0
        assert all(figures["macs"][convention]["ratio"] == 1 for convention in ("input_size", "output_size"))
        assert figures["memory_mb"]["compact"] == figures["memory_mb"]["original"]
        original, compact = figures["metrics"]["original"], figures["metrics"]["compact"]
        assert compact["l_disa"] == compact["l_gena"] == 0
        assert {name: compact[name] for name in original} == original
    assert table["A2B"]["metrics"] != table["B2A"]["metrics"]


@torch.no_grad()
@pytest.mark.parametrize("side", SIDES)
def test_quality_figures_by_hand(cyclegan, images, other_pair, side):
    metrics = evaluate(cyclegan, other_pair, images)[side]["metrics"]
    back = {"A2B": "B2A", "B2A": "A2B"}[side]
    source, target = (images[domain].test for domain in SIDES[side])
    real, generator, judge = source.tensor(), cyclegan[side].generator, cyclegan[side].discriminator
    fake, wanted = other_pair[side](real), generator(real)

    def mse(first, second):
        return pytest.approx(float((first - second).square().mean()), rel=1e-4)

    assert metrics["compact"]["l_gena"] == mse(fake, wanted)
    assert metrics["compact"]["l_disa"] == mse(judge(fake), judge(wanted))
    assert metrics["compact"]["l_cyc"] == mse(other_pair[back](fake), real)
    assert metrics["original"]["l_cyc"] == mse(cyclegan[back].generator(wanted), real)

    names = sorted({path.stem for path in source.paths} & {path.stem for path in target.paths})
    assert len(names) == 3
    errors = []
    for name in names:
        drawn = fake[[path.stem for path in source.paths].index(name)]
        truth = target[[path.stem for path in target.paths].index(name)].float() / 255
        errors.append((drawn + 1) / 2 - truth)
    errors = torch.stack(errors)
    assert metrics["compact"]["paired_l1"] == pytest.approx(float(errors.abs().mean()), rel=1e-4)
    decibels = [-10 * math.log10(float(error.square().mean())) for error in errors]
    assert metrics["compact"]["psnr"] == pytest.approx(sum(decibels) / 3, rel=1e-4)


def test_the_pooled_discriminator_changes_l_disa_alone(cyclegan, images, other_pair):
    maps, means = (evaluate(cyclegan, other_pair, images, discriminator_output=o)["A2B"]["metrics"]["compact"]
                   for o in ("map", "mean"))  # fmt: skip
    assert means["l_disa"] < maps["l_disa"]
    assert {**means, "l_disa": 0} == {**maps, "l_disa": 0}


def test_figures_are_json_and_sizes_are_the_networks_own(cyclegan, images, other_pair):
    table = evaluate(cyclegan, other_pair, images)
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    for side, figures in table.items():
        counts = [sum(p.numel() for p in n.parameters()) for n in (cyclegan[side].generator, other_pair[side])]
        assert figures["parameters"] == {
            "original": counts[0], "compact": counts[1], "ratio": counts[0] / counts[1]
        }  # fmt: skip
        assert figures["memory_mb"]["compact"] == pytest.approx(counts[1] * 4 / 2**20)
        for macs in figures["macs"].values():
            assert macs["ratio"] == pytest.approx(macs["original"] / macs["compact"]) and macs["ratio"] > 2
        latency = figures["latency_ms"]
        assert latency["speedup"] == pytest.approx(latency["original"] / latency["compact"])
        assert min(latency.values()) > 0


def test_macs_grow_with_the_image_and_parameters_do_not():
    network = toy_generator()
    small, large = (size_figures(network, network, size) for size in (16, 32))
    assert large["parameters"] == small["parameters"]
    for convention, macs in large["macs"].items():
        assert macs["original"] == 4 * small["macs"][convention]["original"]
    assert large["macs"]["output_size"]["original"] > large["macs"]["input_size"]["original"]


def test_latency_is_measured_on_both_networks():
    calls = {"original": 0, "compact": 0}
    networks = [toy_generator(), toy_generator(ngf=2)]
    for name, network in zip(calls, networks, strict=True):
        network.register_forward_hook(lambda *arguments, name=name: calls.__setitem__(name, calls[name] + 1))
    figures = latency_figures(*networks, 16)
    assert calls["original"] == calls["compact"] > 1
    assert set(figures) == {"original", "compact", "speedup"}


def test_without_common_names_paired_figures_are_absent(cyclegan, tmp_path, other_pair):
    for folder in ("trainA", "trainB", "testA", "testB", "valA", "valB"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (16, 16), "red").save(tmp_path / folder / f"only-{folder}.png")
    images = UnpairedImages(tmp_path, 16)
    figures = evaluate(cyclegan, other_pair, images)["A2B"]["metrics"]
    assert set(figures["original"]) == {"l_cyc"}
    assert set(figures["compact"]) == {"l_disa", "l_gena", "l_cyc"}
    assert Measures(images).truth("A2B") is None


def test_a_grid_shows_every_image_at_its_place(tmp_path):
    rows = {"input": toy_images(3, dtype=torch.float32), "output": toy_images(3, seed=6, dtype=torch.float32)}
    save_grid(tmp_path / "grid.png", {"A2B": rows, "B2A": rows}, zoom=2)
    page = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"))
    assert np.array_equal(page, np.asarray(image_grid({"A2B": rows, "B2A": rows}, zoom=2)))
    for images in rows.values():
        for image in images:
            pixels = ((image.numpy() + 1) * 127.5).round().astype(np.uint8).transpose(1, 2, 0)
            enlarged = pixels.repeat(2, 0).repeat(2, 1)
            places = np.argwhere((page == enlarged[0, 0]).all(-1))
            hits = [np.array_equal(page[top : top + 32, left : left + 32], enlarged) for top, left in places]
            assert sum(hits) == 2  # once in each section


@torch.no_grad()
def test_distances_are_between_translations_and_real_images_of_the_target_domain(cyclegan, images, other_pair):
    features = Counted()
    table = evaluate(cyclegan, other_pair, images, measures=Measures(images, features=features))
    for side, (source, target) in SIDES.items():
        assert table[side]["features"] == "Counted"
        real = features(images[target].test.tensor())
        generators = {"original": cyclegan[side].generator, "compact": other_pair[side]}
        for name, generator in generators.items():
            found, values = table[side]["metrics"][name], features(generator(images[source].test.tensor()))
            assert found["frechet"] == pytest.approx(frechet_distance(values, real), rel=1e-3)
            assert (found["kid"], found["kid_std"]) == pytest.approx(kernel_distance(values, real), rel=1e-3)
    assert "features" not in evaluate(cyclegan, other_pair, images)["A2B"]


def test_real_images_are_looked_at_once(cyclegan, images, other_pair, monkeypatch):
    seen = []
    monkeypatch.setattr(Counted, "of_pixels", lambda self, pixels: seen.append(pixels) or pixels.float().mean((2, 3)))
    evaluate(cyclegan, other_pair, images, measures=Measures(images, features=Counted()))
    real = len(images["A"].test) + len(images["B"].test)
    assert sum(map(len, seen)) == 3 * real  # real, translated by the original, translated by the compact pair


def test_figures_can_be_taken_on_validation_images(cyclegan, image_folder, tmp_path, other_pair):
    shutil.copytree(image_folder, tmp_path / "data")
    for domain in "AB":
        shutil.copytree(tmp_path / "data" / f"train{domain}", tmp_path / "data" / f"val{domain}")
    images = UnpairedImages(tmp_path / "data", 16)
    swapped = tmp_path / "swapped"  # validation images in place of the test images
    shutil.copytree(tmp_path / "data", swapped)
    for domain in "AB":
        shutil.rmtree(swapped / f"test{domain}")
        shutil.copytree(swapped / f"val{domain}", swapped / f"test{domain}")
    features = Counted()
    found = evaluate(cyclegan, other_pair, images, measures=Measures(images, role="validation", features=features))
    expected = UnpairedImages(swapped, 16)
    wanted = evaluate(cyclegan, other_pair, expected, measures=Measures(expected, features=features))
    for side in SIDES:
        assert found[side]["measured_on"] == "validation" and wanted[side]["measured_on"] == "test"
        assert found[side]["metrics"] == wanted[side]["metrics"]
    assert "paired L1 (validation)" in {str(label) for label in summary_table(found).columns[0].cells}


@pytest.mark.slow
def test_the_shipped_task_has_its_own_figures_and_other_data_has_them_when_asked(images):
    toy = load_toy()
    own = {name: side.generator for name, side in toy.cyclegan.items()}
    table = evaluate(toy.cyclegan, own, toy.images, measures=Wanted(images="validation").measures(toy.images))
    figures = {side: table[side]["metrics"]["original"] for side in SIDES}
    assert set(figures["A2B"]) - set(figures["B2A"]) == {"ink_iou"}
    assert {"picture_error", "patch_distance", "rms_error", "ssim", "paired_l1", "psnr", "l_cyc"} <= set(figures["B2A"])
    assert 0.2 < figures["A2B"]["ink_iou"] < 0.9
    assert Wanted(features="none").measures(toy.images).features is None
    assert Wanted().measures(images).features is None and not Measures(images).inked


@torch.no_grad()
def test_one_sides_translations_are_segmented(cyclegan, images, other_pair, tmp_path):
    truth = torch.randint(0, 3, (5, 16, 16), generator=torch.Generator().manual_seed(0))
    for path, labels in zip(images["B"].test.paths, truth, strict=True):
        Image.fromarray(labels.numpy().astype(np.uint8)).save(tmp_path / f"{path.stem}.png")
    segmentation = Segmentation(lambda x: x.argmax(1), tmp_path)
    metrics = evaluate(cyclegan, other_pair, images, measures=Measures(images, segmentation=segmentation))
    fake = other_pair["B2A"](images["B"].test.tensor())
    wanted = scores(confusion_matrix(truth, fake.argmax(1)))
    assert {key: metrics["B2A"]["metrics"]["compact"][key] for key in wanted} == pytest.approx(wanted)
    assert not set(wanted) & set(metrics["A2B"]["metrics"]["compact"])
    shown = {str(label) for label in summary_table(metrics).columns[0].cells}
    assert {"pixel accuracy (test)", "class accuracy (test)", "mean IoU (test)"} <= shown


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(images="train"), "images: got train; expected test or validation"),
        (Wanted(features="inceptoin"), "features: got inceptoin; .*Did you mean 'inception'"),
        (
            Wanted(inception_weights="w.pth"),
            "inception weights: got w.pth with --features none; .*--features inception",
        ),
        (Wanted(segmenter="m:f"), "labels: got nothing; expected a --labels to go with --segmenter"),
        (Wanted(labels="maps"), "segmenter: got nothing; expected a --segmenter to go with --labels"),
    ],
)
def test_what_can_not_be_measured_is_refused(images, wanted, message):
    with pytest.raises(UserError, match=message):
        wanted.measures(images)


def test_the_table_says_whose_features(cyclegan, images, other_pair):
    sides = evaluate(cyclegan, other_pair, images, measures=Measures(images, features=Counted()))

    def shown():
        return {str(label) for label in summary_table(sides).columns[0].cells}

    assert {"KID (test, Counted)", "Frechet distance (test, Counted)"} <= shown()
    assert not any(label.startswith("FID") for label in shown())
    for figures in sides.values():
        figures["features"] = "Inception"
    assert {"KID (test, Inception)", "FID (test, Inception)"} <= shown()


def test_the_table_shows_what_there_is_and_leaves_out_what_there_is_not(cyclegan, images, other_pair):
    def shown(table):
        return {str(label) for label in table.columns[0].cells}

    sides = evaluate(cyclegan, other_pair, images)
    assert {"parameters", "MACs, input size (M)", "paired L1 (test)", "PSNR (test, dB)"} <= shown(summary_table(sides))
    for figures in sides.values():
        for metrics in figures["metrics"].values():
            del metrics["psnr"], metrics["paired_l1"]
    without = shown(summary_table(sides))
    assert "L_DisA (test)" in without and not {"paired L1 (test)", "PSNR (test, dB)"} & without


def brightness(fake):
    return (fake.mean() + 1) / 2


@pytest.fixture
def own_metric():
    METRICS.append(Metric("brightness", "brightness ({images})", 3, "more", ("fake",), brightness))
    yield
    METRICS.pop()


def test_a_metric_is_one_row(cyclegan, images, other_pair, own_metric):
    sides = evaluate(cyclegan, other_pair, images)
    real = images["A"].test.tensor()
    for name, generator in (("original", cyclegan["A2B"].generator), ("compact", other_pair["A2B"])):
        with torch.no_grad():
            expected = float(brightness(generator(real)))
        assert sides["A2B"]["metrics"][name]["brightness"] == pytest.approx(expected, rel=1e-4)
    before, after = (sides["A2B"]["metrics"][name]["brightness"] for name in ("original", "compact"))
    text = io.StringIO()
    Console(file=text, width=120).print(summary_table(sides))
    (line,) = (line for line in text.getvalue().splitlines() if "brightness (test)" in line)
    assert f"{before:.3f} -> {after:.3f}" in line


def test_a_metric_without_what_it_needs_is_left_out():
    assert compute_figures({"fake": torch.zeros(1, 3, 4, 4), "truth": None}) == {}


def test_every_metric_is_explained_in_the_docs():
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    lines = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    better = {name: line[4].strip() for line in lines for name in re.findall(r"`(\w+)`", line[2])}
    assert {row.name: row.better for row in METRICS} == better


def test_batch_norm_networks_are_evaluated_without_being_changed(images):
    cyclegan = toy_cyclegan(norm="batch")
    before = {key: value.clone() for key, value in cyclegan["A2B"].generator.state_dict().items()}
    evaluate(cyclegan, {name: side.generator for name, side in cyclegan.items()}, images)
    for key, value in cyclegan["A2B"].generator.state_dict().items():
        assert torch.equal(value, before[key])
