"""Networks that this project did not write go through every command; files execute nothing on the way."""

import json
import math
import os

import pytest
import torch
from click.testing import CliRunner
from networks import SIZE
from thirdparty import CourseGenerator, Pix2PixUnet, PooledDiscriminator, affine_nearest, alive
from toytask import contents, toy_run

import ganprune
from ganprune.cli import main
from ganprune.commands.evaluate import evaluate_run
from ganprune.commands.evolve import resume
from ganprune.commands.finetune import finetune_run
from ganprune.errors import UserError
from ganprune.filters.saving import load_generator
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.options import CheckpointOptions
from ganprune.pipeline.reporter import Reporter

OURS = CheckpointOptions(
    generator="thirdparty:course_generator:width=4", discriminator="thirdparty:pooled_discriminator"
)
FACTORIES = {"generator": OURS.generator, "discriminator": OURS.discriminator}
MACHINE = {"device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A pair in names of its own, with affine instance norm, and discriminators that give one number for each image."""
    folder = tmp_path_factory.mktemp("course")
    for seed, name in enumerate(("netG_A2B", "netG_B2A", "netD_A", "netD_B")):
        network = CourseGenerator() if "G" in name else PooledDiscriminator()
        torch.save({f"module.{k}": v for k, v in alive(network, seed).state_dict().items()}, folder / f"{name}.pth")
    return folder


@pytest.fixture(scope="module")
def course_run(course, image_folder, tmp_path_factory):
    return toy_run(course, image_folder, tmp_path_factory.mktemp("done") / "run", networks=OURS)


@pytest.mark.slow
def test_a_pair_in_its_own_names_goes_through_evolve(course_run):
    sides = course_run.read_json("summary.json")["sides"]
    for side in sides.values():
        assert side["parameters"]["ratio"] >= 8 * 0.8
        assert {"l_disa", "l_gena", "l_cyc"} <= set(side["metrics"]["compact"])
        assert all(math.isfinite(value) for value in side["metrics"]["compact"].values())
    assert course_run.read_json("A2B.json")["architecture"] == {"kind": "factory", "reference": OURS.generator}
    small = load_generator(course_run.path("A2B"), factory=CourseGenerator)
    assert type(small) is CourseGenerator
    assert torch.isfinite(small(torch.zeros(1, 3, SIZE, SIZE))).all()
    wanted = sum(tensor.numel() for tensor in small.parameters())
    assert wanted == sides["A2B"]["parameters"]["compact"]


def test_nothing_that_a_runs_files_name_is_imported(course_run, tmp_path):
    message = r"generator: got a network that thirdparty:course_generator:width=4 makes; .*nothing that a file names"
    with pytest.raises(UserError, match=message):
        ganprune.load_generator(course_run.path("A2B"))
    for use in (
        lambda: evaluate_run(course_run.directory, **MACHINE),
        lambda: finetune_run(course_run.directory, tmp_path / "new", steps=1, **MACHINE),
        lambda: resume(course_run.directory),
    ):
        with pytest.raises(UserError, match=r"generator: got thirdparty.* from the run's file; .*Add --generator"):
            use()
    assert contents(tmp_path) == {}


@pytest.mark.slow
def test_factories_that_are_given_again_serve_every_command(course_run, tmp_path):
    measured = evaluate_run(course_run.directory, networks=OURS, **MACHINE)
    sides = course_run.read_json("summary.json")["sides"]
    assert {n: s["metrics"] for n, s in measured.items()} == {n: s["metrics"] for n, s in sides.items()}
    further = finetune_run(course_run.directory, tmp_path / "more", steps=2, batch=2, factories=FACTORIES, **MACHINE)
    assert load_generator(further.path("B2A"), factory="thirdparty:course_generator") is not None
    with pytest.raises(UserError, match=r"--generator: got unet; expected thirdparty:course_generator:width=4, as the"):
        evaluate_run(course_run.directory, networks=CheckpointOptions(generator="unet"), **MACHINE)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_with_its_factories(course, image_folder, course_run, tmp_path):
    def interrupt(progress):
        if progress.generation == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy_run(course, image_folder, tmp_path / "run", Reporter(search=interrupt), networks=OURS)
    again = resume(tmp_path / "run", factories=FACTORIES)
    assert again.path("A2B.safetensors").read_bytes() == course_run.path("A2B.safetensors").read_bytes()


def call(*arguments):
    return CliRunner().invoke(main, [str(part) for part in arguments])


TOY = ["--population", 4, "--generations", 1, "--finetune-steps", 1, "--calibration-images", 4, "--size", SIZE,
       "--finetune-batch", 2, "--threads", 1, "--device", "cpu"]  # fmt: skip


@pytest.mark.slow
def test_the_command_line_takes_factories(course, image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["--generator", OURS.generator, "--discriminator", OURS.discriminator]
    place = ["--checkpoint", course, "--data", image_folder]
    evolved = call("evolve", *place, *given, *TOY, "--algorithm", "nsga2", "--out", "front")
    assert evolved.exit_code == 0, evolved.output
    assert "A2B generator: thirdparty:course_generator:width=4 (" in evolved.stderr
    for command in (
        ["evaluate", "front", "--json", "--no-speed", *given],
        ["pick", "front", "--knee", "--out", "picked", *given],
        ["finetune", "front", "--out", "more", "--steps", 1, "--batch", 2, *given, "--no-dry-run"],
        [
            "baseline",
            "l1",
            *place,
            *given,
            "--size",
            SIZE,
            "--out",
            "flat",
            "--finetune-steps",
            0,
            "--target-ratio",
            3,
            "--no-dry-run",
        ],
        ["baseline", "l1", "--like", "front", *given, "--out", "as", "--finetune-steps", 0, "--no-dry-run"],
        ["evaluate", course, "--data", image_folder, "--size", SIZE, "--no-speed", *given],
        ["evolve", "--resume", "front", *given],
    ):
        result = call(*command, *(["--threads", 1] if command[1] != "--resume" else []))
        assert result.exit_code == 0, (command, result.output)
    missing = call("pick", "front", "--knee", "--out", "other")
    assert missing.exit_code == 2 and "Add --generator thirdparty:course_generator:width=4" in missing.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "make"), [("latest_net_G", lambda: Pix2PixUnet(levels=3)), ("7_net_G_B", affine_nearest)]
)
def test_usual_names_need_no_word(tmp_path, image_folder, name, make):
    (tmp_path / "checkpoint").mkdir()
    torch.save(alive(make()).state_dict(), tmp_path / "checkpoint" / f"{name}.pth")
    networks = CheckpointOptions(epoch="7") if name.startswith("7") else None
    run = toy_run(tmp_path / "checkpoint", image_folder, tmp_path / "run", networks=networks)
    (side,) = run.read_json("summary.json")["sides"]
    assert side == ("B2A" if name.endswith("B") else "A2B")
    measured = evaluate_run(run.directory, **MACHINE)
    assert measured[side]["metrics"] == run.read_json("summary.json")["sides"][side]["metrics"]
    assert load_generator(run.path(side))(torch.zeros(1, 3, SIZE, SIZE)).shape == (1, 3, SIZE, SIZE)


