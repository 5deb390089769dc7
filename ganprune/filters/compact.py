"""mask() and compact(): the same pruned function, with filters silent or physically gone; and its files.

The law, tested on random bits for every architecture we claim: ``mask(...)(x) == compact(...)(x)`` to 1e-10 in float64.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from ganprune.errors import UserError
from ganprune.files import check_format, parse_json, replace, replace_with
from ganprune.filters.grouped import is_depthwise
from ganprune.models.architecture import config_from_json, input_channels, skeleton
from ganprune.models.checkpoint import FORMAT, check_tensors, load_into, read_safetensors
from ganprune.models.fitting import size_multiple
from ganprune.models.generator import ResnetGenerator
from ganprune.models.options import make_factory
from ganprune.sizes import LEAST, read_size, round_up

if TYPE_CHECKING:
    from ganprune.filters.space import FilterSpace

Keep = Mapping[tuple[str, str, int], np.ndarray]


def compact(generator: nn.Module, space: FilterSpace, bits: Sequence[int]) -> nn.Module:
    """Return a copy of a generator without the filters whose bit is 0: smaller tensors, same kind of network.

    Args:
        generator: the network that ``space`` describes; not changed.
        space: its filter space.
        bits: a legal individual, ``len(space)`` zeros and ones.

    Returns:
        A network in the same mode and on the same device; its tensors are its own.
    """
    return slice_network(generator, space.kept(bits))


def slice_network(generator: nn.Module, keep: Keep) -> nn.Module:
    """Copy a network, keeping only the given indices of the given (module, tensor, dimension).

    Tensors that nothing is taken from are copied whole.
    """
    network = _clone_modules(generator, {})
    cuts: dict[tuple[str, str], list[tuple[int, np.ndarray]]] = {}
    for (path, name, dim), indices in keep.items():
        cuts.setdefault((path, name), []).append((dim, indices))
    for path, module in network.named_modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            with torch.no_grad():
                sliced = _slice(tensor, cuts.get((path, name), []))
            if isinstance(tensor, nn.Parameter):
                setattr(module, name, nn.Parameter(sliced, requires_grad=tensor.requires_grad))
            else:
                setattr(module, name, sliced)
        refresh_widths(module, next((len(cut[0][1]) for (owner, _), cut in cuts.items() if owner == path), None))
    return network


def _clone_modules(module: nn.Module, done: dict[int, nn.Module]) -> nn.Module:
    """Copy a tree of modules but not its tensors: many times faster than a deep copy."""
    if id(module) not in done:
        twin = done[id(module)] = object.__new__(type(module))
        twin.__dict__ = dict(module.__dict__)
        for registry in ("_parameters", "_buffers"):
            twin.__dict__[registry] = dict(module.__dict__[registry])
        children = module.__dict__["_modules"]
        twin.__dict__["_modules"] = {n: child and _clone_modules(child, done) for n, child in children.items()}
    return done[id(module)]


def _slice(tensor: torch.Tensor, cuts: list[tuple[int, np.ndarray]]) -> torch.Tensor:
    result = tensor.detach()
    for dim, indices in cuts:
        if len(indices) != result.shape[dim]:
            result = result.index_select(dim, torch.as_tensor(indices, device=tensor.device))
    return result.clone() if result.data_ptr() == tensor.data_ptr() else result


def refresh_widths(module: nn.Module, features: int | None = None) -> None:
    """Make a layer's recorded widths agree with its tensors.

    Args:
        module: any layer.
        features: the width of a norm, which may have no tensors; None for what it was.
    """
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        first, second = module.weight.shape[:2]
        if is_depthwise(module):
            module.groups = module.in_channels = module.out_channels = first
        elif isinstance(module, nn.ConvTranspose2d):
            module.in_channels, module.out_channels = first, second * module.groups
        else:
            module.out_channels, module.in_channels = first, second * module.groups
    elif isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d)) and features is not None:
        module.num_features = features


def mask(generator: nn.Module, space: FilterSpace, bits: Sequence[int]) -> nn.Module:
    """Return a full-size copy of a generator in which the filters whose bit is 0 are silent.

    Weights, biases and the norms' scale, shift and running mean of those filters are zero, so that nothing of them
    reaches the next layer. Arguments as :func:`compact`.
    """
    network = copy.deepcopy(generator)
    keep = space.kept(bits, produces=True)
    with torch.no_grad():
        for (path, name, dim), indices in keep.items():
            tensor = getattr(network.get_submodule(path), name)
            if isinstance(tensor, torch.Tensor) and name != "running_var":
                silent = torch.ones(tensor.shape[dim], dtype=torch.bool, device=tensor.device)
                silent[torch.as_tensor(indices, device=tensor.device)] = False
                tensor[(slice(None),) * dim + (silent,)] = 0
    return network


def save_generator(network: nn.Module, stem: Path, *, architecture: Mapping[str, Any], bits: str, **facts: Any) -> None:
    """Write a compact generator as ``STEM.safetensors`` and ``STEM.json``, each atomically.

    Args:
        network: the compact generator.
        stem: path without extension, such as ``run/A2B``.
        architecture: of the original, as ``config.to_json()`` gives it.
        bits: which filters it kept, as a string of 0 and 1.
        facts: further entries for the JSON file (image size, side, encoding ...).
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    replace_with(f"{stem}.safetensors", lambda path: save_file(tensors, path))
    data = {"format": FORMAT, "architecture": dict(architecture), "bits": bits, **facts}
    replace(f"{stem}.json", json.dumps(data, indent=1) + "\n")


