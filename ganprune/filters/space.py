"""FilterSpace: what each bit of an individual means, and the size term N(p) of Eq. 10."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from ganprune.data.sizes import Size, read_size
from ganprune.errors import UserError, did_you_mean
from ganprune.filters.equivalence import equivalent_groups
from ganprune.filters.groups import index_bits, kept_indices, staying, tie_blocks
from ganprune.filters.layers import channel_dims, convolutions, evaluating, is_depthwise, layer_at
from ganprune.filters.repair import Repair
from ganprune.filters.slicing import Keep
from ganprune.filters.tracing import find_groups
from ganprune.models.architecture import input_channels

ENCODINGS = ("grouped", "tied")
SHOWN = 5  # unprunable groups that a message tells at most


class FilterSpace:
    """The bit strings of one generator: one bit per prunable filter, coupled filters sharing theirs (Eq. 9).

    A space never changes; :meth:`with_repair` returns another one of the same bits.

    Args:
        generator: the network to prune.
        encoding: "grouped": every coupled group has its own bits; "tied": the inner convolutions of residual blocks
            share the trunk's bits too, as in the authors' released code.
        size: (height, width) of the example image that the network is traced with, or one number.

    Attributes:
        groups: the prunable groups in the order of the layers; their bits follow each other.
        unprunable: the convolutions whose filters all stay, and why: cut by cut the network would be another one than
            with silent filters, or it could not do without one.
        group_sizes: bits of each group.
        offsets: where each group begins, and where the last one ends.
        depthwise: paths of the depthwise convolutions, whose input and output channels are the same bits'.
        repair: bits -> repaired bits: a :class:`ganprune.filters.repair.Repair`. Here the only one is that every group
            keeps a filter, the most salient: with the largest mean absolute weight relative to its layer's.

    Raises:
        UserError: an unknown encoding, or a generator that can't be traced or of which nothing can be pruned: no group
            passes the equivalence check *masked == compact*.
    """

    def __init__(self, generator: nn.Module, *, encoding: str = "grouped", size: int | Size = 64):
        if encoding not in ENCODINGS:
            raise UserError("encoding", encoding, " or ".join(ENCODINGS), did_you_mean(encoding, ENCODINGS))
        self.encoding = encoding
        height, width = read_size(size)
        channels = input_channels(generator)
        with evaluating(generator):  # a spectral norm's weight changes with every look at it in training
            groups, self.unprunable = find_groups(generator, torch.zeros(1, channels, height, width))
            groups, differing = equivalent_groups(generator, groups, channels, (height, width))
            self.unprunable |= differing
            self.groups = tuple(tie_blocks(groups) if encoding == "tied" else groups)
            if not self.groups:
                found = type(generator).__name__ + _told(self.unprunable)
                raise UserError("generator", found, "at least one prunable filter group", "Use another.")
            self._describe(generator)

    def _describe(self, generator: nn.Module) -> None:
        """Note what there is to know of the network's tensors."""
        self.group_sizes = tuple(group.size for group in self.groups)
        self.offsets = np.concatenate([[0], np.cumsum(self.group_sizes)])
        self._controllers, self._produced = index_bits(generator, self.groups)
        layers = convolutions(generator)
        self._weights = {name: tuple(module.weight.shape) for name, module in layers.items()}
        self._dims = {name: channel_dims(module) for name, module in layers.items()}
        self.depthwise = {name for name, module in layers.items() if is_depthwise(module)}
        self._parts = {name: 1 if name in self.depthwise else module.groups for name, module in layers.items()}
        self._tensors = {name: tuple(tensor.shape) for name, tensor in generator.named_parameters()}
        self.repair = Repair(self.group_sizes, tuple(norms(self, generator).tolist()))

    def __setattr__(self, name: str, value: Any) -> None:
        if "repair" in vars(self):  # the last thing that is set
            raise AttributeError(f"a filter space never changes, nor does its {name}; with_repair() returns another")
        super().__setattr__(name, value)

    def with_repair(self, **changes: Any) -> FilterSpace:
        """Return a space of the same bits whose ``repair`` has these attributes of :class:`Repair` changed.

        Args:
            changes: such as ``multiple=8``, or ``fits=lambda bits: ...`` for a budget.

        Raises:
            UserError: no bits can be repaired so.
        """
        twin = copy.copy(self)
        vars(twin)["repair"] = replace(self.repair, **changes)
        return twin

    @property
    def saliency(self) -> tuple[float, ...]:
        """Per bit, how much it matters within its group: higher matters more."""
        return self.repair.saliency

    def fill(self, bits: Sequence[int]) -> list[int]:
        """Return bits of the same proportions that use the budget up; see :meth:`Repair.fill`."""
        return self.repair.fill(bits)

    def cut(self, bits: Sequence[int]) -> list[int]:
        """Return bits that fit, the widest groups narrowed first; see :meth:`Repair.cut`."""
        return self.repair.cut(bits)

    def __len__(self) -> int:
        """Number of bits."""
        return int(self.offsets[-1])

    def split(self, bits: Sequence[float] | np.ndarray) -> list[np.ndarray]:
        """Return the bits of each group."""
        return np.split(np.asarray(bits), self.offsets[1:-1])

    def kept(self, bits: Sequence[int], *, produces: bool = False) -> Keep:
        """Return, for every (module path, tensor, dimension) that the bits control, the indices that stay.

        Args:
            bits: repaired ones.
            produces: only where filters are written, not where they are read.
        """
        array = self.check(bits)
        return kept_indices(self._controllers, array, self._produced if produces else self._controllers)

    def check(self, bits: Sequence[int]) -> np.ndarray:
        """Return the bits as a boolean array.

        Raises:
            UserError: a wrong length, values other than 0 and 1, or a group without filters.
        """
        array = np.asarray(bits)
        if array.shape != (len(self),):
            found, expected = f"shape {array.shape}", f"{len(self)} bits"
            raise UserError("bits", found, expected, "Use individuals of this filter space.")
        if not np.isin(array, (0, 1)).all():
            raise UserError("bits", "values other than 0 and 1", "0 or 1", "Check the operator that made them.")
        empty = [group.name for group, part in zip(self.groups, self.split(array), strict=True) if not part.any()]
        if empty:
            found = f"no filter left in {empty[0]}"
            raise UserError("bits", found, "one or more per group", "Call space.repair(bits).")
        return array.astype(bool)

    def controller(self, module: str, dim: int) -> np.ndarray | None:
        """Return the bit of each channel in that dimension of a layer's weight, -1 for what always stays; None if
        nothing of it can be pruned."""
        return self._controllers.get((module, "weight", dim))

    def channels(self, *, produces: bool) -> dict[str, int]:
        """Return where convolutions write (or read; no depthwise ones) filters that can be pruned.

        Returns:
            The convolution's path -> the dimension of its weight that those channels run along.
        """
        return {path: dim for group in self.groups for path, dim in group.convolutions(produces=produces).items()}

    def full(self) -> list[int]:
        """Return the individual that keeps every filter."""
        return [1] * len(self)

    def encode(self, kept: dict[str, Sequence[int]]) -> list[int]:
        """Return the bits that keep the given filters of the named groups (groups not named keep all)."""
        names = [group.name for group in self.groups]
        for name in kept.keys() - set(names):
            raise UserError("group", name, "a group's name", did_you_mean(name, names))
        bits: list[int] = []
        for group in self.groups:
            stay = set(kept.get(group.name, range(group.size)))
            if wrong := sorted(stay - set(range(group.size))):
                found, expected = f"filter {wrong[0]}", f"0 to {group.size - 1}"
                raise UserError(f"group {group.name}", found, expected, "Correct its filters.")
            bits += [int(index in stay) for index in range(group.size)]
        return bits

    def decode(self, bits: Sequence[int]) -> dict[str, list[int]]:
        """Return the indices of the kept filters of each group by its name."""
        return {g.name: np.flatnonzero(part).tolist() for g, part in zip(self.groups, self.split(bits), strict=True)}

    def weight_counts(self, bits: Sequence[int]) -> dict[str, int]:
        """Return the kept weight elements of each convolution by its path (no biases)."""
        array = self.check(bits)
        return {n: math.prod(self._kept_shape(n, "weight", shape, array)) for n, shape in self._weights.items()}

    def widths(self, bits: Sequence[int]) -> dict[str, tuple[int, int]]:
        """Return the kept (input, output) channels of each convolution by its path."""
        array, widths = self.check(bits), {}
        for name, shape in self._weights.items():
            kept = self._kept_shape(name, "weight", shape, array)
            kept[1] *= self._parts[name]  # a grouped convolution's tensor holds the channels of one part
            inputs, outputs = self._dims[name]
            widths[name] = kept[inputs], kept[outputs]
        return widths

    def parameter_count(self, bits: Sequence[int]) -> int:
        """Return the number of learned values of the compact network, biases and norms included."""
        array = self.check(bits)
        parts = ((*name.rpartition(".")[::2], shape) for name, shape in self._tensors.items())
        return sum(math.prod(self._kept_shape(module, parameter, shape, array)) for module, parameter, shape in parts)

    def size_share(self, bits: Sequence[int]) -> float:
        """N(p) of Eq. 10: kept weight elements over all weight elements of the convolutions, in (0, 1]."""
        return sum(self.weight_counts(bits).values()) / sum(map(math.prod, self._weights.values()))

    def _kept_shape(self, module: str, parameter: str, shape: Sequence[int], array: np.ndarray) -> list[int]:
        """Return the shape of what the bits keep of a tensor."""
        kept = list(shape)
        for dim in range(min(2, len(shape))):
            controller = self._controllers.get((module, parameter, dim))
            if controller is not None:
                kept[dim] = int(staying(controller, array).sum())
        return kept


def combine(space: FilterSpace, scores: Mapping[tuple[str, int], np.ndarray]) -> np.ndarray:
    """Return (len(space),): each bit's mean over all channels that it stands for, 0 where there is none.

    Args:
        space: says which bit each channel is.
        scores: per convolution and dimension of its weight one score for each index.
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
    for layer, dim in space.channels(produces=True).items():
        weight = layer_at(generator, layer).weight.detach().abs().double().cpu()
        means = weight.transpose(0, dim).flatten(1).mean(1).numpy()
        relative[layer, dim] = means / max(means.mean(), 1e-30)
    return combine(space, relative)


def _told(unprunable: Mapping[str, str]) -> str:
    """Return in words why filters stay, of the first few."""
    told = [f"; the filters of {name} stay, since {reason}" for name, reason in unprunable.items()]
    return "".join(told[:SHOWN]) + (f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else "")
