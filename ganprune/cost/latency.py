"""Measuring a latency table on this machine: each distinct layer of both generators, at a grid of channel counts.

A layer is a convolution together with the padding before it and the norm and activation after it, for one image of the
task's size. It is run as :data:`PYTORCH` does, on the network's own device and with PyTorch's current number of
threads, or by another :class:`Engine`. An engine for exported generators is given from outside, since this room knows
nothing of exports: they come below it, and are timed with its help themselves.

Everything is called once in each of several rounds, and the least time counts: whatever else a machine does can only
make a call slower. Several threads that wait for each other on a busy machine never get their least time; measure on an
idle one.

What no module does (sums, concatenations, functional activations) is not counted. For CycleGAN's generator that is next
to nothing: its layers, called one after the other, take as long as the whole.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ganprune.cost.latency_table import Axes, Grid, LatencyTable, grid_axes
from ganprune.cost.profile import take_turns
from ganprune.data.sizes import Size, read_size
from ganprune.filters.layers import WIDTH, Convolution, Norm, channel_dims, hooks, is_depthwise, is_grouped
from ganprune.filters.slicing import slice_network
from ganprune.filters.space import FilterSpace
from ganprune.models.architecture import input_channels

ROUNDS, LEAST_ROUNDS, SECONDS = 40, 3, 8.0  # as many rounds as the time allows, but the least number at any rate
LEAST_MS = 1e-4  # of a layer: what is left of the clock's rounding when an idle call is taken off


@dataclass(frozen=True)
class Layer:
    """A layer of certain widths, for an engine to run.

    Attributes:
        module: its modules, one after the other.
        image: its input, (1, C, H, W).
        first, last: whether it reads the generator's image, and whether it makes its output.
    """

    module: nn.Module
    image: torch.Tensor
    first: bool
    last: bool


@dataclass(frozen=True)
class Engine:
    """What runs a generator's layers.

    Attributes:
        calls: layers by key -> calls that run them by key, and where a call of its own takes a layer time that it does
            not take inside of a network, also :data:`IDLE`: a call that does nothing else.
        block: channels that its convolutions compute at once; 1 where any number of them makes a difference. Transposed
            convolutions are products of matrices, of any numbers, everywhere.
        clock: what calls are timed by.
    """

    calls: Callable[[Mapping[Any, Layer]], Mapping[Any, Callable[[], Any]]]
    block: int = 1
    clock: Callable[[], float] = time.perf_counter


IDLE = "idle"
PYTORCH = Engine(lambda layers: {key: functools.partial(layer.module, layer.image) for key, layer in layers.items()})


@dataclass(frozen=True)
class Segment:
    """A layer as the unpruned generator has it: the modules that are called one after the other and timed as one.

    Attributes:
        modules: padding, convolution, and what follows it up to the next one.
        shape: of the input, (1, C, H, W).
        axes: input and output channels of its grid.
        first, last: see :class:`Layer`.
    """

    modules: tuple[nn.Module, ...]
    shape: tuple[int, ...]
    axes: Axes
    first: bool = False
    last: bool = False

    @property
    def key(self) -> tuple[Any, ...]:
        """The same for layers that take the same time."""
        return (*map(repr, self.modules), self.shape, self.axes, self.first, self.last)

    def narrowed(self, inputs: int, outputs: int, like: torch.Tensor) -> Layer:
        """Return the layer with fewer channels, and an input of the type and on the device of ``like``."""
        keep: dict[tuple[str, str, int], np.ndarray] = {}
        parts = next((m.groups for m in self.modules if isinstance(m, Convolution) and is_grouped(m)), 1)
        inputs, outputs = (max(1, count // parts) * parts for count in (inputs, outputs))  # as many in every part
        produced = np.arange(outputs)
        for name, module in ((str(index), module) for index, module in enumerate(self.modules)):
            if isinstance(module, Convolution):
                produced = np.arange(inputs if is_depthwise(module) else outputs)
                for dim, count in zip(channel_dims(module), (inputs, len(produced)), strict=True):
                    keep[name, "weight", dim] = np.arange(count // parts if dim else count)
                keep[name, "bias", 0] = produced
            elif isinstance(module, Norm):
                tensors = (*dict(module.named_parameters()), *dict(module.named_buffers())) or (WIDTH,)
                keep |= {(name, tensor, 0): produced for tensor in tensors if tensor != "num_batches_tracked"}
            elif isinstance(module, nn.PReLU) and module.num_parameters > 1:
                keep[name, "weight", 0] = produced
        image = noise((1, inputs, *self.shape[2:]), like)
        return Layer(slice_network(nn.Sequential(*self.modules), keep).eval(), image, self.first, self.last)


def measure_latency(
    generators: Mapping[str, nn.Module],
    spaces: Mapping[str, FilterSpace],
    size: int | Size,
    engine: Engine = PYTORCH,
) -> dict[str, LatencyTable]:
    """Time the layers of both sides' generators, equal ones once; takes some seconds.

    Args:
        generators: the unpruned networks by side, in evaluation mode.
        spaces: their filter spaces.
        size: (height, width) of the images, or one number.
        engine: what runs the layers.

    Returns:
        A table for each side.
    """
    layers = {side: find_segments(network, spaces[side], size, engine.block) for side, network in generators.items()}
    names: dict[Any, str] = {}  # of a layer shape: that of the first layer which has it
    segments: dict[str, Segment] = {}
    for side, path, segment in ((s, p, segment) for s, found in layers.items() for p, segment in found.items()):
        name = names.setdefault(segment.key, f"{side}/{path}")
        segments.setdefault(name, segment)
    times = _least_times(segments, next(next(iter(generators.values())).parameters()), engine)
    shapes = {name: least_grid(segment, times, name, engine.block) for name, segment in segments.items()}
    tables = {}
    for side, found in layers.items():
        own = {path: names[segment.key] for path, segment in found.items()}
        tables[side] = LatencyTable(own, {name: shapes[name] for name in own.values()}, engine.block)
    return tables


def _least_times(segments: Mapping[str, Segment], like: torch.Tensor, engine: Engine) -> dict[Any, float]:
    """Return the milliseconds of each segment, by its name, at each point of its grid."""
    layers = {
        (name, point): segment.narrowed(*point, like)
        for name, segment in segments.items()
        for point in itertools.product(*segment.axes)
    }
    calls = engine.calls(layers)
    with torch.inference_mode():
        turns = take_turns(
            calls, like.device, warm_up=1, rounds=ROUNDS, least=LEAST_ROUNDS, seconds=SECONDS, clock=engine.clock
        )
    idle = min(turns.pop(IDLE, [0.0]))
    return {call: max(min(values) - idle, LEAST_MS) for call, values in turns.items()}


def _pads(module: nn.Module) -> bool:
    return any(kind.__module__ == "torch.nn.modules.padding" for kind in type(module).__mro__)


@torch.no_grad()
def find_segments(generator: nn.Module, space: FilterSpace, size: int | Size, block: int = 1) -> dict[str, Segment]:
    """Pass an image through a generator and return its layers by their convolutions' paths.

    Args:
        generator: the unpruned network, in evaluation mode.
        space: its filter space.
        size: (height, width) of the image, or one number.
        block: see :func:`ganprune.cost.latency_table.grid_axes`.
    """
    calls: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def record(path: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if len(inputs) == 1 and isinstance(inputs[0], torch.Tensor) and inputs[0].ndim == 4:
            calls.append((path, module, tuple(inputs[0].shape)))

    leaves = {path: module for path, module in generator.named_modules() if not [*module.children()]}
    with hooks(leaves, record):
        generator(noise((1, input_channels(generator), *read_size(size)), next(generator.parameters())))
    axes = grid_axes(space, block)
    starts = [index for index, call in enumerate(calls) if isinstance(call[1], Convolution)]
    padded = [index and _pads(calls[index - 1][1]) for index in starts]
    firsts = [index - bool(before) for index, before in zip(starts, padded, strict=True)]
    segments = {}
    for first, start, end in zip(firsts, starts, [*firsts[1:], len(calls)], strict=True):
        path, convolution, _ = calls[start]
        after = [m for _, m, shape in calls[start + 1 : end] if shape[1] == convolution.out_channels]
        before = [module for _, module, _ in calls[first:start]]
        modules, ends = (*before, convolution, *after), (start == starts[0], start == starts[-1])
        segments[path] = Segment(modules, calls[first][2], axes[path], *ends)
    return segments


def least_grid(segment: Segment, times: Mapping[Any, float], name: str, block: int) -> Grid:
    """Return a layer's grid: the least time of as many channels or more, so that fewer never take longer."""
    inputs, outputs = segment.axes
    transposed = any(isinstance(module, nn.ConvTranspose2d) for module in segment.modules)
    least = np.array([[times[name, (row, column)] for column in outputs] for row in inputs])[::-1, ::-1]
    for axis in (0, 1):
        least = np.minimum.accumulate(least, axis)
    rows = tuple(map(tuple, least[::-1, ::-1].round(6).tolist()))
    return Grid(inputs, outputs, rows, 1 if transposed else block)


def noise(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """Return fixed noise of the type and on the device of ``like``."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(like.device, like.dtype)
