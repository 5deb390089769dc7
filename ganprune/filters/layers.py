"""Which layers have filters, and how they lie in their tensors."""

from __future__ import annotations

from typing import TypeGuard

from torch import nn

Layer = nn.Conv2d | nn.ConvTranspose2d


def is_depthwise(layer: Layer) -> bool:
    """Return whether each of a convolution's filters reads one channel of its own, and no two the same."""
    return layer.groups > 1 and layer.groups == layer.in_channels == layer.out_channels


def is_grouped(layer: nn.Module) -> TypeGuard[Layer]:
    """Return whether a layer is a convolution in parts, other than a depthwise one."""
    return isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.groups > 1 and not is_depthwise(layer)


Convolution = (nn.Conv2d, nn.ConvTranspose2d)


Norm = (nn.BatchNorm2d, nn.InstanceNorm2d)


WIDTH = "num_features"  # stands for the width of a norm that has no tensors
