"""Losses: hand-worked values; means, so that neither image size nor batch matters."""

import pytest
import torch
from networks import toy_images

from ganprune.losses import adversarial, cycle_consistency, discriminator_aware, generator_aware


def image(*values):
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 2, 2)


ONE, TWO = image(0, 1, -1, 0.5), image(1, 1, 0, 0)  # differences -1, 0, -1, 0.5


def test_generator_aware_is_the_mean_squared_difference():
    assert float(generator_aware(ONE, TWO)) == pytest.approx((1 + 0 + 1 + 0.25) / 4)
    assert float(generator_aware(ONE, ONE)) == 0


def test_discriminator_aware_compares_patches_or_their_average():
    assert float(discriminator_aware(ONE, TWO)) == pytest.approx(2.25 / 4)
    assert float(discriminator_aware(ONE, TWO, "mean")) == pytest.approx((0.125 - 0.5) ** 2)


def test_averaged_maps_are_compared_image_by_image():
    two = torch.cat([ONE, TWO]), torch.cat([TWO, ONE])  # the differences would cancel over the batch
    assert float(discriminator_aware(*two, "mean")) == pytest.approx(0.375**2)


def test_the_cycle_loss_is_squared_by_default_and_absolute_on_demand():
    assert float(cycle_consistency(ONE, TWO)) == pytest.approx(2.25 / 4)
    assert float(cycle_consistency(ONE, TWO, "l1")) == pytest.approx(2.5 / 4)


def test_adversarial_is_the_squared_distance_to_the_label():
    assert float(adversarial(ONE, True)) == pytest.approx((1 + 0 + 4 + 0.25) / 4)
    assert float(adversarial(ONE, False)) == pytest.approx((0 + 1 + 1 + 0.25) / 4)


@pytest.mark.parametrize(
    "loss",
    [
        generator_aware,
        discriminator_aware,
        lambda a, b: discriminator_aware(a, b, "mean"),
        cycle_consistency,
        lambda a, b: cycle_consistency(a, b, "l1"),
        lambda a, b: adversarial(a, True),
    ],
)
def test_losses_depend_neither_on_image_size_nor_on_batch(loss):
    first, second = toy_images(2, (4, 4), seed=1), toy_images(2, (4, 4), seed=2)
    value = float(loss(first, second))
    assert value > 0
    larger = [tensor.repeat(3, 1, 2, 5) for tensor in (first, second)]
    assert float(loss(*larger)) == pytest.approx(value, rel=1e-12)
