"""Compact generators as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune.data.sizes import read_size, round_up
from ganprune.errors import UserError
from ganprune.evolution.individual import unpack_bits
from ganprune.filters.layers import Norm, hooks
from ganprune.filters.slicing import fit_to_tensors
from ganprune.models.aliases import named_once, part_as_saved, save_tensors, with_second_names
from ganprune.models.architecture import config_from_json, input_channels, least_side, skeleton
from ganprune.models.checkpoint import FORMAT
from ganprune.models.generator import ResnetGenerator
from ganprune.models.options import make_network
from ganprune.models.sizing import size_multiple
from ganprune.models.weights import check_tensors, load_into, read_safetensors
from ganprune.runs.files import check_format, parse_json, replace, replacing


def save_generator(network: nn.Module, stem: Path, *, architecture: Mapping[str, Any], bits: str, **facts: Any) -> None:
    """Write a compact generator as ``STEM.safetensors`` and ``STEM.json``, each atomically.

    Args:
        network: the compact generator.
        stem: path without extension, such as ``run/A2B``.
        architecture: of the original, as ``config.to_json()`` gives it.
        bits: which filters it kept, packed (:func:`ganprune.evolution.individual.pack_bits`).
        facts: further entries for the JSON file (image size, side, encoding ...).
    """
    with replacing(f"{stem}.safetensors") as path:
        save_tensors(named_once(network), path)
    data = {"format": FORMAT, "architecture": dict(architecture), "bits": bits, **facts}
    replace(f"{stem}.json", json.dumps(data, indent=1) + "\n")


def load_generator(
    path: str | Path,
    *,
    factory: str | Callable[[], nn.Module] | None = None,
    device: torch.device | str = "cpu",
    trainable: bool = False,
) -> nn.Module:
    """Load a compact generator as a plain ``nn.Module`` in evaluation mode, without tracing anything.

    Its parameters are frozen, so that it can be called as it is; to train it on, give ``trainable``.

    Args:
        path: ``run/A2B``, ``run/A2B.json`` or ``run/A2B.safetensors``.
        factory: makes the unpruned network, where ganprune does not know its architecture: a function or class, or
            ``package.module:factory``. Nothing that a file names is ever imported.
        device: where it goes.
        trainable: whether its parameters take gradients.

    Raises:
        UserError: a file is missing or damaged, they do not belong together, or it takes a factory.
    """
    stem = Path(path)
    stem = stem.with_suffix("") if stem.suffix in (".json", ".safetensors") else stem
    description = read_description(stem)
    weights = stem.with_name(stem.name + ".safetensors")
    state = read_safetensors(weights)
    if factory is None:
        network = skeleton(config_from_json(description["architecture"], "generator"))
    else:
        network = make_network("generator", factory) if isinstance(factory, str) else factory()
    part_as_saved(network, state)
    state = with_second_names(network, state)
    fit_to_tensors(network, state)
    check_tensors(network, state, weights)
    # A factory's network has its own buffers beside what is saved; those of a skeleton are empty anyway.
    load_into(network.to_empty(device="cpu") if factory is None else network, state, weights)
    network.eval().requires_grad_(trainable)
    _check_widths(network, weights, description.get("size"))
    return network.to(device)


def read_description(stem: Path) -> dict[str, Any]:
    """Read the JSON file beside a compact generator's weights."""
    path = stem.with_name(stem.name + ".json")
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        check_format(data, FORMAT, path)
        if "bits" in data:  # an exported original has none
            unpack_bits(data["bits"])
        return {**data, "architecture": data["architecture"]}
    except FileNotFoundError as error:
        found = f"{path} (missing)"
        raise UserError("generator", found, "a compact generator's JSON file", "Check the path.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("generator", f"{path} ({error})", "an undamaged file", "Restore the file.") from error


def _check_widths(network: nn.Module, path: Path, size: Any) -> None:
    """Pass an image through the network: sound tensors may still not follow on each other.

    Norms without tensors learn from it how many channels they have.

    Args:
        network: with its tensors.
        path: of their file, for the message.
        size: of the images that it was made with, as its description says; ours take small ones.

    Raises:
        UserError: it fails, or the size is none.
    """

    def learn(_name: str, norm: nn.BatchNorm2d | nn.InstanceNorm2d, inputs: tuple[torch.Tensor, ...]) -> None:
        norm.num_features = inputs[0].shape[1]

    small = size is None or isinstance(network, ResnetGenerator)
    sides = (least_side(network),) * 2 if small else read_size(size, f"size in {path.with_suffix('.json')}")
    norms = {name: m for name, m in network.named_modules() if isinstance(m, Norm) and m.weight is None}
    try:
        with torch.inference_mode(), hooks(norms, learn):
            sides = sides if small else round_up(sides, size_multiple([network]))
            network(next(network.parameters()).new_zeros(1, input_channels(network), *sides))
    except Exception as error:  # networks that we did not write fail as they like
        reason = f"{path}, whose layers do not fit each other ({error})"
        raise UserError("generator", reason, "the tensors of one generator", "Restore the file.") from error
