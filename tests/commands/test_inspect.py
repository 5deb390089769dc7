"""ganprune inspect: what is found of a checkpoint, and that nothing is written on the way."""

import json

import pytest
import torch
from click.testing import CliRunner
from networks import SIZE, toy_cyclegan, toy_generator, toy_images
from thirdparty import CourseGenerator, Pix2PixUnet, Scales, alive
from toytask import contents

from ganprune.cli import main
from ganprune.commands.inspect import inspect_checkpoint
from ganprune.commands.prediction import Amount, Times, evaluation_seconds, moments_bytes
from ganprune.data.images import ImageSet, UnpairedImages
from ganprune.filters.reconstruction import Reconstruction
from ganprune.filters.space import FilterSpace
from ganprune.models.checkpoint import save_cyclegan
from ganprune.models.cyclegan import CycleGAN, Side
from ganprune.models.options import CheckpointOptions
from ganprune.models.sizing import small_size
from ganprune.settings.evolve import make_settings

SETTINGS = make_settings("quick", population=3, generations=2, validation_images=2, calibration_images=2)
MACHINE = {"device": "cpu", "threads": 1, "size": SIZE}


@pytest.mark.slow
def test_a_checkpoint_is_described_without_images(checkpoint):
    found = inspect_checkpoint(checkpoint, settings=SETTINGS, **MACHINE)
    assert list(found["sides"]) == ["A2B", "B2A"] and found["warnings"] == [] and "search" not in found
    side = found["sides"]["A2B"]
    assert side["bits"] == {"grouped": 72, "tied": 40}
    assert [group["filters"] for group in side["groups"]] == [4, 8, 16, 16, 16, 8, 4]
    assert side["groups"][2]["written_by"] == ["model.10.conv_block.5", "model.11.conv_block.5", "model.7"]
    assert side["unprunable"] == {"model.19": "they are channels of the output image"}
    assert side["generator"]["specification"].startswith("resnet:ngf=4,blocks=2,norm=instance")
    assert side["generator"]["channels"] == [3, 3] and side["reverse_generator"]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.slow
def test_with_images_the_search_is_predicted(checkpoint, image_folder):
    found = inspect_checkpoint(checkpoint, image_folder, settings=SETTINGS, **MACHINE)
    search = found["search"]
    assert search["evaluations"] == 2 * 3 * 3
    assert search["images_scored"] == {"A2B": 1, "B2A": 1}  # a tenth of 14 and of 16 are for validation
    each = search["seconds_per_evaluation"]
    assert min(each.values()) > 0
    scored = 3 + 6
    assert search["seconds_search"] == pytest.approx(search["seconds_prepare"] + scored * sum(each.values()))
    assert search["peak_memory_mb"] > 1 and search["images_bytes"] > 0


@pytest.mark.slow
def test_a_discriminator_of_several_scales_is_asked_and_timed(image_folder, tmp_path):
    torch.save(toy_generator().state_dict(), tmp_path / "latest_net_G.pth")
    torch.save(alive(Scales()).state_dict(), tmp_path / "latest_net_D.pth")
    networks = CheckpointOptions(discriminator="thirdparty:Scales")
    found = inspect_checkpoint(tmp_path, image_folder, settings=SETTINGS, networks=networks, **MACHINE)
    judge, images = alive(Scales()), UnpairedImages(image_folder, SIZE)["B"].train.tensor()
    with torch.no_grad():
        score = float(torch.cat([scale[-1].flatten() for scale in judge(images)]).mean())
    assert found["sides"]["A2B"]["discriminator_scores"]["own_domain"] == pytest.approx(score, rel=1e-3)
    assert found["search"]["seconds_per_evaluation"]["A2B"] > 0
    line = "scores of the A2B discriminator: 2 of the 6 tensors that it returns (1x8x8, 1x4x4)"
    assert f"{line} (--discriminator package.module:factory)" in found["taken_for"]


@pytest.mark.slow
def test_only_a_few_images_are_decoded(checkpoint, image_folder, monkeypatch):
    decoded, load = set(), ImageSet._load

    def noting(self, index):
        decoded.add(self.paths[index])
        return load(self, index)

    monkeypatch.setattr(ImageSet, "_load", noting)
    monkeypatch.setattr("ganprune.pipeline.directions.JUDGED", 1)  # two images then
    monkeypatch.setattr("ganprune.commands.prediction.MEASURED", 1)  # one image then
    search = inspect_checkpoint(checkpoint, image_folder, settings=SETTINGS, **MACHINE)["search"]
    assert 0 < len(decoded) <= 2 * 2 + 4  # those of the discriminators, and one of each other set for its size
    assert search["images_scored"] == {"A2B": 1, "B2A": 1}


@pytest.mark.slow
@pytest.mark.parametrize("preset", [{"reconstruct": False}, {"encoding": "tied"}, {"tune_steps": 2}])
def test_other_searches_are_predicted_too(checkpoint, image_folder, preset):
    settings = make_settings("quick", population=3, generations=1, validation_images=2, calibration_images=2, **preset)
    search = inspect_checkpoint(checkpoint, image_folder, settings=settings, **MACHINE)["search"]
    assert min(search["seconds_per_evaluation"].values()) > 0
    assert search["seconds_search"] > search["seconds_prepare"] > 0


