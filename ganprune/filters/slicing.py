"""Networks with channels cut out or silenced, as a :data:`Keep` names them; nothing here knows of bits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from ganprune.filters.layers import Convolution, Norm, channel_dims, has_own_weight, is_depthwise
from ganprune.models.copying import copied

Key = tuple[str, str, int]  # module path, tensor, dimension
Keep = Mapping[Key, np.ndarray]  # the indices that stay


def slice_network(generator: nn.Module, keep: Keep) -> nn.Module:
    """Copy a network, keeping only the given indices of the given (module, tensor, dimension).

    Tensors that nothing is taken from are copied whole.
    """
    network = _clone_modules(generator, {})
    cuts: dict[str, dict[str, list[tuple[int, np.ndarray]]]] = {}  # module path -> tensor -> what stays of it
    for (path, name, dim), indices in keep.items():
        cuts.setdefault(path, {}).setdefault(name, []).append((dim, indices))
    for path, module in network.named_modules():
        own = cuts.get(path, {})
        with torch.no_grad():
            for name, tensor in _tensors(module).items():
                _replace(module, name, _slice(tensor, own.get(name, [])))
        refresh_widths(module, next((len(cut[0][1]) for cut in own.values()), None))
    return network


def silence_network(generator: nn.Module, keep: Keep) -> nn.Module:
    """Copy a network at full size, with zeros in all but the given indices of the given (module, tensor, dimension).

    Where a running variance is named it stays, since it is divided by.
    """
    network = copied(generator)
    with torch.no_grad():
        for (path, name, dim), indices in keep.items():
            tensor = getattr(network.get_submodule(path), name)
            if isinstance(tensor, torch.Tensor) and name != "running_var":
                silent = torch.ones(tensor.shape[dim], dtype=torch.bool, device=tensor.device)
                silent[torch.as_tensor(indices, device=tensor.device)] = False
                tensor[(slice(None),) * dim + (silent,)] = 0
    return network


def fit_to_tensors(network: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Give every layer, in place, the widths of the tensors in ``state`` (values are loaded separately)."""
    for path, module in network.named_modules():
        for name, tensor in _tensors(module).items():
            saved = state.get(f"{path}.{name}" if path else name)
            if saved is not None and saved.shape != tensor.shape and saved.ndim == tensor.ndim:
                _replace(module, name, torch.empty(saved.shape, dtype=tensor.dtype))
        weight = getattr(module, "weight", None)
        refresh_widths(module, len(weight) if isinstance(module, Norm) and weight is not None else None)
        if isinstance(module, nn.PReLU):
            module.num_parameters = len(module.weight)


def refresh_widths(module: nn.Module, features: int | None = None) -> None:
    """Make a layer's recorded widths agree with its tensors.

    Args:
        module: any layer.
        features: the width of a norm, which may have no tensors; None for what it was.
    """
    if isinstance(module, Convolution):
        if not has_own_weight(module):  # nothing was taken from it
            return
        first, second = module.weight.shape[:2]
        if is_depthwise(module):
            module.groups = module.in_channels = module.out_channels = first
        else:
            counts = first, second * module.groups
            module.in_channels, module.out_channels = (counts[dim] for dim in channel_dims(module))
    elif isinstance(module, nn.Linear) and has_own_weight(module):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, Norm) and features is not None:
        module.num_features = features


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return a module's own parameters and buffers."""
    return {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}


def _replace(module: nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Put a tensor in the place of a parameter, as one, or of a buffer."""
    old = getattr(module, name)
    setattr(module, name, nn.Parameter(tensor, old.requires_grad) if isinstance(old, nn.Parameter) else tensor)


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
