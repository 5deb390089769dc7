"""Moments of features over the whole data set: the compact generator's images against the original's, as populations.

DiME (Yeo et al., ECCV 2024) matches the distributions of both generators' images in the features of large networks, by
maximum mean discrepancy. Of a kernel that multiplies features and their squares, that is the distance of their means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

from ganprune.training.distances import channel_moments, moment_weights

RATE = 0.02  # share of a batch in the running moments: about 50 batches count


class DataMoments(nn.Module):
    """The distance of :func:`ganprune.training.distances.moments` over the data set, averaged over layers.

    A batch is too few images for that, and pushing each batch's moments to those of all would take away what makes
    images differ. So a running average is compared, and the gradient is that of the batch, as if it stood for all.

    Args:
        ours, theirs: not looked at.
        data: gives the original's features, (B, C, h, w) of each layer, of a part of the data set after the other.
    """

    wanted: torch.Tensor
    weight: torch.Tensor
    running: torch.Tensor
    count: torch.Tensor

    def __init__(
        self,
        ours: Sequence[torch.Tensor],
        theirs: Sequence[torch.Tensor],
        data: Callable[[], Iterable[Sequence[torch.Tensor]]],
    ):
        super().__init__()
        parts, images = [], 0
        for layers in data():
            parts.append([channel_moments(layer.float()) * len(layer) for layer in layers])
            images += len(layers[0])
        wanted = [torch.stack(layer).sum(0) / images for layer in zip(*parts, strict=True)]
        self.register_buffer("wanted", torch.cat(wanted, 1))  # (2, channels of all layers)
        self.register_buffer("weight", torch.cat([moment_weights(each) for each in wanted], 1) / len(wanted))
        self.register_buffer("running", torch.zeros_like(self.wanted))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64, device=self.wanted.device))

    def forward(self, ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the mean over layers of the distance of the running moments, which move on.

        Args:
            ours: the features of a batch of the compact generator's images.
            theirs: not looked at: the moments of all are known.
        """
        batch = torch.cat([channel_moments(layer) for layer in ours], 1)
        self.count += 1
        rate = max(RATE, 1 / int(self.count))  # of the first batches all count the same
        self.running = self.running.lerp(batch.detach(), rate)
        stands_for_all = self.running + (batch - batch.detach())
        return ((stands_for_all - self.wanted).square() * self.weight).sum()