def test_the_seconds_of_an_evaluation_grow_with_its_images():
    one = Times(9.0, 3.0, original=4.0, helper=0.0, scored=2.0, passed=1.0, build=0.5, order_bytes=0)
    times = {"A2B": one, "B2A": one}
    few, many = (
        Amount((64, 64), (64, 64), {}, {"A2B": count, "B2A": count}, alone=True, threads=2) for count in (10, 20)
    )
    first, later = evaluation_seconds(SETTINGS, few, times, "A2B")
    assert first == (0.5 + 10 * (2.0 + 4.0)) / 2 and later < first  # the original partner is larger
    assert evaluation_seconds(SETTINGS, many, times, "A2B")[0] == (0.5 + 20 * (2.0 + 4.0)) / 2
    separate = make_settings("quick", schedule="separate")
    assert evaluation_seconds(separate, few, times, "A2B")[1] > later
    alone = evaluation_seconds(SETTINGS, few, {"A2B": one}, "A2B")
    assert alone[0] == (0.5 + 10 * 2.0) / 2  # nothing translates back


def test_of_large_images_a_part_is_measured():
    assert small_size((64, 48), 256, 4) == (64, 48)
    assert small_size((1024, 260), 256, 8) == (256, 256)
    assert small_size((100, 1000), 30, 16) == (32, 32)
    amount = Amount((512, 1024), (256, 256), {}, {}, alone=False, threads=1)
    assert amount.share == 1 / 8 and amount.parts == 1
    assert Amount((64, 64), (64, 64), {}, {}, alone=False, threads=1).parts > 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_bytes_of_moments_are_those_that_they_take(dtype):
    generator = toy_generator(dtype)
    moments = Reconstruction(generator, FilterSpace(generator, size=SIZE), toy_images(2, dtype=dtype)).moments
    held = sum(tensor.nbytes for entry in moments.values() for tensor in (entry.gram, entry.weight, entry.product))
    assert moments_bytes(generator) == held


@pytest.mark.slow
def test_the_command_prints_everything_and_writes_nothing(checkpoint, image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["inspect", str(checkpoint), "--size", str(SIZE), "--threads", "1"]
    plain = CliRunner().invoke(main, arguments)
    assert plain.exit_code == 0, plain.output
    for words in (
        "ganprune's own format", "A2B generator: resnet:ngf=4", "72 in 7 groups; 40 with --encoding tied",
        "16  model.7 and 2 more layers", "model.19 keeps all filters: they are channels of the output image",
        "fitness: N and L_DisA and L_cyc", "moments for reconstructed weights", "With --data",
    ):  # fmt: skip
        assert words in plain.stdout, words
    timed = CliRunner().invoke(main, [*arguments, "--data", str(image_folder), "--generations", "1", "--json"])
    assert timed.exit_code == 0, timed.output
    assert json.loads(timed.stdout)["search"]["evaluations"] == 2 * 2 * 16
    assert contents(tmp_path) == {}


def test_parts_of_a_set_and_foreign_networks_are_described(tmp_path):
    torch.save(alive(Pix2PixUnet(levels=3)).state_dict(), tmp_path / "latest_net_G.pth")
    found = inspect_checkpoint(tmp_path, settings=SETTINGS, **MACHINE)
    side = found["sides"]["A2B"]
    assert side["discriminator"] is None and not side["reverse_generator"]
    assert side["generator"]["specification"].startswith("unet:ngf=4,levels=3,norm=batch")
    assert any("latest_net_D is not in" in note for note in found["notes"])


def test_what_cannot_be_inspected_gets_one_message(tmp_path, checkpoint, image_folder):
    torch.save(alive(CourseGenerator()).state_dict(), tmp_path / "latest_net_G.pth")
    for arguments, message in (
        ([tmp_path], "Say how it is built: --generator package.module:factory"),
        ([tmp_path / "nowhere"], "checkpoint: got"),
        ([checkpoint, "--size", 4], "size: got 4; expected at least 16"),
        ([checkpoint, "--epoch", 3], "epoch: got 3"),
        ([checkpoint, "--data", tmp_path], "trainA"),
        ([checkpoint, "--data", image_folder, "--size", SIZE, "--only", "C"], "only: got C"),
        ([checkpoint, "--preset", "quik"], "Did you mean 'quick'"),
    ):
        result = CliRunner().invoke(main, ["inspect", *(str(part) for part in arguments)])
        assert result.exit_code == 2 and "Traceback" not in result.output
        (error,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert message in error


def test_a_generator_alone_with_a_discriminator_of_another_colour_is_not_asked(tmp_path, image_folder):
    pair = toy_cyclegan()
    save_cyclegan(CycleGAN(Side("A2B", toy_generator(in_channels=1), pair["A2B"].discriminator)), tmp_path / "grey")
    found = inspect_checkpoint(tmp_path / "grey", image_folder, settings=SETTINGS, **MACHINE)
    assert "discriminator_scores" not in found["sides"]["A2B"] and found["warnings"] == []
