"""What the original is asked during a fine-tune: once for each image, mirrored or not, and always the same answers."""

from dataclasses import replace

import pytest
import torch
from networks import toy_cyclegan

from ganprune.settings.training import TrainingSettings
from ganprune.training import CycleGANTrainer
from ganprune.training.augmentation import Batch
from ganprune.training.taught import compared_views
from ganprune.training.teacher import CHUNK, Teacher
from ganprune.training.views import Inside, Onlookers

SETTINGS = TrainingSettings(
    steps=500, batch=4, lam=10.0, identity=0.0, adversarial=0.0, distil=10.0, disa=1.0, augment=1.0, seed=3
)


class Counted(torch.nn.Module):
    """A generator that counts the images that it is given."""

    def __init__(self, network):
        super().__init__()
        self.network, self.images = network, 0

    def forward(self, images):
        self.images += len(images)
        return self.network(images)


def teacher(images, settings=SETTINGS, paths=()):
    side = toy_cyclegan()["A2B"]
    side = replace(side, generator=Counted(side.generator))
    views, onlookers = compared_views(settings) | ({"inside"} if paths else set()), Onlookers(side.discriminator)
    return Teacher(side, images["A"].train, settings, views, Inside(paths), onlookers)


def batch(images, *keys):
    real = images["A"].train.tensor([index for index, _ in keys])
    mirrored = [image.flip(-1) if flip else image for image, (_, flip) in zip(real, keys, strict=True)]
    return Batch(torch.stack(mirrored), keys)


def test_an_image_is_asked_about_once(images):
    asked, keys = teacher(images), [(0, False), (1, True), (0, True)]
    first = asked(batch(images, *keys))
    count = asked.side.generator.images
    # One image, to see how large answers are; two chunks: as they are, and mirrored.
    assert count == 1 + 2 * min(CHUNK, len(images["A"].train))
    second = asked(batch(images, *reversed(keys)))
    assert asked.side.generator.images == count
    assert {"image", "scores"} <= set(first)
    assert all(torch.equal(first[view][0], second[view][0].flip(0)) for view in first)


def test_answers_are_those_of_the_networks(images):
    asked, given = teacher(images), batch(images, (2, True), (0, False))
    lesson = asked(given)
    wanted = asked.side.generator(given.images)
    assert torch.allclose(lesson["image"][0], wanted, atol=1e-5)
    assert torch.allclose(lesson["scores"][0], asked.side.discriminator(wanted), atol=1e-5)


def test_no_digit_depends_on_which_image_came_first(images):
    one, other, keys = teacher(images), teacher(images), [(index, False) for index in range(4)]
    one(batch(images, *keys[2:]))
    assert torch.equal(one(batch(images, *keys))["image"][0], other(batch(images, *keys))["image"][0])


def test_images_that_do_not_come_again_are_asked_about_every_time(images):
    asked, given = teacher(images, replace(SETTINGS, steps=1)), batch(images, (0, False))
    for count in (1, 2):
        asked(given)
        assert asked.side.generator.images == count and not asked.kept


def test_nothing_is_kept_where_features_inside_are_too_large(images, monkeypatch):
    """The generator has to be asked for these anyway; what others see in its images is looked at again."""
    monkeypatch.setattr("ganprune.training.teacher.MOST_BYTES", 150_000)  # images and scores take 90,000 here
    asked, given = teacher(images, paths=("network.model.1",)), batch(images, (0, False))
    for count in (2, 3):  # one of them to see how large answers are
        asked(given)
        assert asked.side.generator.images == count and not asked.kept
    sees = teacher(images, replace(SETTINGS, feature_matching=1.0))
    sees(given)
    assert sees.keeps == {"image", "scores"}


def test_images_cut_out_at_random_places_are_asked_about_every_time(images):
    asked = teacher(images)
    asked(Batch(images["A"].train.tensor([0]), None))
    assert asked.side.generator.images == 1 and not asked.kept


@pytest.mark.parametrize("feature_matching", [0.0, 1.0])
def test_a_training_with_kept_answers_has_the_losses_of_one_without(images, monkeypatch, feature_matching):
    settings = replace(SETTINGS, feature_matching=feature_matching)

    def losses():
        students = {name: toy_cyclegan(seed=7)[name].generator for name in ("A2B", "B2A")}
        original = toy_cyclegan()
        trainer = CycleGANTrainer(original.with_generators(students), images, settings, teacher=original)
        keeps = [bool(one.taught.teacher.keeps) for one in trainer.sides.values()]
        return keeps, trainer.train_step()

    kept, found = losses()
    monkeypatch.setattr("ganprune.training.teacher.MOST_BYTES", 0)
    asked, wanted = losses()
    assert kept == [True, True] and asked == [False, False]
    assert found == pytest.approx(wanted, rel=1e-5)
