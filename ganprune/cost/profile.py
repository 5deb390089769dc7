"""What a generator costs: parameters, memory, multiply-accumulates, measured latency.

MACs of transposed convolutions are counted at input size by some tools and at output size by others; both are given
(``input_size`` is the headline). The 9-block, ngf=64 generator at 256x256 takes 49.55e9 by the first and 56.80e9 by the
second; the paper's Table 1 implies the second.
"""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from ganprune.data.sizes import Size, read_size
from ganprune.filters.layers import convolutions, evaluating, hooks

Key = TypeVar("Key")
CONVENTIONS = ("input_size", "output_size")
FINE = 1e-6  # seconds between ticks of a clock that layers can be timed by


def parameters(network: nn.Module) -> int:
    """Number of learned values, biases included."""
    return sum(parameter.numel() for parameter in network.parameters())


def memory_mb(network: nn.Module) -> float:
    """Parameters * 4 bytes / 2^20: what the paper's "memory" means."""
    return parameters(network) * 4 / 2**20


@torch.no_grad()
def layer_positions(network: nn.Module, channels: int, size: int | Size) -> dict[str, dict[str, int]]:
    """Return, by path, at how many positions of an image a convolution's weights are used, by :data:`CONVENTIONS`.

    A convolution's MACs are its weight elements times its output positions; a transposed one's are its weight elements
    times its input positions, or, by the other convention, times its output positions.

    Args:
        network: any network.
        channels: of the image.
        size: its (height, width).
    """
    found: dict[str, dict[str, int]] = {}

    def record(name: str, layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        inside, outside = (tensor.shape[-2] * tensor.shape[-1] for tensor in (inputs[0], output))
        found[name] = {
            "input_size": inside if isinstance(layer, nn.ConvTranspose2d) else outside,
            "output_size": outside,
        }

    weight = next(network.parameters())
    # Batch norms in training mode would take the zeros into their statistics.
    with evaluating(network), hooks(convolutions(network), record, after=True):
        network(torch.zeros(1, channels, *read_size(size), dtype=weight.dtype, device=weight.device))
    return found


def macs(weight_counts: Mapping[str, int], positions: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return the MACs of one image by both conventions, from each convolution's weight elements (no biases)."""
    return {
        convention: sum(count * positions[name][convention] for name, count in weight_counts.items())
        for convention in CONVENTIONS
    }


def weight_counts(network: nn.Module) -> dict[str, int]:
    """Return the weight elements of each convolution by its path."""
    return {name: layer.weight.numel() for name, layer in convolutions(network).items()}


@torch.inference_mode()
def latency_ms(
    networks: Mapping[str, Callable[[torch.Tensor], Any]], example: torch.Tensor, *,
    repeats: int = 15, warm_up: int = 3,
    statistic: Callable[[Sequence[float]], float] = statistics.median,
) -> dict[str, float]:  # fmt: skip
    """Measure networks side by side and return each one's median milliseconds per call.

    They take turns, so that a change of the machine's speed meets all of them.

    Args:
        networks: by name; networks, or other functions of an image.
        example: the input of a call, on the networks' device.
        repeats: timed calls of each.
        warm_up: untimed calls of each before.
        statistic: in the median's place; the least where other programs disturb, since they can only add.
    """
    calls = {name: functools.partial(network, example) for name, network in networks.items()}
    times = take_turns(calls, example.device, warm_up=warm_up, rounds=repeats)
    return {name: statistic(values) for name, values in times.items()}


def one_thread_clock() -> Callable[[], float]:
    """Return the clock for calls that the calling thread computes alone on the CPU.

    It stands still while other programs have the core. Where the system's is too coarse it is the usual clock.
    """
    return time.thread_time if time.get_clock_info("thread_time").resolution <= FINE else time.perf_counter


def take_turns(
    calls: Mapping[Key, Callable[[], Any]], device: torch.device, *, warm_up: int, rounds: int, least: int = 0,
    seconds: float = math.inf, clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, list[float]]:  # fmt: skip
    """Return the milliseconds of each call, once in each round.

    Args:
        calls: by name.
        device: that they compute on.
        warm_up: untimed rounds before.
        rounds: timed ones.
        least: as many of these at any rate, after ``seconds`` too.
        seconds: after which no further round begins.
        clock: what calls are timed by, in seconds.
    """
    times: dict[Key, list[float]] = {name: [] for name in calls}
    # A clock that is read next has to count what the device is still computing.
    wait = functools.partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    started = time.perf_counter()
    for turn in range(-warm_up, rounds):
        if turn >= least and time.perf_counter() - started > seconds:
            break
        for name, call in calls.items():
            wait()
            start = clock()
            call()
            wait()
            if turn >= 0:
                times[name].append((clock() - start) * 1e3)
    return times
