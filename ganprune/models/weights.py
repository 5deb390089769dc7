"""Files of weights: safetensors, and PyTorch's state dicts, read without executing anything from them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from ganprune.errors import UserError, reason
from ganprune.models.aliases import with_second_names

State = dict[str, torch.Tensor]
BELONGS = "Check that the file belongs to this architecture."


def read_safetensors(path: Path) -> State:
    """Read a safetensors file; a missing or damaged one is a :class:`UserError`."""
    if not path.is_file():
        raise UserError("checkpoint", f"{path} (missing)", "a safetensors file", "Copy the checkpoint again.")
    try:
        state = load_file(path)
    except Exception as error:  # damaged headers come out as errors of every kind
        raise UserError("checkpoint", f"{path} ({error})", "an undamaged file", "Copy the checkpoint again.") from error
    return _plain(state, path)


def read_weights(path: Path) -> State:
    """Read a file of either kind, by its ending; errors as :func:`read_safetensors` and :func:`read_pth`."""
    return _unprefixed(read_safetensors(path)) if path.suffix == ".safetensors" else read_pth(path)


def read_pth(path: Path) -> State:
    """Read a PyTorch state dict without executing anything from it.

    A DataParallel prefix is dropped here, the running statistics that old instance norms saved in :func:`load_into`.

    Raises:
        UserError: the file is damaged, or holds anything but tensors by name.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            "checkpoint", f"{path} ({reason(error, 120)})", "a PyTorch state dict of tensors and nothing else",
            "Save model.state_dict() with torch.save; a file that holds code is not read, since it could do anything.",
        ) from error  # fmt: skip
    items = state.items() if isinstance(state, Mapping) else [(None, None)]
    if not all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in items):
        raise UserError("checkpoint", f"{path} ({type(state).__name__})", "tensors by name", "Save model.state_dict().")
    return _unprefixed(_plain(state, path))


def _unprefixed(state: Mapping[str, torch.Tensor]) -> State:
    """Drop what DataParallel and torch.compile put before the names."""
    return {re.sub(r"^((module|_orig_mod)\.)+", "", key): value for key, value in state.items()}


def _plain(state: Mapping[str, torch.Tensor], path: Path) -> State:
    for key, value in state.items():
        if reason := _unusable(value):
            raise UserError("checkpoint", f"{path}: tensor {key} {reason}", "plain numbers", "Save model.state_dict().")
    return dict(state)


def _unusable(tensor: torch.Tensor) -> str | None:
    """Say why a tensor can be no weight: its kind, or a size that nothing in the file stands behind."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        return f"of a kind that holds no plain numbers ({tensor.layout}, {tensor.device})"
    if tensor.is_complex() or tensor.dtype == torch.bool:
        return f"of {tensor.dtype}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"of shape {tuple(tensor.shape)}, larger than the file"
    return None


def load_into(network: nn.Module, state: State, path: Path, remedy: str = BELONGS) -> nn.Module:
    """Load a state dict into a network; for arguments and errors see :func:`check_tensors`.

    Returns:
        The network.
    """
    network.load_state_dict(check_tensors(network, state, path, remedy))
    return network


def check_tensors(network: nn.Module, state: State, path: Path, remedy: str = BELONGS) -> State:
    """Return the tensors that a network is to load, naming the first that is missing, extra, misshapen or no number.

    Args:
        network: whose names and shapes they have to have.
        state: tensors by name; statistics of old instance norms are dropped.
        path: of their file, for the message.
        remedy: what to do about tensors that don't fit, for the message.

    Raises:
        UserError: the tensors do not fit the network.
    """
    wanted = network.state_dict()
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    state = {key: value for key, value in state.items() if key in wanted or key.rpartition(".")[2] not in statistics}
    state = with_second_names(network, state)
    missing = [key for key in wanted if key not in state]
    extra = [key for key in state if key not in wanted]
    if missing:
        found = f"{path} without tensor {missing[0]} ({len(missing)} missing)"
        raise UserError("checkpoint", found, "all tensors", remedy)
    if extra:
        raise UserError("checkpoint", f"{path} with extra tensor {extra[0]} ({len(extra)} extra)", "no others", remedy)
    for key, value in wanted.items():
        tensor, named = state[key], f"{path}: tensor {key}"
        if tensor.is_floating_point() != value.is_floating_point():
            raise UserError("checkpoint", f"{named} of {tensor.dtype}", f"{value.dtype} or alike", remedy)
        if tensor.shape != value.shape:
            found, expected = f"{named} of shape {tuple(tensor.shape)}", f"shape {tuple(value.shape)}"
            raise UserError("checkpoint", found, expected, remedy)
        if not torch.isfinite(tensor.float()).all():
            raise UserError("checkpoint", f"{named} with NaN or Inf", "finite numbers", "Train it again.")
    return state


def weights_digest(networks: Mapping[str, nn.Module]) -> str:
    """Return a SHA-256 over all tensors of these networks."""
    digest = hashlib.sha256()
    for name, network in sorted(networks.items()):
        for key, value in network.state_dict().items():
            digest.update(f"{name}.{key}{tuple(value.shape)}{value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
