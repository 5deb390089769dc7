"""The equivalence check: masked == compact, tried once for each network before anything is built on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from ganprune.data.sizes import Size
from ganprune.errors import UserError
from ganprune.filters.layers import Convolution, is_depthwise
from ganprune.filters.slicing import Keep, silence_network, slice_network

SMALL = 32  # a side length that is enough for most networks


def check_equivalence(generator: nn.Module, kept: Keep, written: Keep, channels: int, size: Size) -> None:
    """Compare the masked with the compact network, so that one for which they differ is refused.

    Args:
        generator: the network.
        kept: what stays of it.
        written: the part of ``kept`` where filters are written, not read: what is silent in the masked network.
        channels: of its images.
        size: their (height, width).

    Raises:
        UserError: they differ, or one fails; the first layer that is given something else is named.
    """
    draw = np.random.default_rng(0)
    weight = next(generator.parameters())
    image = torch.from_numpy(draw.uniform(-1, 1, (1, channels, *size))).to(weight.device, weight.dtype)
    if max(size) > SMALL and _takes(generator, image[..., :SMALL, :SMALL]):
        image = image[..., :SMALL, :SMALL]
    masked, small = silence_network(generator, written).eval(), slice_network(generator, kept).eval()
    tolerance = 1e-8 if weight.dtype == torch.float64 else 2e-3
    try:
        with torch.inference_mode():
            wanted, got = masked(image), small(image)
        holds = wanted.shape == got.shape and torch.allclose(wanted, got, atol=tolerance, rtol=tolerance)
        reason = "differ"
    except Exception as error:  # a network that we did not write may do anything with its channels
        holds, reason = False, f"differ: the latter fails ({type(error).__name__}: {str(error).splitlines()[0][:160]})"
    if not holds:
        where = first_difference(masked, small, kept, image, tolerance)
        found = f"{type(generator).__name__}, whose masked and compact forms {reason}{where}"
        expected = "layers for which a removed filter equals a silent one"
        raise UserError("generator", found, expected, "It can't be pruned exactly.")


def _takes(network: nn.Module, image: torch.Tensor) -> bool:
    """Return whether a network in evaluation mode takes this image and returns one of its size."""
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.inference_mode():
            return bool(network.eval()(image).shape[2:] == image.shape[2:])
    except Exception:
        return False
    finally:
        for module, mode in modes.items():
            module.training = mode


def first_difference(masked: nn.Module, small: nn.Module, keep: Keep, image: torch.Tensor, tolerance: float) -> str:
    """Return words for the first convolution that is given something else in the compact network; "" for none."""
    seen = [_inputs(network, image) for network in (masked, small)]
    for name, full in seen[0].items():
        layer = masked.get_submodule(name)
        part = seen[1].get(name)
        kept = _kept_inputs(name, layer, keep)
        silent = np.setdiff1d(np.arange(full.shape[1]), kept)
        same = (
            part is not None
            and part.shape == full[:, kept].shape
            and torch.allclose(part, full[:, kept], atol=tolerance, rtol=tolerance)
        )
        if not same or full[:, silent].any():
            return f" from what layer {name} is given on"
    return ""


def _inputs(network: nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what each convolution is given, in the order in which they are reached, as far as the network runs."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def record(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            seen.setdefault(name, inputs[0].clone())

        return record

    handles = [
        module.register_forward_pre_hook(keep(name))
        for name, module in network.named_modules()
        if isinstance(module, Convolution)
    ]
    try:
        with torch.inference_mode():
            network(image)
    except Exception:  # what was reached before it failed is what we are here for
        pass
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _kept_inputs(name: str, layer: nn.Module, keep: Mapping[tuple[str, str, int], np.ndarray]) -> Sequence[int]:
    """Return the input channels of a convolution that stay."""
    assert isinstance(layer, Convolution)
    transposed = isinstance(layer, nn.ConvTranspose2d)
    kept = keep.get((name, "weight", 0 if transposed or is_depthwise(layer) else 1))
    if kept is None:
        return np.arange(layer.in_channels)  # type: ignore[return-value]
    if layer.groups > 1 and not transposed and not is_depthwise(layer):
        width = layer.in_channels // layer.groups  # the tensor holds one block's channels
        return np.concatenate([kept + block * width for block in range(layer.groups)])  # type: ignore[return-value]
    return kept  # type: ignore[return-value]
