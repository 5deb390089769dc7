"""Which device, and how many threads."""

from __future__ import annotations

import re

import torch

from ganprune.errors import UserError


def resolve_device(name: str) -> torch.device:
    """Return the device for "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:N".

    Raises:
        UserError: CUDA was asked for and there is none, or the name is unknown.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu(:0)?|cuda(:[0-9]{1,3})?", name):
        raise UserError("device", name, "auto, cpu, cuda or cuda:N", "Correct --device.")
    device = torch.device(name)
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError("device", name, "a CUDA device that PyTorch can see", "Use --device cpu, or auto.")
    return device


def set_threads(threads: int | None) -> int:
    """Set PyTorch's threads per evaluation (default: leave as is) and return the number in force.

    Raises:
        UserError: fewer than one.
    """
    if threads is not None:
        if threads < 1:
            raise UserError("threads", threads, "1 or more", "Correct --threads.")
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def resolve_precision(name: str, device: torch.device) -> str:
    """Return "float32" or "bfloat16" (mixed precision); "auto" is bfloat16 where it is native to the hardware."""
    if name != "auto":
        return name
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:  # older releases can't tell: float32 is always right
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        native = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return "bfloat16" if native else "float32"
