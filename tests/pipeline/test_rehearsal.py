"""The dry run: what a user's network can't do is said before anything long begins, and nothing is changed by it."""

import itertools
import random

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from networks import SIZE
from thirdparty import PooledDiscriminator, Scales, TwoNames, alive
from torch import nn
from toytask import QUICK, contents, make_checkpoint, outcome, toy_run

from ganprune.baselines.registry import Baseline
from ganprune.cli import main
from ganprune.commands.baseline import baseline_settings, prune_run
from ganprune.deploy.files import missing_packages
from ganprune.errors import UserError
from ganprune.models.options import CheckpointOptions
from ganprune.models.weights import weights_digest
from ganprune.pipeline.rehearsal import rehearse
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.task import load_task, load_toy
from ganprune.settings.evolve import make_settings

SETTINGS = make_settings("quick", **QUICK, features="none")
COUNT = itertools.count(1)


@pytest.fixture(autouse=True)
def onnx_packages(request, monkeypatch):
    """None, since exporting takes seconds, unless the test is marked slow."""
    if "slow" not in request.keywords:
        monkeypatch.setattr("ganprune.pipeline.rehearsal.missing_packages", lambda: ["onnx"])


class Plain(nn.Module):
    """A generator that others derive from, to go wrong in one way."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x):
        return torch.tanh(self.last(torch.relu(self.second(torch.relu(self.first(x))))))


class NoTraining(Plain):
    def forward(self, x):
        if self.training:
            raise RuntimeError("only for inference")
        return super().forward(x)


class AtMostTwo(Plain):
    def forward(self, x):
        if len(x) > 2:
            raise IndexError("too many images")
        return super().forward(x)


class FirstOnly(Plain):
    def forward(self, x):
        return super().forward(x[:2])


class OfTheBatch(Plain):
    def forward(self, x):
        return super().forward(x - x.mean(0, keepdim=True))


class Forgetful(Plain):
    """What it has learned is in no parameter and in no buffer."""

    def __init__(self):
        super().__init__()
        self.scale = 0.1 * next(COUNT)  # each one that is made has its own

    def forward(self, x):
        return super().forward(x) * self.scale


class LargeInTraining(Plain):
    """Trains with more than 64 pixels a side only, as one with a very deep bottleneck may."""

    def forward(self, x):
        if self.training and x.shape[-1] <= 64:
            raise ValueError("Expected more than 1 value per channel when training")
        return super().forward(x)


class NoBatch(Plain):
    def forward(self, x):
        return super().forward(x).squeeze()


class Squeezed(PooledDiscriminator):
    def forward(self, x):
        return super().forward(x).squeeze()


class Answers(PooledDiscriminator):
    def forward(self, x):
        return {"score": super().forward(x)}


def save(folder, generator, discriminator=None):
    """Save a lone generator, with a discriminator if there is one, and return how both are read."""
    folder.mkdir()
    torch.save(alive(generator()).state_dict(), folder / "latest_net_G.pth")
    if discriminator is not None:
        torch.save(alive(discriminator()).state_dict(), folder / "latest_net_D.pth")
    names = [None if each is None else f"{each.__module__}:{each.__name__}" for each in (generator, discriminator)]
    return CheckpointOptions(generator=names[0], discriminator=names[1])


@pytest.fixture
def load(tmp_path, image_folder):
    def load(generator, discriminator=None, size=SIZE):
        return load_task(
            tmp_path / "mine", image_folder, size, "cpu", save(tmp_path / "mine", generator, discriminator)
        )

    return load


def tried(task, settings=SETTINGS, **options):
    """Rehearse, and return what was said."""
    notes = []
    rehearse(task, settings, Reporter(note=notes.append), **options)
    return notes


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        (
            NoTraining,
            r"dry run, a fine-tuning step \(distil\) .*A2B: got NoTraining: RuntimeError: only for inference;",
        ),
        (AtMostTwo, r"dry run, a batch of 4 images: generator A2B: got AtMostTwo: IndexError: too many images; "),
        (FirstOnly, r"a batch of 4 images: generator A2B: output: got shape \(2, 3, 16, 16\); expected \(4, 3, 16, 16"),
        (Forgetful, r"generator A2B: its images: got differences up to .* parameters and buffers hold all"),
    ],
)
def test_what_a_network_can_not_do_is_said_with_its_stage_and_a_remedy(load, generator, message):
    task = load(generator)
    with pytest.raises(UserError, match=message):
        tried(task)


def test_what_is_not_going_to_be_done_is_not_tried(load):
    task = load(NoTraining)
    assert tried(task, make_settings("quick", **{**QUICK, "finetune_steps": 0})) == []
    assert tried(task, finishes=False) == []
    with pytest.raises(UserError, match="dry run, tuning and scoring: networks of A2B: got NoTraining: RuntimeError"):
        tried(task, make_settings("quick", **QUICK, tune_steps=5), finishes=False)


def test_images_that_depend_on_their_batch_get_a_note(load):
    (note,) = tried(load(OfTheBatch))
    assert note.startswith("dry run: what generator A2B makes of an image depends on the others in its batch")


def test_networks_of_two_names_and_of_several_scales_go_the_whole_way(load):
    task = load(TwoNames, Scales)
    assert tried(task) == []
    assert any("2 of the 6 tensors that it returns" in line for line in task.taken_for)


def test_scores_without_the_dimension_of_a_single_image_will_do(load):
    assert tried(load(Plain, Squeezed), make_settings("quick", **{**QUICK, "finetune_batch": 1})) == []


def test_a_generator_without_the_dimension_of_a_single_image_is_refused(load):
    with pytest.raises(
        UserError, match=r"A2B generator: got an output Tensor of shapes \(3, 16, 16\); expected \(B, C"
    ):
        load(NoBatch)


def test_a_discriminator_without_scores_is_refused_by_name(load):
    with pytest.raises(UserError, match=r"discriminator: got that of A2B, which returns dict; .*--discriminator"):
        load(Plain, Answers)


def test_what_fails_on_a_part_of_the_images_is_tried_on_the_whole(load):
    task = load(LargeInTraining, size=80)
    assert tried(task) == []


def test_nothing_is_changed_or_written(load, tmp_path):
    task = load(Plain, Scales)
    before, digest = contents(tmp_path), weights_digest(task.cyclegan.networks())
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    modes = {name: [m.training for m in network.modules()] for name, network in task.cyclegan.networks().items()}
    tried(task, make_settings("quick", **QUICK, tune="cyclegan" if len(task.cyclegan) > 1 else "distil", tune_steps=2))
    assert contents(tmp_path) == before and weights_digest(task.cyclegan.networks()) == digest
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
    assert {n: [m.training for m in network.modules()] for n, network in task.cyclegan.networks().items()} == modes
    assert not task.cyclegan.derived and not any(p.requires_grad for p in task.cyclegan["A2B"].generator.parameters())


@pytest.mark.slow
def test_a_run_is_the_same_with_and_without_it(checkpoint, image_folder, run, tmp_path):
    assert outcome(toy_run(checkpoint, image_folder, tmp_path / "run", dry_run=True)) == outcome(run)


def test_commands_try_first_and_write_nothing_where_that_fails(image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    networks = save(tmp_path / "mine", NoTraining)
    before = contents(tmp_path)
    line = ["evolve", "--checkpoint", "mine", "--data", image_folder, "--generator", networks.generator]
    line += ["--size", SIZE, "--population", 2, "--generations", 1, "--finetune-steps", 1, "--device", "cpu"]
    result = CliRunner().invoke(main, [str(part) for part in line])
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert "Error: dry run, a fine-tuning step (distil)" in result.stderr and "--no-dry-run" in result.stderr
    settings = baseline_settings(Baseline("l1", "own"), target_ratio=2.0, finetune_steps=1)
    with pytest.raises(UserError, match="dry run, a fine-tuning step"):
        prune_run(Baseline("l1", "own"), settings, "mine", image_folder, size=SIZE, networks=networks, device="cpu")
    assert contents(tmp_path) == before
    skipped = CliRunner().invoke(main, [str(part) for part in [*line, "--no-dry-run", "--out", "run"]])
    assert isinstance(skipped.exception, RuntimeError)  # as it comes, after the search


def test_the_shipped_images_are_not_tried():
    task = load_toy()
    stages = []
    rehearse(task, SETTINGS, Reporter(stage=lambda text, total=None: stages.append(text)))
    assert stages == []


def test_a_pair_of_our_own_goes_the_whole_way(tmp_path, image_folder):
    task = load_task(make_checkpoint(tmp_path), image_folder, SIZE, "cpu")
    assert tried(task, make_settings("quick", **{**QUICK, "finetune": "cyclegan", "cost": "latency"})) == []


class NotInOnnx(Plain):
    def forward(self, x):
        return torch.fft.ifft2(torch.fft.fft2(super().forward(x))).real.pow(float(x.mean() * 0) + 1)


@pytest.mark.slow
@pytest.mark.parametrize("generator", [TwoNames, NotInOnnx])
def test_an_export_that_can_not_be_is_a_note(load, generator):
    if missing_packages():
        pytest.skip("no packages for ONNX")
    notes = tried(load(generator))
    assert len(notes) == (generator is NotInOnnx)
    assert all(n.startswith("dry run, exporting to ONNX: generator A2B: onnx of A2B: got ") for n in notes)
