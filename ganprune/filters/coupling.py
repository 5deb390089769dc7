"""From scores of a layer's channels to scores of bits: what coupled filters are worth together.

One bit may stand for channels of many layers: the residual trunk's is written by the last downsampling convolution and
every block's second convolution, and read by every block's first. Whatever is measured per channel becomes one score
per bit here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

if TYPE_CHECKING:
    from ganprune.filters.space import FilterSpace

Channels = tuple[str, int]  # path of a convolution, and the dimension of its weight that they run along


def written(space: FilterSpace) -> list[Channels]:
    """Return where convolutions write filters that can be pruned: their output channels."""
    return _channels(space, produces=True)


def read(space: FilterSpace) -> list[Channels]:
    """Return where convolutions read filters that can be pruned: their input channels; no depthwise ones."""
    return _channels(space, produces=False)


def _channels(space: FilterSpace, produces: bool) -> list[Channels]:
    members = [member for group in space.groups for member in group.members]
    chosen = [m for m in members if m.convolution and m.parameter == "weight" and m.produces == produces]
    return list(dict.fromkeys((member.module, member.dim) for member in chosen))


def combine(space: FilterSpace, scores: Mapping[Channels, np.ndarray]) -> np.ndarray:
    """Return (len(space),): each bit's mean over all channels that it stands for, 0 where there is none.

    Args:
        space: says which bit each channel is.
        scores: per layer one score for each index of that dimension of its weight.
    """
    total, count = np.zeros(len(space)), np.zeros(len(space))
    for (layer, dim), values in scores.items():
        controller = space.controller(layer, dim)
        if controller is not None:
            inside = controller >= 0
            np.add.at(total, controller[inside], np.asarray(values, dtype=float)[inside])
            np.add.at(count, controller[inside], 1)
    return total / count.clip(1)


def norms(space: FilterSpace, generator: nn.Module) -> np.ndarray:
    """Return per bit the mean absolute weight of its filters, relative to that of their whole layer."""
    relative = {}
    for layer, dim in written(space):
        weight = generator.get_submodule(layer).weight.detach().abs().double().cpu()  # type: ignore[union-attr, operator]
        means = weight.transpose(0, dim).flatten(1).mean(1).numpy()  # type: ignore[operator]
        relative[layer, dim] = means / max(means.mean(), 1e-30)
    return combine(space, relative)
