"""The patch distance and the picture error: 0 for real images, more for more damage, the same every time."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ganprune.assets import default_images
from ganprune.data.images import UnpairedImages
from ganprune.errors import UserError
from ganprune.metrics.patches import PatchDistance
from ganprune.metrics.picture import PLAIN_DISTANCE, PLAIN_ERROR, picture_error

specification = importlib.util.spec_from_file_location("damage", Path(__file__).parents[2] / "scripts" / "damage.py")
damage = importlib.util.module_from_spec(specification)
sys.modules["damage"] = damage
specification.loader.exec_module(damage)


@pytest.fixture(scope="module")
def images():
    return UnpairedImages(default_images(), 64)["A"]


@pytest.fixture(scope="module")
def distance(images):
    return PatchDistance(images.train.tensor(range(0, 600, 4)))


@pytest.fixture(scope="module")
def real(images):
    return images.validation.tensor(range(40))


def test_real_images_are_nearer_than_a_dose_that_anybody_notices(distance, real):
    floor = distance(real)
    for kind in ("blur", "hatching", "noise", "desaturation", "wrong lines"):
        each = damage.DAMAGES[kind]
        noticed, plain, bad = (distance(each.apply(real, dose, np.random.default_rng(0))) for dose in each.looks)
        assert floor < noticed < plain < bad, kind


def test_what_as_many_real_images_would_have_is_taken_off(images):
    train = images.train.tensor(range(0, 600, 5))
    distance = PatchDistance(train)
    for count in (8, 30):
        taken = np.mean([distance(train[start : start + count]) for start in range(0, 90, 30)])
        without = np.mean([sum(distance._squares(part)) ** 0.5 for part in chunks(distance.real, count)])
        assert taken < 0.5 * without
    assert sum(distance._floor(8)) > sum(distance._floor(30))


def chunks(patches, count):
    return [[level[start : start + count] for level in patches] for start in range(0, 90, 30)]


def test_it_is_the_same_every_time_and_measures_what_would_be_saved(images, real):
    first, second = (PatchDistance(images.train.tensor(range(60)))(each) for each in (real, real + 0.4 / 255))
    assert first == second


def test_grey_images_of_any_size_count_as_coloured_ones():
    draw = torch.Generator().manual_seed(0)
    grey = torch.rand(12, 1, 24, 40, generator=draw) * 2 - 1
    assert PatchDistance(grey)(grey[:6]) == PatchDistance(grey.expand(-1, 3, -1, -1))(grey[:6])


@pytest.mark.parametrize("shape", [(3, 3, 16, 16), (9, 3, 7, 16)])
def test_too_few_or_too_small_images_are_refused(shape):
    with pytest.raises(UserError, match=f"{shape[0]} images of {shape[2]}x16"):
        PatchDistance(torch.zeros(shape))


def test_a_picture_error_of_1_is_plain_damage_of_both_kinds():
    truth = torch.zeros(2, 3, 8, 8)
    assert picture_error(0.0, truth, truth) == 0
    assert picture_error(PLAIN_DISTANCE, truth + 2 * PLAIN_ERROR, truth) == pytest.approx(1)
    assert picture_error(0.0, truth + 2 * PLAIN_ERROR, truth) == pytest.approx(0.5)
