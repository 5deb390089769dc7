"""Which layers have filters, how these lie in their tensors, and what a network's layers are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeGuard, cast

from torch import nn

Layer = nn.Conv2d | nn.ConvTranspose2d
Convolution = (nn.Conv2d, nn.ConvTranspose2d)
Norm = (nn.BatchNorm2d, nn.InstanceNorm2d)
WIDTH = "num_features"  # stands for the width of a norm that has no tensors


def convolutions(network: nn.Module) -> dict[str, Layer]:
    """Return the convolutions of a network by their paths."""
    return {name: module for name, module in network.named_modules() if isinstance(module, Convolution)}


def layer_at(network: nn.Module, name: str) -> Layer:
    """Return the convolution at a path."""
    return cast(Layer, network.get_submodule(name))


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
def input_hooks(modules: Mapping[str, nn.Module], call: Callable[[str, Any, tuple[Any, ...]], Any]) -> Iterator[None]:
    """Inside this block, call with (path, module, inputs) whenever one of the modules is reached."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def reached(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            call(name, module, inputs)

        return reached

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
