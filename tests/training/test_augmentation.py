"""Training's random places, mirroring and order."""

import pytest
import torch

from ganprune.training.augmentation import Augmentation, epoch_indices


def draw(seed):
    return torch.Generator().manual_seed(seed)


def test_each_epoch_shows_every_image_once():
    count, batch = 7, 3
    shown = [index for step in range(count) for index in epoch_indices(count, batch, step, seed=1)]  # three epochs
    epochs = [shown[start : start + count] for start in range(0, len(shown), count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [epoch_indices(count, 7, epoch, seed=1) for epoch in range(3)] == epochs, "the batch size changes no order"
    assert [epoch_indices(count, 7, epoch, seed=2) for epoch in range(3)] != epochs


def test_a_batch_may_be_larger_than_the_epoch():
    assert sorted(epoch_indices(2, 6, 0, seed=0)) == [0, 0, 0, 1, 1, 1]


def test_augmentation_is_decided_by_its_generator(images):
    batch = images["A"].train.tensor(range(4))
    one, same, other = (Augmentation()(batch, draw(seed)) for seed in (1, 1, 2))
    assert one.shape == batch.shape and one.abs().max() <= 1
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_augmentation_off_changes_nothing_and_flips_mirror_half(images):
    batch = images["A"].train.tensor([0] * 13)
    assert torch.equal(Augmentation(load_scale=1, flip=False)(batch, draw(1)), batch)
    flipped = Augmentation(load_scale=1)(batch, draw(1))
    kinds = [torch.equal(image, batch[0]) - torch.equal(image, batch[0].flip(-1)) for image in flipped]
    assert 0 not in kinds and {1, -1} == set(kinds)


def test_augmentation_crops_each_image_at_its_own_place():
    ramp = torch.linspace(-1, 1, 16).expand(1, 3, 16, 16).repeat(6, 1, 1, 1)
    cropped = Augmentation(load_scale=1.5, flip=False)(ramp, draw(0))
    assert len({round(float(image[0, 0, 0]), 3) for image in cropped}) > 2
    slope = (cropped[0, 0, 8, 12] - cropped[0, 0, 8, 4]) / (ramp[0, 0, 8, 12] - ramp[0, 0, 8, 4])
    assert float(slope) == pytest.approx(1 / 1.5, rel=0.05)


def test_images_that_are_not_square_keep_their_shape(images):
    batch = images["A"].train.tensor(range(3))[..., :12]
    cropped = Augmentation(load_scale=1.5)(batch, draw(1))
    assert cropped.shape == batch.shape == (3, 3, 16, 12)
    lines = torch.linspace(-1, 1, 24)[:, None].expand(1, 3, 24, 16)
    tall = Augmentation(load_scale=1.25, flip=False)(lines, draw(2))[0, 0]
    assert torch.allclose(tall, tall[:, :1].expand_as(tall), atol=1e-5), "lines stay lines"


def test_shifts_move_each_image_by_whole_pixels_and_repeat_its_edge():
    ramp = torch.arange(16.0).div(8).sub(1).expand(8, 3, 16, 16)
    moved = Augmentation(load_scale=1, flip=False, shift=2)(ramp, draw(0))
    steps = {round(float((image[0, 0, 8] - ramp[0, 0, 0, 8]) * 8)) for image in moved}
    assert len(steps) > 2 and steps <= {-2, -1, 0, 1, 2}
    for image in moved:
        step = round(float((image[0, 0, 8] - ramp[0, 0, 0, 8]) * 8))
        expected = (torch.arange(16) + step).clamp(0, 15) / 8 - 1
        assert torch.equal(image, expected.expand(3, 16, 16))
