"""ImagePool: the history of generated images that discriminators are trained from."""

from __future__ import annotations

import random

import torch


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
