"""From an architecture's description to a network, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ganprune.data.sizes import LEAST
from ganprune.errors import UserError
from ganprune.models.description import Architecture
from ganprune.models.discriminator import DiscriminatorConfig, PatchDiscriminator
from ganprune.models.generator import GeneratorConfig, ResnetGenerator, init_weights
from ganprune.models.unet import UnetConfig, UnetGenerator

KINDS: dict[str, tuple[type[Architecture], type[nn.Module]]] = {
    "resnet": (GeneratorConfig, ResnetGenerator),
    "unet": (UnetConfig, UnetGenerator),
    "patch": (DiscriminatorConfig, PatchDiscriminator),
}
FOREIGN = "factory"  # the kind of a network that a factory makes


def build(config: Architecture, generator: torch.Generator | None = None) -> nn.Module:
    """Build a network; its weights are drawn from ``generator`` (default: seed 0) as CycleGAN initialises them."""
    network = KINDS[config.kind][1](config)
    init_weights(network, generator or torch.Generator().manual_seed(0))
    return network


def skeleton(config: Architecture) -> nn.Module:
    """Build a network whose tensors have shapes and no content: a description may claim any size."""
    with torch.device("meta"):
        return KINDS[config.kind][1](config)


def config_from_json(data: Mapping[str, Any], field: str) -> Architecture:
    """Read what ``config.to_json()`` wrote.

    Args:
        data: ``{"kind": "resnet", "ngf": 64, ...}``.
        field: what the error messages call it.

    Raises:
        UserError: an unknown kind or field, or the network is one that only its own factory makes.
    """
    if not isinstance(data, Mapping):
        raise UserError(field, str(data), "an architecture (kind, ...)", "Restore the file.")
    kind = data.get("kind")
    if kind == FOREIGN:
        raise UserError(
            field, f"a network that {data.get('reference')} makes",
            "that factory, given by you: nothing that a file names is imported",
            "Give --generator package.module:factory, or factory= from Python.",
        )  # fmt: skip
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"{field} kind", kind, " or ".join(KINDS), "Use a matching version of ganprune.")
    try:
        return KINDS[kind][0](**{key: value for key, value in data.items() if key != "kind"})
    except TypeError as error:
        raise UserError(field, str(error), "known fields", "Use a matching version of ganprune.") from error


def describe(network: nn.Module) -> dict[str, Any]:
    """Return the architecture of a network as JSON data.

    Of one that a factory made it is only who made it: it takes the same factory to make another one.
    """
    config = getattr(network, "config", None)
    if isinstance(config, Architecture):
        return config.to_json()
    made = type(network)
    return {"kind": FOREIGN, "reference": getattr(network, "factory_reference", f"{made.__module__}:{made.__name__}")}


def specification(network: nn.Module) -> str:
    """Return a network's architecture as ``--generator`` takes it, such as ``resnet:ngf=64,blocks=9,...``."""
    data = describe(network)
    kind = data.pop("kind")
    if kind == FOREIGN:
        return str(data["reference"])
    if data["norm"] != "batch":
        del data["statistics"]  # which say nothing of other norms
    shown = {name: str(value).lower() if isinstance(value, bool) else value for name, value in data.items()}
    return f"{kind}:" + ",".join(f"{name}={value}" for name, value in shown.items() if value is not None)


def least_side(network: nn.Module) -> int:
    """Return the side length that images have at least, for a network's layers to have something to work on."""
    halvings = network.config.downsamplings if isinstance(network, ResnetGenerator) else 0
    return max(LEAST, 2 << halvings)  # the blocks mirror what they are given, which takes two pixels


def reread(network: nn.Module, config: Architecture) -> nn.Module:
    """Return a network of the same tensors, shared with this one, as another description has it; in evaluation mode.

    Args:
        network: of an architecture that is known.
        config: the other description. What it has no use for, such as running statistics, is left out.
    """
    other, tensors = skeleton(config), network.state_dict()
    other.load_state_dict({name: tensors[name] for name in other.state_dict()}, assign=True)
    return other.eval().requires_grad_(False)


def shareable(network: nn.Module) -> bool:
    """Whether a network may be used by two threads at once, with the numbers that one after the other would give.

    That is known of layers whose code is PyTorch's or ours, if none draws random numbers or notes statistics.
    """
    known = all(type(module).__module__.startswith(("torch.nn.", "ganprune.")) for module in network.modules())
    training = [module for module in network.modules() if module.training]
    random = any(isinstance(module, nn.modules.dropout._DropoutNd) for module in training)
    return known and not random and not any(dict(module.named_buffers(recurse=False)) for module in training)


def input_channels(network: nn.Module) -> int:
    """Return how many channels the images have that a network is given.

    Said by its ``config`` or an attribute ``in_channels``; else the first of its convolutions reads the image.

    Raises:
        UserError: it has no convolution.
    """
    return _channels(network, "in_channels", 0)


def output_channels(network: nn.Module) -> int:
    """Return how many channels the images have that a generator gives, as :func:`input_channels` finds them."""
    return _channels(network, "out_channels", -1)


def _channels(network: nn.Module, name: str, place: int) -> int:
    for owner in (getattr(network, "config", None), network):
        value = getattr(owner, name, None)
        if isinstance(value, int):
            return value
    layers = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))]
    if not layers:
        found = type(network).__name__
        raise UserError("network", found, "a network with 2-d convolutions", "Use another one.")
    return int(getattr(layers[place], name))
