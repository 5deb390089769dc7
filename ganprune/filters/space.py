"""FilterSpace: what each bit of an individual means, and the size term N(p) of Eq. 10."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from ganprune.data.sizes import Size, read_size
from ganprune.errors import UserError, did_you_mean
from ganprune.filters.equivalence import check_equivalence
from ganprune.filters.groups import FilterGroup
from ganprune.filters.layers import WIDTH, is_depthwise
from ganprune.filters.repair import LegalBits
from ganprune.filters.slicing import Keep
from ganprune.filters.tracing import find_groups
from ganprune.models.architecture import input_channels

Channels = tuple[str, int]  # path of a convolution, and the dimension of its weight that they run along


def written(space: FilterSpace) -> list[Channels]:
    """Return where convolutions write filters that can be pruned: their output channels."""
    return _channels(space, produces=True)


def read(space: FilterSpace) -> list[Channels]:
    """Return where convolutions read filters that can be pruned: their input channels; no depthwise ones."""
    return _channels(space, produces=False)


def _channels(space: FilterSpace, produces: bool) -> list[Channels]:
    members = [member for group in space.groups for member in group.members]
    chosen = [m for m in members if m.convolution and m.parameter == "weight" and m.produces == produces]
    return list(dict.fromkeys((member.module, member.dim) for member in chosen))


def combine(space: FilterSpace, scores: Mapping[Channels, np.ndarray]) -> np.ndarray:
    """Return (len(space),): each bit's mean over all channels that it stands for, 0 where there is none.

    Args:
        space: says which bit each channel is.
        scores: per layer one score for each index of that dimension of its weight.
    """
    total, count = np.zeros(len(space)), np.zeros(len(space))
    for (layer, dim), values in scores.items():
        controller = space.controller(layer, dim)
        if controller is not None:
            inside = controller >= 0
            np.add.at(total, controller[inside], np.asarray(values, dtype=float)[inside])
            np.add.at(count, controller[inside], 1)
    return total / count.clip(1)


def norms(space: FilterSpace, generator: nn.Module) -> np.ndarray:
    """Return per bit the mean absolute weight of its filters, relative to that of their whole layer."""
    relative = {}
    for layer, dim in written(space):
        weight = generator.get_submodule(layer).weight.detach().abs().double().cpu()  # type: ignore[union-attr, operator]
        means = weight.transpose(0, dim).flatten(1).mean(1).numpy()  # type: ignore[operator]
        relative[layer, dim] = means / max(means.mean(), 1e-30)
    return combine(space, relative)


ENCODINGS = ("grouped", "tied")


class FilterSpace(LegalBits):
    """The bit strings of one generator: one bit per prunable filter, coupled filters sharing theirs (Eq. 9).

    Args:
        generator: the network to prune.
        encoding: "grouped": every coupled group has its own bits; "tied": the inner convolutions of residual blocks
            share the trunk's bits too, as in the authors' released code.
        size: (height, width) of the example image that the network is traced with, or one number.

    Attributes:
        groups: the prunable groups in the order of the layers; their bits follow each other.
        whole: the convolutions whose filters all stay, and why.
        group_sizes, multiple: see :class:`ganprune.filters.repair.LegalBits`.
        depthwise: paths of the depthwise convolutions, whose input and output channels are the same bits'.
        saliency: per bit, how much it matters within its group (higher matters more): the mean absolute weight of its
            filters relative to their layer's, until :meth:`rank` says better.

    Raises:
        UserError: an unknown encoding, or a generator that can't be traced, has nothing to prune, or breaks the law
            *masked == compact*.
    """

    def __init__(self, generator: nn.Module, *, encoding: str = "grouped", size: int | Size = 64):
        if encoding not in ENCODINGS:
            raise UserError("encoding", encoding, " or ".join(ENCODINGS), did_you_mean(encoding, ENCODINGS))
        self.encoding = encoding
        height, width = read_size(size)
        channels = input_channels(generator)
        example = torch.zeros(1, channels, height, width)
        groups, self.whole = find_groups(generator, example)
        self.groups = _tie(groups) if encoding == "tied" else groups
        if not self.groups:
            why = "".join(f"; the filters of {name} stay, since {reason}" for name, reason in self.whole.items())
            found = type(generator).__name__ + why
            raise UserError("generator", found, "at least one prunable filter group", "Use another.")
        super().__init__([group.size for group in self.groups])
        self._controllers, self._produced = self._index(generator)
        layers = {n: m for n, m in generator.named_modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))}
        self._weights = {name: tuple(module.weight.shape) for name, module in layers.items()}
        self._transposed = {name for name, module in layers.items() if isinstance(module, nn.ConvTranspose2d)}
        self.depthwise = {name for name, module in layers.items() if is_depthwise(module)}
        self._parts = {name: 1 if name in self.depthwise else module.groups for name, module in layers.items()}
        self._total = sum(int(np.prod(shape)) for shape in self._weights.values())
        self._tensors = {name: tuple(tensor.shape) for name, tensor in generator.named_parameters()}
        self.saliency = norms(self, generator).tolist()
        bits = self.repair(np.random.default_rng(0).integers(0, 2, len(self)).tolist())
        written = self.kept(bits, produces=True)
        check_equivalence(generator, self.kept(bits), written, channels, (height, width))

    def _index(self, generator: nn.Module) -> tuple[dict[tuple[str, str, int], np.ndarray], set[tuple[str, str, int]]]:
        """For each dimension of each tensor: which bit controls each index (-1: none)."""
        controllers: dict[tuple[str, str, int], np.ndarray] = {}
        produced = set()
        for group, offset in zip(self.groups, self.offsets, strict=False):
            for member in group.members:
                key = (member.module, member.parameter, member.dim)
                if key not in controllers:
                    tensor = getattr(generator.get_submodule(member.module), member.parameter)
                    controllers[key] = np.full(tensor if member.parameter == WIDTH else tensor.shape[member.dim], -1)
                controllers[key][list(member.positions)] = offset + np.asarray(member.filters)
                if member.produces:
                    produced.add(key)
        return controllers, produced

    def kept(self, bits: Sequence[int], *, produces: bool = False) -> Keep:
        """Return, for every (module path, tensor, dimension) that the bits control, the indices that stay.

        Args:
            bits: a legal individual.
            produces: only where filters are written, not where they are read.
        """
        array = self.check(bits)
        wanted = self._produced if produces else self._controllers
        return {key: _stay(self._controllers[key], array) for key in wanted}

    def check(self, bits: Sequence[int]) -> np.ndarray:
        """Return the bits as a boolean array.

        Raises:
            UserError: a wrong length, values other than 0 and 1, or a group without filters.
        """
        array = np.asarray(bits)
        if array.shape != (len(self),):
            raise UserError(
                "bits", f"shape {array.shape}", f"{len(self)} bits", "Use individuals of this filter space."
            )
        if not np.isin(array, (0, 1)).all():
            raise UserError("bits", "values other than 0 and 1", "0 or 1", "Check the operator that made them.")
        empty = [group.name for group, part in zip(self.groups, self.split(array), strict=True) if not part.any()]
        if empty:
            raise UserError(
                "bits", f"no filter left in {empty[0]}", "one or more per group", "Call space.repair(bits)."
            )
        return array.astype(bool)

    def controller(self, module: str, dim: int) -> np.ndarray | None:
        """Return the bit of each channel in that dimension of a layer's weight, -1 for what always stays; None if
        nothing of it can be pruned."""
        return self._controllers.get((module, "weight", dim))

    def full(self) -> list[int]:
        """Return the individual that keeps every filter."""
        return [1] * len(self)

    def encode(self, kept: dict[str, Sequence[int]]) -> list[int]:
        """Return the bits that keep the given filters of the named groups (groups not named keep all)."""
        unknown = [name for name in kept if name not in {group.name for group in self.groups}]
        if unknown:
            raise UserError(
                "group", unknown[0], "a group's name", did_you_mean(unknown[0], [g.name for g in self.groups])
            )
        bits: list[int] = []
        for group in self.groups:
            stay = set(kept.get(group.name, range(group.size)))
            if wrong := sorted(stay - set(range(group.size))):
                raise UserError(
                    f"group {group.name}", f"filter {wrong[0]}", f"0 to {group.size - 1}", "Correct its filters."
                )
            bits += [int(index in stay) for index in range(group.size)]
        return bits

    def decode(self, bits: Sequence[int]) -> dict[str, list[int]]:
        """Return the indices of the kept filters of each group by its name."""
        return {g.name: np.flatnonzero(part).tolist() for g, part in zip(self.groups, self.split(bits), strict=True)}

    def weight_counts(self, bits: Sequence[int]) -> dict[str, int]:
        """Return the kept weight elements of each convolution by its path (no biases)."""
        array = self.check(bits)
        return {name: self._elements(name, "weight", shape, array) for name, shape in self._weights.items()}

    def widths(self, bits: Sequence[int]) -> dict[str, tuple[int, int]]:
        """Return the kept (input, output) channels of each convolution by its path."""
        array, widths = self.check(bits), {}
        for name, shape in self._weights.items():
            first, second = self._kept_shape(name, "weight", shape, array)[:2]
            second *= self._parts[name]  # a grouped convolution's tensor holds the channels of one part
            if name in self.depthwise:
                widths[name] = (first, first)
            else:
                widths[name] = (first, second) if name in self._transposed else (second, first)
        return widths

    def _elements(self, module: str, parameter: str, shape: Sequence[int], array: np.ndarray) -> int:
        """Return how many elements of a tensor the bits keep."""
        return math.prod(self._kept_shape(module, parameter, shape, array))

    def _kept_shape(self, module: str, parameter: str, shape: Sequence[int], array: np.ndarray) -> list[int]:
        """Return the shape of what the bits keep of a tensor."""
        kept = list(shape)
        for dim in range(min(2, len(shape))):
            controller = self._controllers.get((module, parameter, dim))
            if controller is not None:
                kept[dim] = int(((controller < 0) | array[controller]).sum())
        return kept

    def parameter_count(self, bits: Sequence[int]) -> int:
        """Return the number of learned values of the compact network, biases and norms included."""
        array = self.check(bits)
        parts = ((*name.rpartition(".")[::2], shape) for name, shape in self._tensors.items())
        return sum(self._elements(module, parameter, shape, array) for module, parameter, shape in parts)

    def size_share(self, bits: Sequence[int]) -> float:
        """N(p) of Eq. 10: kept weight elements over all weight elements of the convolutions, in (0, 1]."""
        return sum(self.weight_counts(bits).values()) / self._total


def _stay(controller: np.ndarray, array: np.ndarray) -> np.ndarray:
    return np.flatnonzero((controller < 0) | array[controller])


def _tie(groups: list[FilterGroup]) -> list[FilterGroup]:
    """Merge each residual block's inner group into the trunk that it reads from and writes to."""
    reads: dict[str, int] = {}  # convolution -> group that it reads
    writes: dict[str, int] = {}  # convolution -> group that it writes
    for index, group in enumerate(groups):
        reads |= dict.fromkeys(group.convolutions(produces=False), index)
        writes |= dict.fromkeys(group.convolutions(produces=True), index)
    owner: dict[int, int] = {}
    for index, group in enumerate(groups):
        sources = {reads.get(name) for name in group.convolutions(produces=True)}
        sinks = {writes.get(name) for name in group.convolutions(produces=False)}
        if (
            len(sources | sinks) == 1
            and (trunk := next(iter(sources))) is not None
            and groups[trunk].size == group.size
        ):
            owner[index] = trunk
    merged = []
    for index, group in enumerate(groups):
        if index not in owner:
            tied = [m for inner, trunk in owner.items() if trunk == index for m in groups[inner].members]
            merged.append(FilterGroup(group.name, group.size, (*group.members, *tied)))
    return merged
