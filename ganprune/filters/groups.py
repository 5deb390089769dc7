"""Filter groups: the filters of a generator that must live and die together.

The residual trunk is one group: the last downsampling convolution and the second convolution of every block write into
the same sum. Groups are data (:class:`FilterGroup`); everything that slices networks reads them and knows nothing of
architectures. :mod:`ganprune.filters.tracing` finds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import nn

from ganprune.filters.layers import WIDTH, Layer, is_grouped
from ganprune.filters.slicing import Keep, Key

Places = dict[Key, np.ndarray]  # the bit of each index along that dimension, or -1


@dataclass(frozen=True)
class Member:
    """One dimension of one tensor that a group's filters occupy.

    Attributes:
        module: path of the module, as in ``named_modules``.
        parameter: "weight", "bias", "running_mean", "running_var", or ``num_features`` for a norm without tensors; of a
            module that is no known layer, whatever its parameter is called.
        dim: dimension of the tensor.
        positions: indices along that dimension.
        filters: for each position, the filter of the group that it belongs to.
        produces: whether the filters are written here (a convolution's outputs, a norm) rather than read.
        convolution: whether the module is a convolution (others: norms, PReLU, linear layers, and any
            module with parameters of its own).
    """

    module: str
    parameter: str
    dim: int
    positions: tuple[int, ...]
    filters: tuple[int, ...]
    produces: bool
    convolution: bool


@dataclass(frozen=True)
class FilterGroup:
    """Coupled filters: ``size`` bits, one per filter, and every tensor that they occupy.

    Attributes:
        name: path of the first convolution that writes them.
        size: number of filters.
        members: the tensors.
    """

    name: str
    size: int
    members: tuple[Member, ...]

    def convolutions(self, *, produces: bool) -> dict[str, int]:
        """Return the convolutions that write (or read) these filters: path -> dimension of the weight."""
        weights = (member for member in self.members if member.convolution and member.parameter == "weight")
        return {member.module: member.dim for member in weights if member.produces == produces}


def index_bits(generator: nn.Module, groups: Sequence[FilterGroup]) -> tuple[Places, set[Key]]:
    """Return which bit controls each index of each dimension of each tensor, and which of these are written.

    Args:
        generator: the network that the groups were found in.
        groups: whose filters have the bits, one group's behind the other's.
    """
    places: Places = {}
    written, first = set(), 0
    for group in groups:
        for member in group.members:
            key = (member.module, member.parameter, member.dim)
            if key not in places:
                tensor = getattr(generator.get_submodule(member.module), member.parameter)
                places[key] = np.full(tensor if member.parameter == WIDTH else tensor.shape[member.dim], -1)
            places[key][list(member.positions)] = first + np.asarray(member.filters)
            if member.produces:
                written.add(key)
        first += group.size
    return places, written


def staying(place: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Return whether each index stays, by the bit that it has: those without one, and those whose bit is True, do."""
    stays: np.ndarray = (place < 0) | bits[place]
    return stays


def kept_indices(places: Places, bits: np.ndarray, keys: Iterable[Key]) -> Keep:
    """Return the indices that stay along these of the ``places``; ``bits`` are booleans."""
    return {key: np.flatnonzero(staying(places[key], bits)) for key in keys}


def merge_member(members: dict[Key, Member], member: Member) -> None:
    """Put a member among the others: filters that a concatenation repeats occupy a dimension at several places."""
    key = (member.module, member.parameter, member.dim)
    known = members.get(key)
    if known is None:
        members[key] = member
        return
    new = [i for i, position in enumerate(member.positions) if position not in known.positions]
    members[key] = replace(
        known, positions=(*known.positions, *(member.positions[i] for i in new)),
        filters=(*known.filters, *(member.filters[i] for i in new)),
    )  # fmt: skip


def tie_blocks(groups: Sequence[FilterGroup]) -> list[FilterGroup]:
    """Return the groups with each residual block's inner group merged into the trunk that it reads and writes."""
    reads: dict[str, int] = {}  # convolution -> group that it reads
    writes: dict[str, int] = {}  # convolution -> group that it writes
    for index, group in enumerate(groups):
        reads |= dict.fromkeys(group.convolutions(produces=False), index)
        writes |= dict.fromkeys(group.convolutions(produces=True), index)
    trunks: dict[int, int] = {}  # inner group -> its trunk
    for index, group in enumerate(groups):
        around = {reads.get(name) for name in group.convolutions(produces=True)}
        around |= {writes.get(name) for name in group.convolutions(produces=False)}
        trunk = around.pop() if len(around) == 1 else None
        if trunk is not None and groups[trunk].size == group.size:
            trunks[index] = trunk
    merged = []
    for index, group in enumerate(groups):
        if index not in trunks:
            inner = [member for i, trunk in trunks.items() if trunk == index for member in groups[i].members]
            merged.append(replace(group, members=(*group.members, *inner)))
    return merged


def tie_grouped(groups: list[FilterGroup], generator: nn.Module) -> tuple[list[FilterGroup], dict[str, str]]:
    """Return the groups with filters tied as the generator's grouped convolutions want it.

    Args:
        groups: all groups of the generator, those of its output image too; positions of a grouped convolution's members
            are channels.
        generator: the network.

    Returns:
        Groups whose filters may go one by one; and by their names why the others, of which nothing or only everything
        could go, are unprunable.
    """
    layers = {name: module for name, module in generator.named_modules() if is_grouped(module)}
    if not layers:
        return groups, {}
    starts = np.concatenate([[0], np.cumsum([group.size for group in groups])])
    roots = _tied(groups, starts, layers)
    merged: list[FilterGroup] = []
    unprunable: dict[str, str] = {}
    for together in _components(groups, starts, roots):
        group = _merge([groups[index] for index in together], [starts[index] for index in together], roots, layers)
        if group.size > 1 or (group.size == 1 and len(together) == 1 == groups[together[0]].size):
            merged.append(group)
        else:
            names = (groups[index].name for index in together)
            unprunable |= dict.fromkeys(names, "a grouped convolution holds them together")
    return merged, unprunable


def _tied(groups: Sequence[FilterGroup], starts: np.ndarray, layers: dict[str, Layer]) -> np.ndarray:
    """Return, for every filter of all groups, the least of those it is tied to; -1 if it has to stay."""
    stays = int(starts[-1])  # a node of the graph that stands for all that has to stay
    edges: list[tuple[int, int]] = []
    channels: dict[tuple[str, bool], np.ndarray] = {}
    for name, layer in layers.items():
        channels[name, False] = np.full(layer.in_channels, stays)
        channels[name, True] = np.full(layer.out_channels, stays)
    for group, start in zip(groups, starts, strict=False):
        for member in group.members:
            if member.module in layers and member.parameter == "weight":
                filters = channels[member.module, member.produces]
                if max(member.positions) < len(filters):
                    filters[list(member.positions)] = start + np.asarray(member.filters)
                else:  # traced as if it had as many outputs as inputs
                    edges += [(index, stays) for index in range(start, start + group.size)]
    for (name, _), filters in channels.items():
        for first, *others in filters.reshape(layers[name].groups, -1).T.tolist():
            edges += [(first, other) for other in others]
    labels = _labels(stays + 1, edges)
    roots: np.ndarray = np.unique(labels, return_index=True)[1][labels]
    return np.where(labels == labels[stays], -1, roots)[:stays]


def _components(groups: Sequence[FilterGroup], starts: np.ndarray, roots: np.ndarray) -> list[list[int]]:
    """Return the indices of groups that share tied filters, in the order of the first of each."""
    owner = np.repeat(np.arange(len(groups)), np.diff(starts))
    labels = _labels(len(groups), [(owner[i], owner[root]) for i, root in enumerate(roots) if root >= 0]).tolist()
    return [[index for index, each in enumerate(labels) if each == label] for label in dict.fromkeys(labels)]


def _labels(nodes: int, edges: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return for each node of a graph the number, from 0, of the connected component that it is in."""
    ends = np.array(edges, dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(ends.shape[1]), (ends[0], ends[1])), shape=(nodes, nodes))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    return labels


def _merge(
    groups: Sequence[FilterGroup], starts: Sequence[int], roots: np.ndarray, layers: dict[str, Layer]
) -> FilterGroup:
    """Return one group whose filters are the sets of tied ones."""
    filters = np.concatenate([np.arange(s, s + g.size) for g, s in zip(groups, starts, strict=True)])
    own = np.unique(roots[filters][roots[filters] >= 0])
    members: dict[Key, Member] = {}
    for group, start in zip(groups, starts, strict=True):
        for member in group.members:
            layer, positions = layers.get(member.module), np.asarray(member.positions)
            tied = roots[start + np.asarray(member.filters)]
            stays = tied >= 0
            if layer is not None and member.parameter == "weight" and member.dim == 1:  # holds one block's channels
                stays &= positions < layer.weight.shape[1]
            where, which = positions[stays].tolist(), np.searchsorted(own, tied[stays]).tolist()
            if where:
                merge_member(members, replace(member, positions=tuple(where), filters=tuple(which)))
    return FilterGroup(groups[0].name, len(own), tuple(members.values()))
