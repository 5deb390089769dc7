"""Which layers have filters, how these lie in their tensors, and what a network's layers are given."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TypeGuard, cast

from torch import nn

Layer = nn.Conv2d | nn.ConvTranspose2d
Convolution = (nn.Conv2d, nn.ConvTranspose2d)
Norm = (nn.BatchNorm2d, nn.InstanceNorm2d)
MIXING = (nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)  # what one filter gives depends on the others
WIDTH = "num_features"  # stands for the width of a norm that has no tensors


def convolutions(network: nn.Module) -> dict[str, Layer]:
    """Return the convolutions of a network by their paths."""
    return {name: module for name, module in network.named_modules() if isinstance(module, Convolution)}


def layer_at(network: nn.Module, name: str) -> Layer:
    """Return the convolution at a path."""
    return cast(Layer, network.get_submodule(name))


def mixes(name: str, layer: nn.Module) -> str:
    """Return why no filters that one of the :data:`MIXING` layers is given can go."""
    return f"{name} ({type(layer).__name__}) normalises several filters together"


def has_own_weight(layer: nn.Module) -> bool:
    """Return whether a layer's weight is a parameter of its own, not computed (spectral or weight norm)."""
    return isinstance(layer._parameters.get("weight"), nn.Parameter)


def is_depthwise(layer: Layer) -> bool:
    """Return whether each of a convolution's filters reads one channel of its own, and no two the same."""
    return layer.groups > 1 and layer.groups == layer.in_channels == layer.out_channels


def is_grouped(layer: nn.Module) -> TypeGuard[Layer]:
    """Return whether a layer is a convolution in parts, other than a depthwise one."""
    return isinstance(layer, Convolution) and layer.groups > 1 and not is_depthwise(layer)


def channel_dims(layer: Layer) -> tuple[int, int]:
    """Return the dimensions of a convolution's weight along which input and output channels run; one if depthwise."""
    if is_depthwise(layer):
        return 0, 0
    return (0, 1) if isinstance(layer, nn.ConvTranspose2d) else (1, 0)


@contextmanager
def hooks(modules: Mapping[str, nn.Module], call: Callable[..., None], *, after: bool = False) -> Iterator[None]:
    """Inside this block, call with (path, module, inputs) before any of the modules runs; after it, with its output."""
    with ExitStack() as stack:
        for name, module in modules.items():
            register = module.register_forward_hook if after else module.register_forward_pre_hook
            stack.enter_context(register(functools.partial(call, name)))
        yield


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Inside this block, a network is in evaluation mode; afterwards each module is in its own again."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
