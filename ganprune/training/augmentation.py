"""What training does to images at random: places, mirroring, order and history, all derived from (seed, step)."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Augmentation:
    """Random resize-crop and flip of training images, as CycleGAN does (286 -> 256 there), and shifts.

    Attributes:
        load_scale: images are enlarged by this factor, then cropped back at a random place; 1 turns it off.
        flip: whether half of the images are mirrored.
        shift: images are moved by up to so many pixels each way, whole pixels at a time; what comes into view repeats
            the pixels of the edge. 0 turns it off.
    """

    load_scale: float = 286 / 256
    flip: bool = True
    shift: int = 0

    def __call__(self, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Augment (B, C, H, W) in [-1, 1]; every image draws its own place and mirroring from ``generator``."""
        return self.draw(batch, generator)[0]

    def draw(self, batch: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, list[bool]]:
        """Augment images, as a call does, and say which were mirrored."""
        size = list(batch.shape[-2:])
        loaded = [max(side, round(side * self.load_scale)) for side in size]
        images, mirrored = [], []
        for image in batch:
            mirrored.append(self.flip and bool(torch.rand((), generator=generator) < 0.5))
            image = image.flip(-1) if mirrored[-1] else image
            if loaded != size:
                spare = (have - want for have, want in zip(loaded, size, strict=True))
                top, left = (int(torch.randint(0, most + 1, (), generator=generator)) for most in spare)
                image = resized(image, loaded)[:, top : top + size[0], left : left + size[1]].clamp(-1, 1)
            if self.shift:
                down, right = (int(torch.randint(0, 2 * self.shift + 1, (), generator=generator)) for _ in size)
                wider = F.pad(image[None], [self.shift] * 4, mode="replicate")[0]
                image = wider[:, down : down + size[0], right : right + size[1]]
            images.append(image)
        return torch.stack(images), mirrored


def resized(image: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Return a (C, H, W) image at another size, bicubic and antialiased."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize  # imported here: scoring does without it

    return resize(image, size, InterpolationMode.BICUBIC, antialias=True)


@dataclass(frozen=True)
class Batch:
    """The images of one domain that a step is given.

    Attributes:
        images: (B, C, H, W) in [-1, 1].
        keys: of each image its index in the training set and whether it is mirrored, where that says all there is to
            it; None where it was cut out at a place of its own, so that it hardly ever comes again.
    """

    images: torch.Tensor
    keys: tuple[tuple[int, bool], ...] | None


class ImagePool:
    """A history of generated images (Shrivastava et al., CVPR 2017): half of the queries return an older image.

    Args:
        size: images kept; 0 returns the newest always.
    """

    def __init__(self, size: int):
        self.size = size
        self.images: list[torch.Tensor] = []

    def query(self, images: torch.Tensor, draw: random.Random) -> torch.Tensor:
        """Put (B, C, H, W) images in, get as many back; ``draw`` decides which."""
        returned = []
        for image in images.detach():
            if len(self.images) < self.size:
                self.images.append(image.clone())
            elif self.size and draw.random() < 0.5:
                index = draw.randrange(self.size)
                self.images[index], image = image.clone(), self.images[index]
            returned.append(image)
        return torch.stack(returned)


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
