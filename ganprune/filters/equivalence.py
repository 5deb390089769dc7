"""The equivalence check: masked == compact, tried once for each network before anything is built on it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ganprune.data.sizes import Size
from ganprune.errors import UserError
from ganprune.filters.layers import convolutions, evaluating, input_hooks
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
        where = _first_difference(masked, small, image, tolerance)
        found = f"{type(generator).__name__}, whose masked and compact forms {reason}{where}"
        expected = "layers for which a removed filter equals a silent one"
        raise UserError("generator", found, expected, "It can't be pruned exactly.")


def _takes(network: nn.Module, image: torch.Tensor) -> bool:
    """Return whether a network in evaluation mode takes this image and returns one of its size."""
    try:
        with torch.inference_mode(), evaluating(network):
            return bool(network(image).shape[2:] == image.shape[2:])
    except Exception:
        return False


def _first_difference(masked: nn.Module, small: nn.Module, image: torch.Tensor, tolerance: float) -> str:
    """Return words for the first convolution that is given something else in the compact network; "" for none."""
    full, compact = (_inputs(network, image) for network in (masked, small))
    for name, wanted in full.items():
        got = compact.get(name)
        same = got is not None and got.shape == wanted.shape
        if not (same and torch.allclose(compact[name], wanted, atol=tolerance, rtol=tolerance)):
            return f" from what layer {name} is given on"
    return ""


def _inputs(network: nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what each convolution is given, summed over its channels, of which the silent ones should be 0.

    In the order in which they are reached, as far as the network runs.
    """
    seen: dict[str, torch.Tensor] = {}

    def record(name: str, layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.setdefault(name, inputs[0].sum(1))

    try:
        with torch.inference_mode(), input_hooks(convolutions(network), record):
            network(image)
    except Exception:  # what was reached before it failed is what we are here for
        pass
    return seen
