"""Files of weights: safetensors, and PyTorch's state dicts, read without executing anything from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ganprune.errors import UserError

State = dict[str, torch.Tensor]
BELONGS = "Check that the file belongs to this architecture."


def read_safetensors(path: Path) -> State:
    """Read a safetensors file; a missing or damaged one is a :class:`UserError`."""
    if not path.is_file():
        raise UserError("checkpoint", f"{path} (missing)", "a safetensors file", "Copy the checkpoint again.")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError("checkpoint", f"{path} ({error})", "an undamaged file", "Copy the checkpoint again.") from error


def read_weights(path: Path) -> State:
    """Read a file of either kind, by its ending; errors as :func:`read_safetensors` and :func:`read_pth`."""
    return _plain(read_safetensors(path)) if path.suffix == ".safetensors" else read_pth(path)


def _plain(state: Mapping[str, torch.Tensor]) -> State:
    """Drop what DataParallel and torch.compile put before the names."""
    return {re.sub(r"^((module|_orig_mod)\.)+", "", key): value for key, value in state.items()}


def read_pth(path: Path) -> State:
    """Read a PyTorch state dict without executing anything from it.

    A DataParallel prefix is dropped here, the running statistics that old instance norms saved in :func:`load_into`.

    Raises:
        UserError: the file is damaged, or holds anything but tensors by name.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise UserError(
            "checkpoint", f"{path} ({reason})", "a PyTorch state dict of tensors and nothing else",
            "Save model.state_dict() with torch.save; a file that holds code is not read, since it could do anything.",
        ) from error  # fmt: skip
    named = isinstance(state, Mapping) and all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()
    )
    if not named:
        raise UserError("checkpoint", f"{path} ({type(state).__name__})", "tensors by name", "Save model.state_dict().")
    return _plain(state)


def load_into(network: nn.Module, state: State, path: Path, remedy: str = BELONGS) -> nn.Module:
    """Load a state dict, naming the first tensor that is missing, extra or misshapen.

    Args:
        network: changed in place.
        state: its tensors by name.
        path: where they came from, for the message.
        remedy: what to do about it, for the message.

    Returns:
        The network.

    Raises:
        UserError: the tensors do not fit the network.
    """
    wanted = network.state_dict()
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    state = {key: value for key, value in state.items() if key in wanted or key.rpartition(".")[2] not in statistics}
    missing = [key for key in wanted if key not in state]
    extra = [key for key in state if key not in wanted]
    if missing:
        raise UserError(
            "checkpoint", f"{path} without tensor {missing[0]} ({len(missing)} missing)", "all tensors", remedy
        )
    if extra:
        raise UserError("checkpoint", f"{path} with extra tensor {extra[0]} ({len(extra)} extra)", "no others", remedy)
    for key, value in wanted.items():
        if state[key].shape != value.shape:
            shapes = f"{path}: tensor {key} of shape {tuple(state[key].shape)}"
            raise UserError("checkpoint", shapes, f"shape {tuple(value.shape)}", remedy)
        if not torch.isfinite(state[key]).all():
            raise UserError("checkpoint", f"{path}: tensor {key} with NaN or Inf", "finite numbers", "Train it again.")
    network.load_state_dict(state)
    return network
