"""Files of weights: safetensors, and PyTorch's state dicts, read without executing anything from them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from ganprune.errors import UserError, reason
from ganprune.models.aliases import with_second_names

State = dict[str, torch.Tensor]
BELONGS = "Check that the file belongs to this architecture."
# Whose objects people save beside their networks.
HARMLESS = (
    "argparse",
    "collections",
    "numpy",
    "pathlib",
    "datetime",
    "types",
    "omegaconf",
    "easydict",
    "yacs",
    "ml_collections",
)
OTHER_FILES = (
    (b"<", "a web page", "Download the file itself."),
    (b"version https://git-lfs", "a pointer of Git LFS", "Get the file itself: git lfs pull."),
)
SAVE_TENSORS = (
    "If you trust the file, save its tensors alone: import torch; d = torch.load({!r}, weights_only=False); "
    "torch.save({{k: v for k, v in d.items() if isinstance(v, dict) and 'tensor(' in str(v)}}, 'clean.pth')"
)
SAVE_STATE = "Save the weights alone, in the program that made it: torch.save(generator.state_dict(), 'netG_A2B.pth')."


def read_safetensors(path: Path) -> State:
    """Read a safetensors file; a missing or damaged one is a :class:`UserError`."""
    if not path.is_file():
        raise UserError("checkpoint", f"{path} (missing)", "a safetensors file", "Copy the checkpoint again.")
    try:
        state = load_file(path)
    except Exception as error:  # damaged headers come out as errors of every kind
        found, remedy = f"{path} ({reason(error)})", "Copy the checkpoint again."
        raise UserError("checkpoint", found, "an undamaged file", remedy) from error
    return check_numbers(state, path)


def read_data(path: Path) -> Any:
    """Read a file of weights, by its ending: the tensors of a safetensors file, or whatever PyTorch reads of another
    without executing anything from it.

    Raises:
        UserError: the file is damaged, or holds objects that only code can make; their kind is named.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files come out as errors of every kind
        found, remedy = _why_unread(error, path)
        expected = "a PyTorch state dict of tensors and nothing else"
        raise UserError("checkpoint", f"{path} ({found})", expected, remedy) from error


def read_pth(path: Path) -> State:
    """Read a PyTorch state dict, with nothing around it.

    Raises:
        UserError: the file is damaged, or holds anything but tensors by name.
    """
    state = read_data(path)
    items = state.items() if isinstance(state, Mapping) else [(None, None)]
    if not all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in items):
        raise UserError("checkpoint", f"{path} ({type(state).__name__})", "tensors by name", "Save model.state_dict().")
    return unprefixed(check_numbers(state, path))


def _why_unread(error: Exception, path: Path) -> tuple[str, str]:
    """Return what is in the way of reading a file, in our words, and what to do about it."""
    start, text = _start(path), str(error)
    if kind := re.search(r"GLOBAL ([\w.]+) was not an allowed", text):
        if kind[1].split(".")[0] in HARMLESS:
            return f"it holds {kind[1]}", SAVE_TENSORS.format(str(path))
        return f"it holds {kind[1]}, which only code can make", SAVE_STATE
    if "TorchScript" in text:
        return "a TorchScript program", SAVE_STATE
    for beginning, found, remedy in OTHER_FILES:
        if start.lstrip().startswith(beginning):
            return found, remedy
    said = text.partition("WeightsUnpickler error:")[2].strip()  # what stands before it is advice to run the file
    found = f"no PyTorch file, or damaged: {reason(said or error, 120)}" if start else "empty"
    return found, "Copy the checkpoint again, or save model.state_dict() with torch.save."


def _start(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return file.read(64)
    return b""


def unprefixed(state: Mapping[str, torch.Tensor]) -> State:
    """Drop what DataParallel, torch.compile and averaging put before the names, and averaging's count of steps."""
    return {re.sub(r"^((module|_orig_mod)\.)+", "", key): value for key, value in state.items() if key != "n_averaged"}


def check_numbers(state: Mapping[str, torch.Tensor], path: Path) -> State:
    """Return tensors whose numbers are plain and in the file.

    Raises:
        UserError: one is not; it is named.
    """
    for key, value in state.items():
        if why := _unusable(value):
            raise UserError("checkpoint", f"{path}: tensor {key} {why}", "plain numbers", "Save model.state_dict().")
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
        state: tensors by name; statistics of old instance norms are dropped, counts that old batch norms lack added.
        path: of their file, for the message.
        remedy: what to do about tensors that don't fit, for the message.

    Raises:
        UserError: the tensors do not fit the network.
    """
    wanted = network.state_dict()
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    state = {key: value for key, value in state.items() if key in wanted or key.rpartition(".")[2] not in statistics}
    state = with_second_names(network, state)
    # PyTorch counts batches since 0.4.1; only norms without momentum ask how many there were.
    uncounted = [key for key in wanted if key.endswith("num_batches_tracked") and key not in state]
    state |= {key: torch.tensor(0) for key in uncounted}
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
