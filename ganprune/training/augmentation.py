"""What training does to images at random: places, mirroring and order, all derived from (seed, step)."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Augmentation:
    """Random resize-crop and flip of training images, as CycleGAN does (286 -> 256 there).

    Attributes:
        load_scale: images are enlarged by this factor, then cropped back at a random place; 1 turns it off.
        flip: whether half of the images are mirrored.
    """

    load_scale: float = 286 / 256
    flip: bool = True

    def __call__(self, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Augment (B, 3, H, W); every image draws its own place and mirroring from ``generator``."""
        height, width = batch.shape[-2:]
        loaded = [max(side, round(side * self.load_scale)) for side in (height, width)]
        out = []
        for image in batch:
            if self.flip and torch.rand((), generator=generator) < 0.5:
                image = image.flip(-1)
            if loaded != [height, width]:
                top, left = (
                    int(torch.randint(0, large - side + 1, (), generator=generator))
                    for large, side in zip(loaded, (height, width), strict=True)
                )
                large = F.interpolate(image[None], loaded, mode="bicubic", antialias=True, align_corners=False)[0]
                image = large[:, top : top + height, left : left + width].clamp(-1, 1)
            out.append(image)
        return torch.stack(out)


def epoch_indices(count: int, batch: int, step: int, seed: int | str) -> list[int]:
    """Return the ``batch`` image indices of training step ``step``: shuffled epochs, derived from (seed, step)."""
    indices = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, offset = divmod(position, count)
        indices.append(_epoch_order(count, f"{seed}:{epoch}")[offset])
    return indices


@functools.lru_cache(maxsize=8)
def _epoch_order(count: int, seed: str) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order
