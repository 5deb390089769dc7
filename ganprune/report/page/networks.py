"""Generators as data for ``interpreter.js``: the layers of ``export --format torch``, with their tensors in base64."""

from __future__ import annotations

import base64
import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ganprune.data.pixels import to_uint8
from ganprune.deploy.plain import describe_layers
from ganprune.errors import UserError
from ganprune.models.architecture import input_channels, output_channels
from ganprune.models.generator import ResnetBlock, ResnetGenerator
from ganprune.models.sizing import size_multiple

TENSORS = ("weight", "bias", "running_mean", "running_var")


def as_data(generator: nn.Module, images: torch.Tensor | None) -> dict[str, Any]:
    """Return a generator for the page.

    Weights of convolutions are in half precision if the generator's images are the same within a grey level then, else
    in single precision; all else is always in single precision.

    Args:
        generator: a ResnetGenerator in evaluation mode, on any device.
        images: (N, C, H, W) in [-1, 1], on which that is tried; None for single precision.

    Returns:
        ``layers``, each with ``tensors``: name -> [first byte, number of values, bits of each]; ``bytes`` in base64;
        ``adds``, ``channels``, ``output_channels``, ``multiple``, ``bits``.

    Raises:
        UserError: a generator of another architecture.
    """
    if not isinstance(generator, ResnetGenerator):
        expected, remedy = "a ResnetGenerator", "Only these run in the page; export it with --format onnx."
        raise UserError("generator", type(generator).__name__, expected, remedy)
    bits = 16 if images is not None and halves_do(generator, images) else 32
    content = bytearray()
    layers = _with_tensors(describe_layers(generator.model), generator.model, content, bits)
    return {
        "layers": layers, "bytes": base64.b64encode(content).decode(), "adds": generator.config.residual, "bits": bits,
        "channels": input_channels(generator), "output_channels": output_channels(generator),
        "multiple": size_multiple([generator]),
    }  # fmt: skip


@torch.inference_mode()
def halves_do(generator: nn.Module, images: torch.Tensor) -> bool:
    """Return whether a generator's images stay the same within one grey level with weights in half precision."""
    rounded = copy.deepcopy(generator)
    for tensor in _weights(rounded):
        tensor.copy_(tensor.half().float())
        if not tensor.isfinite().all():
            return False
    device = next(generator.parameters()).device
    before, after = (to_uint8(network(images.to(device))).int() for network in (generator, rounded))
    return int((before - after).abs().max()) <= 1


def _weights(network: nn.Module) -> list[torch.Tensor]:
    return [m.weight.data for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]


def _with_tensors(
    described: Sequence[Mapping[str, Any]], layers: nn.Sequential, content: bytearray, bits: int
) -> list[dict[str, Any]]:
    """Return described layers with the places of their tensors, which are appended to ``content``."""
    result = []
    for description, layer in zip(described, layers, strict=True):
        if isinstance(layer, ResnetBlock):
            inner = _with_tensors(description["layers"], layer.conv_block, content, bits)
            result.append({**description, "layers": inner})
            continue
        places = {}
        for name in TENSORS:
            tensor = getattr(layer, name, None)
            if tensor is not None:
                wide = bits if tensor.dim() > 1 else 32
                places[name] = [len(content), tensor.numel(), wide]
                values = tensor.detach().cpu().to(torch.float16 if wide == 16 else torch.float32)
                content += values.contiguous().numpy().astype(f"<f{wide // 8}").tobytes()
        result.append({**description, **({"tensors": places} if places else {})})
    return result
