"""Plain state dicts with JSON: what ``ganprune.load_generator`` reads, and 20 lines of PyTorch alone do too.

The JSON's ``layers`` say how the network is built: each has the name of its class in ``torch.nn`` and its arguments; a
``Residual`` adds what its layers make of their input to it. docs/deploy.md has the program that builds it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ganprune.deploy.facts import KEY, Facts
from ganprune.errors import UserError
from ganprune.models.checkpoint import FORMAT
from ganprune.models.generator import ResnetBlock, ResnetGenerator

CONVOLUTION = ("in_channels", "out_channels", "kernel_size", "stride", "padding")
ARGUMENTS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: CONVOLUTION,
    nn.ConvTranspose2d: (*CONVOLUTION, "output_padding"),
    nn.InstanceNorm2d: ("num_features", "eps", "affine"),
    nn.BatchNorm2d: ("num_features", "eps"),
    nn.Identity: (),
    nn.ReflectionPad2d: ("padding",),
    nn.ReplicationPad2d: ("padding",),
    nn.ZeroPad2d: ("padding",),
    nn.Upsample: ("scale_factor", "mode", "align_corners"),
    nn.ReLU: (),
    nn.Dropout: ("p",),
    nn.Tanh: (),
}


def describe_layers(layers: nn.Sequential) -> list[dict[str, Any]]:
    """Return the layers of one of our generators as JSON data."""
    described: list[dict[str, Any]] = []
    for layer in layers:
        if isinstance(layer, ResnetBlock):
            described.append({"kind": "Residual", "layers": describe_layers(layer.conv_block)})
            continue
        kind = next(kind for kind in ARGUMENTS if isinstance(layer, kind))  # ours are faster forms of PyTorch's
        arguments = {name: getattr(layer, name) for name in ARGUMENTS[kind]}
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            arguments["bias"] = layer.bias is not None
        described.append({"kind": kind.__name__, **arguments})
    return described


def write_plain(generator: nn.Module, stem: Path, facts: Facts, description: Mapping[str, Any]) -> list[Path]:
    """Write a generator's tensors as ``STEM.safetensors`` and ``STEM.pth``, and ``STEM.json`` with how to use them.

    Args:
        generator: one of ours, pruned or not.
        stem: path without extension.
        facts: of the generator.
        description: what the JSON of its run says.

    Returns:
        The files.

    Raises:
        UserError: it is of another architecture.
    """
    if not isinstance(generator, ResnetGenerator):
        raise UserError("format torch", type(generator).__name__, "a ResnetGenerator", "Use --format onnx, or pt2.")
    if generator.config.residual:
        found = "a generator that adds what it makes to the image"
        raise UserError("format torch", found, "one of layers alone", "Use --format onnx, or pt2.")
    state = {key: value.detach().cpu().contiguous() for key, value in generator.state_dict().items()}
    data = {"format": FORMAT, "architecture": generator.config.to_json(), **description}
    data |= {KEY: facts.to_json(), "layers": describe_layers(generator.model)}
    files = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("json", "safetensors", "pth")]
    files[0].write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    save_file(state, files[1], metadata={KEY: facts.text()})
    torch.save(state, files[2])
    return files
