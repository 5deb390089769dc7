"""The table of figures: size and speed of both generators, quality on test images, paired figures with known truth."""

import json
import math

import numpy as np
import pytest
import torch
from networks import toy_cyclegan, toy_generator, toy_images
from PIL import Image

from ganprune.data import UnpairedImages
from ganprune.display import summary_table
from ganprune.evaluate import Translations, evaluate, latency_figures, size_figures
from ganprune.metrics.paired import paired_l1, psnr, to_unit
from ganprune.report.figures import image_grid, save_grid

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
    assert Translations(cyclegan, other_pair, images).truth("A2B") is None


def test_paired_figures_on_the_unit_scale():
    black, white = -torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    assert paired_l1(black, white) == 1
    assert psnr(black, white) == pytest.approx(0, abs=1e-6)
    grey = torch.zeros(2, 3, 4, 4)
    assert paired_l1(grey, white) == 0.5
    assert psnr(grey, white) == pytest.approx(-10 * math.log10(0.25), rel=1e-6)


def test_psnr_is_a_mean_over_images_not_of_their_errors():
    truth = torch.zeros(2, 3, 4, 4)
    fake = torch.stack([truth[0] + 0.2, truth[1] + 2 * 0.01])  # 0.1 and 0.01 apart on [0, 1]
    assert psnr(fake, truth) == pytest.approx((20 + 40) / 2, rel=1e-4)
    assert psnr(truth, truth) == 100


def test_paired_figures_clip_what_no_picture_can_show():
    assert torch.equal(to_unit(torch.tensor([-3.0, -1, 0, 1, 2])), torch.tensor([0.0, 0, 0.5, 1, 1]))
    assert paired_l1(torch.full((1, 3, 2, 2), 5.0), torch.ones(1, 3, 2, 2)) == 0


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


def test_batch_norm_networks_are_evaluated_without_being_changed(images):
    cyclegan = toy_cyclegan(norm="batch")
    before = {key: value.clone() for key, value in cyclegan["A2B"].generator.state_dict().items()}
    evaluate(cyclegan, {name: side.generator for name, side in cyclegan.items()}, images)
    for key, value in cyclegan["A2B"].generator.state_dict().items():
        assert torch.equal(value, before[key])
