"""Tensors with several names, in networks and in files.

A layer that is registered under two names (``self.first``, and again inside ``self.encoder``) has its tensors twice in
a state dict. A safetensors file holds each once, under the first name; a network that is loaded from it has the second
names itself, so nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn


def second_names(network: nn.Module) -> dict[str, str]:
    """Return the names of tensors that have another, earlier name in the same network, and that name of each."""
    first: dict[int, str] = {}
    found: dict[str, str] = {}
    for tensors in (network.named_parameters, network.named_buffers):
        for name, tensor in tensors(remove_duplicate=False):
            if (known := first.setdefault(id(tensor), name)) != name:
                found[name] = known
    return found


def named_once(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return a network's state dict without second names: what a file is to hold."""
    second = second_names(network)
    return {name: tensor for name, tensor in network.state_dict().items() if name not in second}


def with_second_names(network: nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a file with the second names that a network has for them; what is there stays."""
    known, second = network.state_dict(), second_names(network)
    missing = {name: state[first] for name, first in second.items() if first in state and name in known}
    return {**missing, **state}


def part_as_saved(network: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Give, in place, tensors of different layers that a network shares memory of their own where a file has both.

    Pruning cuts each layer for itself, so that what two layers shared may have come to differ.
    """
    for second, first in second_names(network).items():
        (owner, name), other = (second.rpartition(".")[::2], first.rpartition(".")[0])
        module = network.get_submodule(owner)
        if second in state and module is not network.get_submodule(other):
            tensor = getattr(module, name)
            own = tensor.detach().clone()
            setattr(module, name, nn.Parameter(own, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else own)


def save_tensors(tensors: Mapping[str, torch.Tensor], path: str | Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file; tensors that share memory are written each for itself.

    Args:
        tensors: by name, on any device.
        path: of the file.
        metadata: texts that go with them.
    """
    content: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        whole = tensor.detach().cpu().contiguous()
        memory = whole.untyped_storage().data_ptr()
        content[name] = whole.clone() if memory in seen else whole
        seen.add(memory)
    save_file(content, path, metadata=metadata)
