"""The losses of the paper (Eq. 4, 5, 6) and of CycleGAN's training objective.

All are means over elements, so that they do not depend on image size. Images are (B, C, H, W) in [-1, 1],
discriminator outputs are scores as :func:`ganprune.models.scores.judged` returns them, (B, 1, h, w) or (B, n),
unbounded.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


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
