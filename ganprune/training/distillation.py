"""Distillation of features inside the generators.

Between a compact layer's output and the original's stands a 1x1 convolution, the *adapter*, since they have different
numbers of channels (FitNets: Romero et al., ICLR 2015; for GANs: Li et al., GAN Compression, CVPR 2020). Adapters begin
as the least-squares solution on the first batch, are trained beside the generator, and are thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ganprune.training.distances import relative_squared

RIDGE = 1e-3  # relative, of the adapters' first solution


class FeatureDistillation(nn.Module):
    """Relative squared error between adapted compact features and the original's, averaged over layers.

    Args:
        ours, theirs: each layer's features of the batch that the adapters begin with, (B, C', h, w) and (B, C, h, w).
        data: not looked at.
    """

    def __init__(self, ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor], data: Any = None):
        super().__init__()
        pairs = zip(ours, theirs, strict=True)
        self.adapters = nn.ModuleList(least_squares_adapter(mine, wanted) for mine, wanted in pairs)

    def forward(self, ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the mean over layers of |adapter(f) - f_original|^2 / |f_original|^2; 0 is equal, 1 as bad as zeros.

        Args:
            ours, theirs: each layer's features, (B, C', h, w) and (B, C, h, w).
        """
        layers = zip(self.adapters, ours, theirs, strict=True)
        return torch.stack([relative_squared(adapter(mine), wanted) for adapter, mine, wanted in layers]).mean()


def least_squares_adapter(ours: torch.Tensor, theirs: torch.Tensor) -> nn.Conv2d:
    """Return the 1x1 convolution that maps (B, C', h, w) features to (B, C, h, w) ones with the least squared error."""
    x = ours.detach().float().transpose(0, 1).flatten(1)
    x = torch.cat([x, x.new_ones(1, x.shape[1])])
    y = theirs.detach().float().transpose(0, 1).flatten(1)
    gram = x @ x.T
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    solution = torch.linalg.solve(gram, x @ y.T).T  # (C, C' + 1)
    adapter = nn.Conv2d(ours.shape[1], theirs.shape[1], 1, device=ours.device)
    with torch.no_grad():
        adapter.weight.copy_(solution[:, :-1, None, None])
        adapter.bias.copy_(solution[:, -1])  # type: ignore[union-attr]
    return adapter
