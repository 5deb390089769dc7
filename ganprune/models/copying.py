"""Copies of networks, of those too that PyTorch doesn't copy."""

from __future__ import annotations

import copy

import torch
from torch import nn


def copied(network: nn.Module) -> nn.Module:
    """Return a deep copy of a network.

    A weight that a hook computes (``torch.nn.utils.weight_norm``, ``spectral_norm``) is a plain attribute with a
    history of gradients, which can't be copied. It is computed anew in every pass, so the history is dropped, of the
    original too.
    """
    for module in network.modules():
        computed = {name: value for name, value in vars(module).items() if isinstance(value, torch.Tensor)}
        vars(module).update({name: value.detach() for name, value in computed.items() if not value.is_leaf})
    return copy.deepcopy(network)
