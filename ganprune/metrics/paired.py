"""Figures for images whose truth is known: the same thing drawn in the target domain."""

from __future__ import annotations

import torch

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # of the paper, for images on [0, 1]


def to_unit(images: torch.Tensor) -> torch.Tensor:
    """Map [-1, 1] to [0, 1], on which paired figures are given."""
    return images.clamp(-1, 1).add(1).div(2)


def paired_l1(fake: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean absolute difference on [0, 1] of (N, C, H, W) images in [-1, 1]."""
    return float((to_unit(fake) - to_unit(truth)).abs().mean())


def rms_error(fake: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean over images of the root of an image's mean squared difference on [0, 1]; images (N, C, H, W) in [-1, 1].

    Damage that looks equally bad costs about the same here (docs/metrics.md), unlike by L1 and SSIM.
    """
    return float((to_unit(fake) - to_unit(truth)).square().mean((1, 2, 3)).sqrt().mean())


def psnr(fake: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean over images of the peak signal-to-noise ratio in dB, peak 1; images equal to 1e-10 count as 100 dB."""
    errors = (to_unit(fake) - to_unit(truth)).square().mean((1, 2, 3)).clamp_min(1e-10)
    return float(errors.log10().mul(-10).mean())


def ssim(fake: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean structural similarity on [0, 1] (Wang et al., IEEE Transactions on Image Processing 13, 2004).

    Gaussian window of 11 and deviation 1.5, K = 0.01 and 0.03, the population's covariance; the mean over all places
    where the window fits, channels and images.

    Args:
        fake, truth: (N, C, H, W) in [-1, 1], H and W at least 11.

    Returns:
        1 for equal images, about 0 for unrelated ones, negative for inverted ones.
    """
    x, y = to_unit(fake), to_unit(truth)
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x.square(), _blur(y * y) - mean_y.square()
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return float((luminance * structure).mean())


def _blur(images: torch.Tensor) -> torch.Tensor:
    """Weigh with the Gaussian window: (N, C, H, W) -> (N, C, H - 10, W - 10).

    As two matrix products: several times as fast on a CPU as convolutions of one channel.
    """
    places = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    window = torch.softmax(-places.square() / (2 * SIGMA**2), 0)
    down, across = (torch.eye(size).to(images).unfold(0, WINDOW, 1) @ window for size in images.shape[-2:])
    return down @ images @ across.T
