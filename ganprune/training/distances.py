"""Distances between what is seen of the compact generator and of the original: the functions that terms name.

Each takes two float32 tensors, the compact generator's and the original's, and returns a scalar: 0 where they are
equal. Images are (B, C, H, W) in [-1, 1], features (B, C, h, w). Distances of features are relative to the original's,
so that weights mean the same at any depth and for any network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.nn import functional as F

from ganprune.losses import WINDOW, structural_similarity

SCALES = 3  # of structural similarity
HALVINGS = 2  # between fine and coarse


def l1(fake: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference. Of all the images that the original could have made, it asks for the median."""
    return F.l1_loss(fake, wanted)


def squared(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Mean squared difference; of a discriminator's scores it is L_DisA, Eq. 5."""
    return F.mse_loss(ours, theirs)


def dissimilarity(fake: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """1 - SSIM of images of 11x11 pixels and more, as OMGD has it (Ren et al., ICCV 2021); between 0 and 2."""
    return 1 - structural_similarity((fake + 1) / 2, (wanted + 1) / 2)


def scaled_dissimilarity(fake: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The mean of 1 - SSIM at up to three scales, each half of the last, as far as the window fits.

    Wang et al. (Asilomar 2003) multiply powers of them; a mean has gradients where structure is inverted, too.
    """
    found = [dissimilarity(fake, wanted)]
    while len(found) < SCALES and min(fake.shape[-2:]) >= 2 * WINDOW:
        fake, wanted = F.avg_pool2d(fake, 2), F.avg_pool2d(wanted, 2)
        found.append(dissimilarity(fake, wanted))
    return torch.stack(found).mean()


def coarse(fake: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of means over 4x4 pixels: the top of a pyramid (Burt and Adelson, 1983)."""
    return F.l1_loss(F.avg_pool2d(fake, 2**HALVINGS, ceil_mode=True), F.avg_pool2d(wanted, 2**HALVINGS, ceil_mode=True))


def fine(fake: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of what :func:`coarse` leaves out: the other levels of the pyramid, averaged.

    Each level is what the means over 2x2 pixels lack. In a pyramid of Gaussians the same distance trains decoders
    (Bojanowski et al., ICML 2018).
    """
    levels = zip(_details(fake), _details(wanted), strict=True)
    return torch.stack([F.l1_loss(ours, theirs) for ours, theirs in levels]).mean()


def _details(images: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the images less their means over 2x2 pixels, the same of these means, ..., :data:`HALVINGS` in all."""
    for _ in range(HALVINGS):
        means = F.avg_pool2d(images, 2, ceil_mode=True)
        height, width = images.shape[-2:]
        yield images - means.repeat_interleave(2, -2)[..., :height, :].repeat_interleave(2, -1)[..., :width]
        images = means


def variation(fake: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the images' total variations, the means of their steps from pixel to pixel.

    Rudin et al. (Physica D, 1992) and OMGD want little of it; here it is as much as the original's, since images of
    medians have too little.
    """
    return F.l1_loss(_total_variation(fake), _total_variation(wanted))


def _total_variation(images: torch.Tensor) -> torch.Tensor:
    down, across = images.diff(dim=-2), images.diff(dim=-1)
    return down.abs().mean((1, 2, 3)) + across.abs().mean((1, 2, 3))  # (B,)


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """|f - f_original|_1 / |f_original|_1.

    Of a discriminator's features it is feature matching (Wang et al., pix2pixHD, CVPR 2018, who compare with real
    images; Hu et al., CVPR 2023, with the original's), of a classifier's a perceptual loss (Johnson et al., ECCV 2016).
    """
    return F.l1_loss(ours, theirs) / theirs.abs().mean().clamp_min(1e-6)


def relative_squared(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """|f - f_original|^2 / |f_original|^2: 0 is equal, 1 as bad as zeros; of the kept channels' mean absolute values it
    is attention transfer (Zagoruyko and Komodakis, ICLR 2017) by channels."""
    return F.mse_loss(ours, theirs) / theirs.square().mean().clamp_min(1e-12)


def style(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """:func:`relative` distance of each image's Gram matrices of channels (Gatys et al., CVPR 2016)."""
    return relative(_gram(ours), _gram(theirs))


def _gram(features: torch.Tensor) -> torch.Tensor:
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[-1]  # (B, C, C)


def channels(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """|m - m_original|^2 / |f_original|^2 of each image's channel means (Zhou et al., Channel Distillation, 2020).

    Relative to the features, since their means may be almost 0.
    """
    return F.mse_loss(ours.mean((2, 3)), theirs.mean((2, 3))) / theirs.square().mean().clamp_min(1e-12)


def moments(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Distance of channel means and mean squares over the batch: the mean of both, as :func:`moment_weights` weighs.

    The first moments of the features' distributions, whatever single images look like: feature matching as Salimans
    et al. (NIPS 2016) have it.
    """
    wanted = channel_moments(theirs)
    return ((channel_moments(ours) - wanted).square() * moment_weights(wanted)).sum()


def moment_weights(wanted: torch.Tensor) -> torch.Tensor:
    """Return (2, C): weights of squared differences from moments. Sums are relative to 1: half for means that are off
    by the features' own size, half for mean squares that are off by as much as they are."""
    size = torch.stack([wanted[1].sum(), wanted[1].square().sum()]).clamp_min(1e-12)
    return (0.5 / size)[:, None].expand_as(wanted)


def channel_moments(features: torch.Tensor) -> torch.Tensor:
    """Return (2, C): means and mean squares over all images and places of (B, C, h, w)."""
    return torch.stack([features.mean((0, 2, 3)), features.square().mean((0, 2, 3))])


def over_layers(distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Return the mean of a distance over layers, given as two lists of tensors."""

    def mean(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([distance(*pair) for pair in zip(ours, theirs, strict=True)]).mean()

    return mean
