"""The losses of the paper (Eq. 4, 5, 6) and of CycleGAN's training objective, and structural similarity.

All are means over elements, so that they do not depend on image size. Images are (B, C, H, W) in [-1, 1],
discriminator outputs are scores as :func:`ganprune.models.scores.judged` returns them, (B, 1, h, w) or (B, n),
unbounded.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

WINDOW, SIGMA = 11, 1.5  # of structural similarity
C1, C2 = 0.01**2, 0.03**2  # of its paper, for images on [0, 1]


def generator_aware(fake: torch.Tensor, fake_original: torch.Tensor) -> torch.Tensor:
    """L_GenA, Eq. 4: squared error between the compact and the original generator's images."""
    return F.mse_loss(fake, fake_original)


def discriminator_aware(maps: torch.Tensor, maps_original: torch.Tensor, output: str = "map") -> torch.Tensor:
    """L_DisA, Eq. 5: squared error between the discriminator's outputs for both generators' images.

    Args:
        maps: D(G^(x)).
        maps_original: D(G(x)).
        output: "map" compares patch by patch; "mean" averages each image's scores first, as the authors' code does.
    """
    if output == "mean":
        maps, maps_original = maps.flatten(1).mean(1), maps_original.flatten(1).mean(1)
    return F.mse_loss(maps, maps_original)


def cycle_consistency(recovered: torch.Tensor, real: torch.Tensor, norm: str = "l2") -> torch.Tensor:
    """L_cyc, Eq. 6: error between G_partner(G^(x)) and x; "l2" as in the paper, "l1" as in CycleGAN's training.

    The identity loss is the same, of G^(y) and y for images of the target domain.
    """
    return F.l1_loss(recovered, real) if norm == "l1" else F.mse_loss(recovered, real)


def adversarial(maps: torch.Tensor, real: bool) -> torch.Tensor:
    """LSGAN: mean squared distance of a discriminator's output to 1 (real) or 0 (fake)."""
    return (maps - (1.0 if real else 0.0)).square().mean()


def structural_similarity(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Structural similarity (Wang et al., IEEE Transactions on Image Processing 13, 2004).

    Gaussian window of 11 and deviation 1.5, K = 0.01 and 0.03, the population's covariance; the mean over all places
    where the window fits, channels and images.

    Args:
        x, y: (N, C, H, W) on [0, 1], H and W at least 11; float32 or more, since variances are differences of squares.

    Returns:
        1 for equal images, about 0 for unrelated ones, negative for inverted ones.
    """
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x.square(), _blur(y * y) - mean_y.square()
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return (luminance * structure).mean()


def _blur(images: torch.Tensor) -> torch.Tensor:
    """Weigh with the Gaussian window: (N, C, H, W) -> (N, C, H - 10, W - 10).

    As two matrix products: several times as fast on a CPU as convolutions of one channel.
    """
    places = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    window = torch.softmax(-places.square() / (2 * SIGMA**2), 0)
    down, across = (torch.eye(size).to(images).unfold(0, WINDOW, 1) @ window for size in images.shape[-2:])
    return down @ images @ across.T
