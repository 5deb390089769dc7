"""From an architecture's description, or from a state dict's tensors, to a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune.errors import UserError
from ganprune.models.discriminator import DiscriminatorConfig, PatchDiscriminator
from ganprune.models.generator import GeneratorConfig, ResnetGenerator, init_weights

Config = GeneratorConfig | DiscriminatorConfig
KINDS: dict[str, tuple[type, type]] = {
    "resnet": (GeneratorConfig, ResnetGenerator),
    "patch": (DiscriminatorConfig, PatchDiscriminator),
}


def build(config: Config, generator: torch.Generator | None = None) -> nn.Module:
    """Build a network; its weights are drawn from ``generator`` (default: seed 0) as CycleGAN initialises them."""
    network = ResnetGenerator(config) if isinstance(config, GeneratorConfig) else PatchDiscriminator(config)
    init_weights(network, generator or torch.Generator().manual_seed(0))
    return network


def skeleton(config: Config) -> nn.Module:
    """Build a network whose tensors have shapes and no content: a description may claim any size."""
    with torch.device("meta"):
        return ResnetGenerator(config) if isinstance(config, GeneratorConfig) else PatchDiscriminator(config)


def config_from_json(data: Mapping[str, Any], field: str) -> Config:
    """Read what ``config.to_json()`` wrote.

    Args:
        data: ``{"kind": "resnet", "ngf": 64, ...}``.
        field: what the error messages call it.

    Raises:
        UserError: an unknown kind or field.
    """
    if not isinstance(data, Mapping):
        raise UserError(field, str(data), "an architecture (kind, ...)", "Restore the file.")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"{field} kind", kind, " or ".join(KINDS), "Use a matching version of ganprune.")
    try:
        return KINDS[kind][0](**{key: value for key, value in data.items() if key != "kind"})
    except TypeError as error:
        raise UserError(field, str(error), "known fields", "Use a matching version of ganprune.") from error


def infer_generator(state: Mapping[str, torch.Tensor], path: Path) -> GeneratorConfig:
    """Infer a ResnetGenerator's architecture from its tensors.

    Raises:
        UserError: they are not those of such a generator.
    """
    if "model.1.weight" not in state or state["model.1.weight"].ndim != 4:
        raise UserError(
            "generator", f"{path} (first tensor {next(iter(state), None)})", "a ResNet generator (model.1.weight, ...)",
            "Other architectures are not read from state dicts alone.",
        )  # fmt: skip
    ngf, in_channels = state["model.1.weight"].shape[:2]
    blocks = len({key.split(".")[1] for key in state if ".conv_block." in key})
    norm, affine = _infer_norm(state, "model.2", "model.1")
    last = max((key for key in state if key.endswith(".weight") and ".conv_block." not in key), key=_index)
    second = {key.split(".")[3] for key in state if ".conv_block." in key and state[key].ndim == 4}
    return GeneratorConfig(
        ngf=ngf, blocks=blocks, norm=norm, affine=affine, dropout="6" in second, in_channels=in_channels,
        out_channels=state[last].shape[0],
    )  # fmt: skip


def infer_discriminator(state: Mapping[str, torch.Tensor], path: Path) -> DiscriminatorConfig:
    """Infer a PatchDiscriminator's architecture from its tensors.

    Raises:
        UserError: they are not those of such a discriminator.
    """
    if "model.0.weight" not in state or state["model.0.weight"].ndim != 4:
        raise UserError(
            "discriminator", f"{path} (first tensor {next(iter(state), None)})", "a PatchGAN (model.0.weight, ...)",
            "Other architectures are not read from state dicts alone.",
        )  # fmt: skip
    convolutions = [key for key in state if key.endswith(".weight") and state[key].ndim == 4]
    norm, affine = _infer_norm(state, "model.3", "model.2")
    ndf, in_channels = state["model.0.weight"].shape[:2]
    return DiscriminatorConfig(ndf=ndf, layers=len(convolutions) - 2, norm=norm, affine=affine, in_channels=in_channels)


def _infer_norm(state: Mapping[str, torch.Tensor], module: str, convolution: str) -> tuple[str, bool]:
    """Convolutions before a batch norm have no bias; old instance norms may have running statistics too."""
    biased = f"{convolution}.bias" in state
    affine, statistics = f"{module}.weight" in state, f"{module}.running_mean" in state
    return ("batch", False) if affine and statistics and not biased else ("instance", affine)


def _index(key: str) -> int:
    part = key.split(".")[1]
    return int(part) if part.isdigit() else -1
