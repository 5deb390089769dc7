"""Figures for images whose truth is known: the same thing drawn in the target domain."""

from __future__ import annotations

import torch

from ganprune.losses import structural_similarity


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
    """Mean structural similarity on [0, 1]; see :func:`ganprune.losses.structural_similarity`.

    Args:
        fake, truth: (N, C, H, W) in [-1, 1], H and W at least 11.
    """
    return float(structural_similarity(to_unit(fake), to_unit(truth)))