def load_generator(
    path: str | Path,
    *,
    factory: str | Callable[[], nn.Module] | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Load a compact generator as a plain ``nn.Module`` in evaluation mode, without tracing anything.

    Args:
        path: ``run/A2B``, ``run/A2B.json`` or ``run/A2B.safetensors``.
        factory: makes the unpruned network, where ganprune does not know its architecture: a function or class, or
            ``package.module:factory``. Nothing that a file names is ever imported.
        device: where it goes.

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
        network = (make_factory("generator", factory) if isinstance(factory, str) else factory)()
    fit_to_tensors(network, state)
    check_tensors(network, state, weights)
    # A factory's network has its own buffers beside what is saved; those of a skeleton are empty anyway.
    load_into(network.to_empty(device="cpu") if factory is None else network, state, weights)
    network.eval().requires_grad_(False)
    _check_widths(network, weights, description.get("size"))
    return network.to(device)


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

    def learn(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        norm.num_features = inputs[0].shape[1]  # type: ignore[assignment]

    small = size is None or isinstance(network, ResnetGenerator)
    sides = (LEAST, LEAST) if small else read_size(size, f"size in {path.with_suffix('.json')}")
    norms = [m for m in network.modules() if isinstance(m, (nn.BatchNorm2d, nn.InstanceNorm2d)) and m.weight is None]
    handles = [norm.register_forward_pre_hook(learn) for norm in norms]
    try:
        with torch.inference_mode():
            sides = sides if small else round_up(sides, size_multiple([network]))
            network(next(network.parameters()).new_zeros(1, input_channels(network), *sides))
    except Exception as error:  # networks that we did not write fail as they like
        reason = f"{path}, whose layers do not fit each other ({error})"
        raise UserError("generator", reason, "the tensors of one generator", "Restore the file.") from error
    finally:
        for handle in handles:
            handle.remove()


def read_description(stem: Path) -> dict[str, Any]:
    """Read the JSON file beside a compact generator's weights."""
    path = stem.with_name(stem.name + ".json")
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        check_format(data, FORMAT, path)
        bits = data.get("bits", "")  # an exported original has none
        if not isinstance(bits, str) or set(bits) - {"0", "1"}:
            raise ValueError("bits other than 0 and 1")
        return {**data, "architecture": data["architecture"]}
    except FileNotFoundError as error:
        raise UserError(
            "generator", f"{path} (missing)", "a compact generator's JSON file", "Check the path."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("generator", f"{path} ({error})", "an undamaged file", "Restore the file.") from error


def fit_to_tensors(network: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Give every layer, in place, the widths of the tensors in ``state`` (values are loaded separately)."""
    for path, module in network.named_modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            saved = state.get(f"{path}.{name}" if path else name)
            if saved is not None and saved.shape != tensor.shape and saved.ndim == tensor.ndim:
                resized = torch.empty(saved.shape, dtype=tensor.dtype)
                setattr(module, name, nn.Parameter(resized) if isinstance(tensor, nn.Parameter) else resized)
        refresh_widths(module)
        if isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d)) and module.weight is not None:
            module.num_features = len(module.weight)
        elif isinstance(module, nn.PReLU):
            module.num_parameters = len(module.weight)
