"""The one figure for "as good a picture": what comparisons and choices go by. ``docs/metrics.md`` validates it."""

from __future__ import annotations

import torch

from ganprune.metrics.paired import rms_error

PLAIN_DISTANCE = 0.35  # patch distance of true images with plainly visible damage, over the kinds of damage tried
PLAIN_ERROR = 0.075  # and their RMS error


def picture_error(patch_distance: float, picture: torch.Tensor, aim: torch.Tensor) -> float:
    """How far translations are from good pictures; 0 for the truth itself, 1 for the truth with plain damage.

    The mean of two parts, each in units of what damage does that anybody sees: the *set* looks unlike the domain's real
    images (:mod:`.patches`), and the *single picture* is not the one that it should be.

    Args:
        patch_distance: of all translations, 0 or more.
        picture, aim: (N, C, H, W) in [-1, 1]: translations, and the true images; the original generator's where
            there is no truth. Then the original itself is judged by its distance alone.
    """
    return (patch_distance / PLAIN_DISTANCE + rms_error(picture, aim) / PLAIN_ERROR) / 2
