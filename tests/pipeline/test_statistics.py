"""Batch norms' two readings: how far apart they are on a user's images, and who is told."""

import copy

import pytest
import torch
from networks import SIZE, toy_generator, toy_images

from ganprune.commands.inspect import inspect_checkpoint
from ganprune.models.options import CheckpointOptions
from ganprune.pipeline.job import begin
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.statistics import statistics_differ, statistics_notes
from ganprune.pipeline.task import load_task
from ganprune.settings.evolve import make_settings


@pytest.fixture
def batch_normed(tmp_path):
    """A checkpoint in a public layout: one generator with batch norm."""
    torch.save(toy_generator(norm="batch").state_dict(), tmp_path / "latest_net_G.pth")
    return tmp_path


def test_the_difference_is_that_of_the_two_readings_in_grey_levels():
    generator, images = toy_generator(norm="batch"), toy_images(3, dtype=torch.float32)
    in_training = copy.deepcopy(generator).train()
    with torch.no_grad():
        apart = generator(images) - torch.cat([in_training(image) for image in images.split(1)])
    assert statistics_differ(generator, images) == pytest.approx(127.5 * float(apart.abs().mean()), rel=1e-4)
    assert statistics_differ(generator, images) > 1


@pytest.mark.parametrize("options", [{}, {"affine": True}, {"norm": "none"}, {"norm": "batch", "statistics": "batch"}])
def test_other_norms_have_one_reading(options):
    assert statistics_differ(toy_generator(**options), toy_images(1, dtype=torch.float32)) is None


def test_visible_differences_are_noted_with_the_option(batch_normed, image_folder, monkeypatch):
    task = load_task(batch_normed, image_folder, SIZE, "cpu")
    (note,) = statistics_notes(task)
    apart = statistics_differ(task.cyclegan["A2B"].generator, task.images["A"].train.tensor(range(4)))
    assert "generator A2B use running statistics; with" in note and f"by {apart:.1f} grey levels" in note
    assert note.endswith("--generator resnet:statistics=batch")
    assert "statistics of batch norms of generator A2B: running (--generator resnet:statistics=batch)" in task.taken_for
    monkeypatch.setattr("ganprune.pipeline.statistics.VISIBLE", apart + 1)
    assert statistics_notes(task) == []


def test_who_says_which_statistics_is_told_nothing(batch_normed, image_folder):
    said = CheckpointOptions(generator="resnet:statistics=batch")
    task = load_task(batch_normed, image_folder, SIZE, "cpu", said)
    assert statistics_notes(task) == [] and not any("statistics" in line for line in task.taken_for)


def test_evolve_begins_with_the_note(batch_normed, image_folder):
    told = []
    settings, load = make_settings("quick"), lambda: load_task(batch_normed, image_folder, SIZE, "cpu")
    begin("evolve", settings, load, threads=1, reporter=Reporter(note=told.append))
    assert "grey levels" in told[-1]


@pytest.mark.slow
def test_inspect_warns_with_the_note(batch_normed, image_folder):
    found = inspect_checkpoint(batch_normed, image_folder, size=SIZE, device="cpu", threads=1)
    assert ["grey levels" in warning for warning in found["warnings"]] == [True]
    assert inspect_checkpoint(batch_normed, size=SIZE, device="cpu", threads=1)["warnings"] == []
