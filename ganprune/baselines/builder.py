"""From a baseline's bits to a network: with what the method leaves, the original's weights, or reconstructed ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ganprune.baselines.subject import Ranking, Subject
from ganprune.filters.builder import NetworkBuilder
from ganprune.filters.reconstruction import layer_at


class BaselineBuilder(NetworkBuilder):
    """Builds compact networks of one generator as a baseline would.

    Args:
        subject: the generator.
        ranking: of its filters, by the method.
        weights: "own", "sliced" or "reconstructed".
    """

    def __init__(self, subject: Subject, ranking: Ranking, weights: str):
        super().__init__(subject.generator, subject.space)
        self.reconstruction = subject.reconstruction if weights == "reconstructed" else None
        self._rescaled = ranking.rescaled if weights == "own" else None

    def _build(self, bits: Sequence[int]) -> nn.Module:
        network = super()._build(bits)
        for name, factors in (self._rescaled(bits) if self._rescaled else {}).items():
            layer = layer_at(network, name)
            shape = (-1, 1, 1, 1) if isinstance(layer, nn.ConvTranspose2d) else (1, -1, 1, 1)
            layer.weight.data.mul_(torch.as_tensor(factors).to(layer.weight).view(shape))
        return network
