"""Figures against the truth: L1, PSNR, SSIM, overlap of ink."""

import math

import numpy as np
import pytest
import torch
from networks import toy_images
from scipy.ndimage import gaussian_filter

from ganprune.metrics.paired import paired_l1, psnr, ssim, to_unit
from ganprune.metrics.segmentation import ink_iou


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


def reference_ssim(first, second):
    """The definition by SciPy's Gaussian filter, in float64, for one channel on [0, 1]."""

    def blur(image):
        return gaussian_filter(image, 1.5, truncate=3.5)[5:-5, 5:-5]  # 11 wide; where the window fits

    x, y = first.double().numpy(), second.double().numpy()
    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    above = (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
    return (above / ((mean_x**2 + mean_y**2 + 1e-4) * (variance_x + variance_y + 9e-4))).mean()


def test_ssim_is_its_definition():
    truth = toy_images(3, (24, 20), torch.float32)
    fake = 0.6 * truth + 0.4 * toy_images(3, (24, 20), torch.float32, seed=6)
    channels = zip(to_unit(fake).flatten(0, 1), to_unit(truth).flatten(0, 1), strict=True)
    assert ssim(fake, truth) == pytest.approx(np.mean([reference_ssim(*pair) for pair in channels]), abs=1e-5)


def test_ssim_is_1_for_equal_images_about_0_for_unrelated_and_negative_for_inverted_ones():
    images, others = toy_images(4, (32, 32), torch.float32), toy_images(4, (32, 32), torch.float32, seed=6)
    assert ssim(images, images) == pytest.approx(1, abs=1e-6)
    assert abs(ssim(images, others)) < 0.05
    assert ssim(images, -images) < -0.9


def test_ssim_sees_blur_that_l1_forgives():
    stripes = torch.ones(1, 3, 32, 32)
    stripes[..., ::2] = 0.6
    blurred, shifted = torch.full_like(stripes, 0.8), stripes - 0.2
    assert paired_l1(blurred, stripes) == pytest.approx(paired_l1(shifted, stripes))
    assert ssim(blurred, stripes) < 0.3
    assert ssim(shifted, stripes) > 0.9


def test_ink_is_what_is_darker_than_mid_grey():
    truth = torch.ones(1, 3, 4, 4)
    truth[..., :2, :] = -1  # 8 dark pixels
    drawn = torch.ones(1, 3, 4, 4)
    drawn[..., 1:3, :] = torch.tensor([-0.9, -0.2, 0.6]).view(3, 1, 1)  # dark on average: 4 of them right, 4 wrong
    assert ink_iou(drawn, truth) == pytest.approx(4 / 12)
    assert ink_iou(truth, truth) == 1 and ink_iou(-truth, truth) == 0
    assert ink_iou(torch.zeros_like(truth), truth) == 0  # mid-grey itself is no ink
    blank = torch.ones_like(truth)
    both = torch.cat([drawn, blank]), torch.cat([truth, blank])
    assert ink_iou(*both) == pytest.approx((4 / 12 + 1) / 2)
