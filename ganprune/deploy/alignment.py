"""Channels in multiples of 4, by silent ones: the same function, in the layout that onnxruntime computes fastest.

onnxruntime's fast convolutions take blocks of channels, and only numbers of input channels that are multiples of 4 (or
few enough for one block). Any other number goes through matrices that are built anew for every image, which costs up to
twice the time. A silent channel has zero weights where it is written and where it is read; its vector lanes would have
been computed anyhow.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from ganprune.errors import UserError
from ganprune.filters.groups import FilterGroup, Member
from ganprune.filters.layers import WIDTH
from ganprune.filters.slicing import refresh_widths
from ganprune.filters.tracing import find_groups

MULTIPLE = 4
TOLERANCE = 1e-3  # on [-1, 1]: rounding stays far below; an export is checked on real images afterwards
ONE_BLOCK = 16  # no more channels than this fill one block, as they are


def aligned(network: nn.Module, example: torch.Tensor) -> nn.Module:
    """Return a copy of a generator whose groups of filters are filled up to multiples of :data:`MULTIPLE`.

    Groups that can't be filled up so simply (in grouped convolutions, or rearranged on their way) stay as they are. The
    network itself is returned where there is nothing to fill up, where it can't be traced, and where it notices
    (a softmax over channels would).

    Args:
        network: maps ``example`` to an image.
        example: (N, C, H, W), of which the first image is used.
    """
    example = example[:1]
    try:
        groups, _ = find_groups(network, example)
    except UserError:
        return network
    missing = {group.name: -group.size % MULTIPLE for group in groups if group.size > ONE_BLOCK}
    chosen = [group for group in groups if missing.get(group.name) and _is_plain(network, group)]
    if not chosen:
        return network
    wider = copy.deepcopy(network)
    # Where groups follow each other in one dimension, what is put in behind the last moves none of the others.
    inserts: dict[tuple[str, str, int], list[tuple[int, int]]] = {}
    for group in chosen:
        for member in group.members:
            key = (member.module, member.parameter, member.dim)
            inserts.setdefault(key, []).extend((end, missing[group.name]) for end in _ends(member, group.size))
    for (path, name, dim), places in inserts.items():
        _insert(wider.get_submodule(path), name, dim, sorted(places, reverse=True))
    try:
        same = torch.allclose(wider(example), network(example), atol=TOLERANCE)
    except Exception:  # networks that we did not write may count on their channels
        same = False
    return wider if same else network


def _is_plain(network: nn.Module, group: FilterGroup) -> bool:
    """Whether a group fills whole, ordered stretches of everything that it occupies, and no grouped convolution."""
    return all(
        getattr(network.get_submodule(member.module), "groups", 1) == 1 and _ends(member, group.size)
        for member in group.members
    )


def _ends(member: Member, size: int) -> list[int]:
    """Return behind which indices a member's stretches of ``size`` filters end; none if they are not such stretches."""
    pairs = sorted(zip(member.positions, member.filters, strict=True))
    stretches = [pairs[i : i + size] for i in range(0, len(pairs), size)]
    ordered = all(
        [f for _, f in stretch] == list(range(size)) and stretch[-1][0] - stretch[0][0] == size - 1
        for stretch in stretches
    )
    return [stretch[-1][0] + 1 for stretch in stretches] if ordered else []


def _insert(module: nn.Module, name: str, dim: int, places: Sequence[tuple[int, int]]) -> None:
    """Put silent channels into one dimension of a layer's tensor, at (index, number), the last index first."""
    tensor = getattr(module, name)
    if name == WIDTH:
        module.num_features = tensor + sum(count for _, count in places)
        return
    for index, count in places:
        shape = list(tensor.shape)
        shape[dim] = count
        between = torch.full(shape, float(name == "running_var"), dtype=tensor.dtype, device=tensor.device)
        before, after = tensor.detach().tensor_split((index,), dim)
        tensor = torch.cat([before, between, after], dim)
    setattr(module, name, nn.Parameter(tensor, False) if name in module._parameters else tensor)
    refresh_widths(module, tensor.shape[dim])
