"""Networks with channels cut out or silenced, as a :data:`Keep` names them; nothing here knows of bits."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from ganprune.filters.layers import is_depthwise

Keep = Mapping[tuple[str, str, int], np.ndarray]  # (module path, tensor, dimension) -> the indices that stay


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


def silence_network(generator: nn.Module, keep: Keep) -> nn.Module:
    """Copy a network at full size, with zeros in all but the given indices of the given (module, tensor, dimension).

    Where a running variance is named it stays, since it is divided by.
    """
    network = copy.deepcopy(generator)
    with torch.no_grad():
        for (path, name, dim), indices in keep.items():
            tensor = getattr(network.get_submodule(path), name)
            if isinstance(tensor, torch.Tensor) and name != "running_var":
                silent = torch.ones(tensor.shape[dim], dtype=torch.bool, device=tensor.device)
                silent[torch.as_tensor(indices, device=tensor.device)] = False
                tensor[(slice(None),) * dim + (silent,)] = 0
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