@pytest.mark.slow
@pytest.mark.parametrize("cost", ["latency", "macs"])
def test_other_size_terms_know_foreign_layers(course, image_folder, tmp_path, cost):
    run = toy_run(course, image_folder, tmp_path / "run", networks=OURS, cost=cost, finetune_steps=0)
    assert run.read_json("summary.json")["sides"]["A2B"]["search"][cost] > 0


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_hostile_file_gets_one_message_and_does_nothing(course, image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, trap = tmp_path / "bad", tmp_path / "trap"
    folder.mkdir()
    torch.save({"entry.conv.weight": Trap(trap)}, folder / "netG_A2B.pth")
    before = contents(tmp_path)
    for command in (
        ["evolve", "--checkpoint", folder, "--data", image_folder, *TOY],
        ["evolve", "--checkpoint", folder, "--data", image_folder, *TOY, "--generator", OURS.generator],
        ["evaluate", folder, "--data", image_folder],
        ["evaluate", folder / "netG_A2B.pth", "--data", image_folder],
        ["inspect", folder],
        ["export", folder, "--images", image_folder / "testA", "--size", SIZE, "--out", "out"],
        ["translate", folder, image_folder / "testA", "--direction", "A2B", "--native", "--out", "out"],
    ):
        result = call(*command)
        assert result.exit_code == 2 and "Traceback" not in result.output
        errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1 and "netG_A2B.pth" in errors[0] and "tensors and nothing else" in errors[0]
        assert contents(tmp_path) == before


def test_a_hostile_run_names_code_in_vain(course_run, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("import pathlib\npathlib.Path('here').write_text('')\ndef make(): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("A2B.json", "A2B.safetensors", "config.json"):
        (tmp_path / name).write_bytes(course_run.path(name).read_bytes())
    description = json.loads((tmp_path / "A2B.json").read_text())
    description["architecture"]["reference"] = "evil:make"
    (tmp_path / "A2B.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"a network that evil:make makes"):
        load_generator(tmp_path / "A2B")
    config = json.loads((tmp_path / "config.json").read_text())
    config["networks"] = {"generator": "evil:make"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"generator: got evil:make from the run's file"):
        resume(tmp_path)
    assert not (tmp_path / "here").exists()


def test_a_generator_that_cannot_be_pruned_is_refused_before_any_search(tmp_path, image_folder):
    (tmp_path / "checkpoint").mkdir()
    torch.save(alive(Normed()).state_dict(), tmp_path / "checkpoint" / "latest_net_G.pth")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"filters of first stay, since middle \(GroupNorm\) normalises several"):
        toy_run(
            tmp_path / "checkpoint", image_folder, tmp_path / "run",
            networks=CheckpointOptions(generator="test_foreign:Normed"),
        )  # fmt: skip
    assert contents(tmp_path) == before


class Normed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.middle = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.GroupNorm(2, 4)
        self.last = torch.nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        return torch.tanh(self.last(torch.relu(self.middle(self.first(x)))))


@pytest.mark.slow
def test_workers_score_foreign_networks_as_one_process_does(course, image_folder, course_run, tmp_path):
    run = toy_run(course, image_folder, tmp_path / "run", networks=OURS, workers=2)
    for name in ("A2B.safetensors", "B2A.safetensors"):
        assert run.path(name).read_bytes() == course_run.path(name).read_bytes()


@pytest.mark.slow
def test_networks_that_workers_cannot_have_are_refused(image_folder, tmp_path):
    (tmp_path / "checkpoint").mkdir()
    torch.save(alive(affine_nearest()).state_dict(), tmp_path / "checkpoint" / "latest_net_G.pth")
    before = contents(tmp_path)
    networks = CheckpointOptions(generator="thirdparty:affine_nearest")
    with pytest.raises(
        UserError, match=r"workers: got networks that other processes can't have \(.*local.*leave out --w"
    ):
        toy_run(tmp_path / "checkpoint", image_folder, tmp_path / "run", networks=networks, workers=2)
    assert contents(tmp_path) == before
    toy_run(tmp_path / "checkpoint", image_folder, tmp_path / "run", networks=networks)


@pytest.mark.slow
def test_foreign_generators_are_exported_and_translate(course_run, image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, given = course_run.directory, ["--generator", OURS.generator, "--discriminator", OURS.discriminator]
    exported = call("export", run, "--format", "onnx", "--format", "pt2", "--out", "out", "--no-speed", *given)
    assert exported.exit_code == 0, exported.output
    assert {"A2B.onnx", "B2A.pt2", "README.md"} <= {path.name for path in (tmp_path / "out").iterdir()}
    for extra in ([], ["--original"], ["--strips", "--size", "20x24"]):
        place = ["--direction", "B2A", "--out", f"seen{len(extra)}", *extra, *given]
        translated = call("translate", run, image_folder / "testB", *place)
        assert translated.exit_code == 0, translated.output
        assert len(list((tmp_path / f"seen{len(extra)}").glob("*.png"))) == 5
    missing = call("translate", run, image_folder / "testB", "--direction", "B2A", "--out", "none")
    assert missing.exit_code == 2 and "Add --generator thirdparty:course_generator:width=4" in missing.stderr
    plain = call("export", run, "--format", "torch", "--out", "plain", *given)
    assert plain.exit_code == 2 and "got CourseGenerator; expected a ResnetGenerator" in plain.stderr


@pytest.mark.slow
def test_a_unet_and_grey_sides_are_exported_and_translate(image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grey").mkdir()
    torch.save(alive(Pix2PixUnet(levels=3, image=(1, 3))).state_dict(), tmp_path / "grey" / "latest_net_G.pth")
    run = toy_run(tmp_path / "grey", image_folder, tmp_path / "run", size=(18, 20))
    assert run.read_json("config.json")["size"] == [18, 20]
    exported = call("export", run.directory, "--format", "onnx", "--dynamic-size", "--out", "out", "--repeats", 1)
    assert exported.exit_code == 0, exported.output
    text = (tmp_path / "out" / "README.md").read_text()
    assert "(N, 1, H, W), H and W multiples of 8" in text and "`translated`, RGB" in text
    for where in (run.directory, tmp_path / "grey", tmp_path / "grey" / "latest_net_G.pth"):
        out = f"seen-{where.name}"
        place = ["--direction", "A2B", "--size", "18x20", "--out", out]
        translated = call("translate", where, image_folder / "testA", *place)
        assert translated.exit_code == 0, translated.output
        assert len(list((tmp_path / out).glob("*.png"))) == 4
    missing = call("translate", run.directory, image_folder / "testA", "--direction", "B2A", "--out", "none")
    assert missing.exit_code == 2 and "direction: got B2A, which" in missing.stderr


def test_enlarging_decoders_are_exported_as_plain_state_dicts(image_folder, tmp_path):
    (tmp_path / "nearest").mkdir()
    torch.save(alive(affine_nearest()).state_dict(), tmp_path / "nearest" / "netG_A2B.pth")
    result = call(
        "export", tmp_path / "nearest", "--format", "torch", "--size", SIZE, "--images", image_folder / "testA",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    layers = json.loads((tmp_path / "out" / "A2B.json").read_text())["layers"]
    enlarged = {"kind": "Upsample", "scale_factor": 2.0, "mode": "nearest", "align_corners": None}
    assert layers.count(enlarged) == 2
    image = torch.zeros(1, 3, SIZE, SIZE)
    wanted = load_cyclegan(tmp_path / "nearest")["A2B"].generator(image)
    assert torch.equal(load_generator(tmp_path / "out" / "A2B")(image), wanted)
