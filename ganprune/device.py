"""Which device, how many threads, and what runs at the same time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

from ganprune.data.sizes import Size
from ganprune.errors import UserError

Value = TypeVar("Value")

AT_ONCE = 32 * 64 * 64  # pixels that go through a network at once: on a CPU more gain nothing and take memory
GPU_SHARE = 4  # times as many on another device

_helpers = ThreadPoolExecutor(thread_name_prefix="ganprune")  # threads begin with the first call of at_once


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
    """Set PyTorch's CPU threads (default: leave as is) and return the number in force.

    Raises:
        UserError: fewer than one.
    """
    if threads is not None:
        if threads < 1:
            raise UserError("threads", threads, "1 or more", "Correct --threads.")
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def images_at_once(size: Size, device: torch.device | str) -> int:
    """Return how many images of that (height, width) go through a network at once."""
    pixels = AT_ONCE * (1 if torch.device(device).type == "cpu" else GPU_SHARE)
    return max(1, pixels // (size[0] * size[1]))


@contextmanager
def one_thread(when: bool = True) -> Iterator[None]:
    """Inside this block, operations of this thread take one CPU thread, if ``when``."""
    before = torch.get_num_threads()
    if not when or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def at_once(calls: Sequence[Callable[[], Value]], device: torch.device | str) -> list[Value]:
    """Run a few independent calls at the same time, each with its share of the CPU threads; return their results.

    Two calls with a thread each take less time than one after the other with two: small operations gain little from a
    second thread. One thread gives the same numbers as one for each call, since every call has one in both cases.

    Args:
        calls: such as one for each side; with gradients and inference mode as they are here.
        device: what they compute on. Calls on another one than the CPU run one after the other.
    """
    threads = torch.get_num_threads()
    if torch.device(device).type != "cpu" or len(calls) < 2:
        return [call() for call in calls]
    share = max(1, threads // len(calls))
    gradients, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def with_share(call: Callable[[], Value]) -> Value:
        torch.set_num_threads(share)  # of the thread that runs this, as the modes are
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return call()

    try:
        if threads < len(calls):
            return [with_share(call) for call in calls]
        others = [_helpers.submit(with_share, call) for call in calls[1:]]
        try:
            first = with_share(calls[0])
        finally:
            wait(others)
        return [first, *(other.result() for other in others)]
    finally:
        torch.set_num_threads(threads)


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
