"""The equivalence check: masked == compact, tried once for each network before anything is built on it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ganprune.data.sizes import Size
from ganprune.errors import UserError, reason
from ganprune.filters.layers import convolutions, evaluating, hooks
from ganprune.filters.slicing import Keep, silence_network, slice_network

SMALL = 32  # a side length that is enough for most networks
OUTPUT = ""  # stands for the whole network among the paths of its layers


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
    (wanted, _), (got, failed) = _run(masked, image), _run(small, image)
    differing = [name for name, value in wanted.items() if not _alike(value, got.get(name), tolerance)]
    if OUTPUT in differing or OUTPUT not in wanted:
        how = f"differ: the latter fails ({failed})" if failed else "differ"
        where = f" from what layer {differing[0]} is given on" if differing[:1] not in ([], [OUTPUT]) else ""
        found = f"{type(generator).__name__}, whose masked and compact forms {how}{where}"
        expected = "layers for which a removed filter equals a silent one"
        raise UserError("generator", found, expected, "It can't be pruned exactly.")


def _takes(network: nn.Module, image: torch.Tensor) -> bool:
    """Return whether a network in evaluation mode takes this image and returns one of its size."""
    try:
        with torch.inference_mode(), evaluating(network):
            return bool(network(image).shape[2:] == image.shape[2:])
    except Exception:
        return False


def _alike(wanted: torch.Tensor, got: torch.Tensor | None, tolerance: float) -> bool:
    if got is None or got.shape != wanted.shape:
        return False
    return torch.allclose(wanted, got, atol=tolerance, rtol=tolerance)


def _run(network: nn.Module, image: torch.Tensor) -> tuple[dict[str, torch.Tensor], str]:
    """Return what each convolution is given, as far as the network runs, and the output; and why it failed, or "".

    Inputs, in the order of the layers, are summed over their channels, of which the silent ones should be 0.
    """
    seen: dict[str, torch.Tensor] = {}

    def record(name: str, layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.setdefault(name, inputs[0].sum(1))

    try:
        with torch.inference_mode(), hooks(convolutions(network), record):
            seen[OUTPUT] = network(image)
    except Exception as error:  # a network that we did not write may do anything with its channels
        return seen, f"{type(error).__name__}: {reason(error, 160)}"
    return seen, ""
