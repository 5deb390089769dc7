"""The distances that terms name: 0 where both are equal, downhill towards the original, and what each of them sees."""

import pytest
import torch
from torch.nn import functional as F

from ganprune.metrics.paired import ssim
from ganprune.training import distances
from ganprune.training.moments import DataMoments

OF_IMAGES = ["l1", "dissimilarity", "scaled_dissimilarity", "coarse", "fine", "variation"]
OF_FEATURES = ["squared", "relative", "relative_squared", "style", "channels", "moments"]


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).mul(2).sub(1)


def shuffled(features, seed=1):
    """The same values of each image and channel, in other places."""
    order = torch.randperm(features[0, 0].numel(), generator=torch.Generator().manual_seed(seed))
    return features.flatten(2)[..., order].reshape(features.shape)


@pytest.mark.parametrize("name", OF_IMAGES + OF_FEATURES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_distance_is_zero_for_equals_and_falls_towards_the_original(name, channels):
    distance, wanted = getattr(distances, name), 0.8 * noise(2, channels, 24, 27) + 0.2
    assert float(distance(wanted, wanted)) == pytest.approx(0, abs=1e-6)
    fake = (0.8 * wanted + 0.02 * noise(2, channels, 24, 27, seed=1)).requires_grad_(True)
    value = distance(fake, wanted)
    (gradient,) = torch.autograd.grad(value, fake)
    assert value.shape == () and value > 0.001 and gradient.isfinite().all()
    assert (gradient * (fake - wanted)).sum() > 0
    assert distance(fake - 1e-3 * gradient / gradient.abs().max(), wanted) < value


def test_dissimilarity_is_what_the_metric_measures():
    fake, wanted = noise(2, 3, 16, 16), noise(2, 3, 16, 16, seed=1)
    assert float(distances.dissimilarity(fake, wanted)) == pytest.approx(1 - ssim(fake, wanted), abs=1e-6)


def test_scales_are_as_many_as_the_window_fits():
    fake, wanted = noise(1, 3, 24, 24), noise(1, 3, 24, 24, seed=1)
    scales = [1 - ssim(fake, wanted), 1 - ssim(F.avg_pool2d(fake, 2), F.avg_pool2d(wanted, 2))]
    assert float(distances.scaled_dissimilarity(fake, wanted)) == pytest.approx(sum(scales) / 2, abs=1e-6)


def test_coarse_and_fine_share_what_differs():
    images = 0.5 * noise(1, 3, 16, 16)
    checks = 0.25 * (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).mul(2).sub(1)
    blocks = checks[:4, :4].sign().repeat_interleave(4, 0).repeat_interleave(4, 1) * 0.25
    assert float(distances.coarse(images + checks, images)) == pytest.approx(0, abs=1e-6)
    assert float(distances.fine(images + checks, images)) == pytest.approx(0.125)  # one of two levels
    assert float(distances.coarse(images + blocks, images)) == pytest.approx(0.25)
    assert float(distances.fine(images + blocks, images)) == pytest.approx(0, abs=1e-6)


def test_variation_counts_steps_and_neither_brightness_nor_places():
    stripes = torch.arange(16).remainder(2).mul(1.0).sub(0.5).expand(1, 3, 16, 16)
    assert float(distances.variation(stripes, 0 * stripes)) == pytest.approx(1)
    assert float(distances.variation(stripes, -stripes + 0.2)) == pytest.approx(0, abs=1e-6)
    assert float(distances.variation(stripes, stripes.transpose(2, 3))) == pytest.approx(0, abs=1e-6)


def test_feature_distances_are_relative():
    theirs = 100 * noise(2, 5, 4, 4)
    assert float(distances.relative(0.75 * theirs, theirs)) == pytest.approx(0.25)
    assert float(distances.relative_squared(0.5 * theirs, theirs)) == pytest.approx(0.25)
    assert float(distances.style(2 * theirs, theirs)) == pytest.approx(3)


def test_statistics_forget_places_and_moments_forget_which_image():
    theirs = noise(2, 5, 4, 4)
    for name in ("style", "channels", "moments"):
        assert float(getattr(distances, name)(shuffled(theirs), theirs)) == pytest.approx(0, abs=1e-5), name
    assert distances.relative(shuffled(theirs), theirs) > 0.1
    assert float(distances.moments(theirs.flip(0), theirs)) == pytest.approx(0, abs=1e-6)
    assert distances.channels(theirs.flip(0), theirs) > 0.01
    assert float(distances.moments(-theirs, theirs)) == pytest.approx(
        2 * float(theirs.mean((0, 2, 3)).square().sum() / theirs.square().mean((0, 2, 3)).sum())
    )
    assert float(distances.moments(2 * theirs, theirs)) > 4.5, "mean squares count: 9 halves for these alone"


def test_moments_of_the_data_set_are_compared_with_those_of_all_batches_so_far():
    data = [noise(6, 3, 4, 4), 5 * noise(6, 2, 2, 2, seed=1)]
    distance = DataMoments([], [], lambda: ([layer[:4] for layer in data], [layer[4:] for layer in data]))
    assert float(distance(data, [])) == pytest.approx(0, abs=1e-10)
    halves = DataMoments([], [], lambda: [data])
    first, both = (float(halves([layer[rows] for layer in data], [])) for rows in (slice(3), slice(3, 6)))
    assert first > 1e-3 and both == pytest.approx(0, abs=1e-10)
    assert int(halves.count) == 2


def test_the_gradient_of_running_moments_is_the_batchs_own():
    theirs = noise(4, 3, 4, 4)
    distance, ours = DataMoments([], [], lambda: [[theirs]]), (1.3 * theirs).requires_grad_(True)
    (alone,) = torch.autograd.grad(distances.moments(ours, theirs), ours)
    for _ in range(3):
        value = distance([ours], [])
        assert float(value.detach()) == pytest.approx(float(distances.moments(ours, theirs).detach()), rel=1e-5)
    assert torch.allclose(torch.autograd.grad(value, ours)[0], alone, rtol=1e-4, atol=1e-7)
    assert not any(buffer.requires_grad for buffer in distance.buffers())
