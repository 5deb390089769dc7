"""Finds the filter groups of a generator by tracing it.

Tracing is Torch-Pruning's ``DependencyGraph`` (Fang et al., CVPR 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch_pruning
from torch import nn

from ganprune.data.sizes import size_text
from ganprune.errors import UserError, reason
from ganprune.filters.groups import FilterGroup, Member, merge_member, tie_grouped
from ganprune.filters.layers import (
    MIXING,
    WIDTH,
    Convolution,
    Layer,
    Norm,
    channel_dims,
    convolutions,
    has_own_weight,
    hooks,
    is_depthwise,
    mixes,
)
from ganprune.filters.slicing import Key, slice_network
from ganprune.models.copying import copied

Names = dict[nn.Module | nn.Parameter, str]
ROUNDS = 1000  # in which indices come to one place in other ways; beyond that, they would go on to
COMPUTED = "the weight of {} is computed (spectral or weight norm: remove_parametrizations would make it a plain one)"
LOST = "tracing loses them in a rearrangement, such as attention's"
UNSEEN = "tracing does not see that layer: it runs without gradients, or not at all"
UNCUT = "they are read by {} ({}), of which no part can be cut out"


def find_groups(generator: nn.Module, example: torch.Tensor) -> tuple[list[FilterGroup], dict[str, str]]:
    """Trace a generator and return its groups in the order of its layers, and why others are unprunable.

    Groups that reach the output image stay; input image channels belong to no group. The network still works without
    some filters of the groups that are returned; whether it is the same as with silent ones, only
    :func:`ganprune.filters.equivalence.equivalent_groups` tells.

    Args:
        generator: in evaluation mode; maps ``example`` to an image.
        example: (1, C, H, W); only its shape matters.

    Returns:
        The groups, and by the name of each unprunable group the reason.

    Raises:
        UserError: the generator can't be traced, or has no convolutions.
    """
    if not convolutions(generator):
        raise UserError("generator", type(generator).__name__, "a network with 2-d convolutions", "Use another one.")
    traced = _traceable(generator)
    graph = _trace(traced, example)
    names: Names = {module: name for name, module in traced.named_modules()}
    names |= {parameter: name for name, parameter in traced.named_parameters()}
    probe, image, shape = _probe(generator, example)
    groups: list[FilterGroup] = []
    held: dict[str, str] = {}  # convolution -> why the filters that it writes can't go
    seen: set[str] = set()
    for name, module in convolutions(traced).items():
        if name not in seen and module in graph.module2node:
            group, why = _group(graph, name, module, names, generator)
            writers = group.convolutions(produces=True)
            seen.update(writers)
            groups.append(group)
            held |= dict.fromkeys(writers, why) if why else {}
    tied, unprunable = tie_grouped(groups, generator)
    unprunable |= {name: UNSEEN for name, layer in convolutions(traced).items() if layer not in graph.module2node}
    reasons = {group.name: _held(group, held) or _why_unprunable(probe, group, image, shape) for group in tied}
    unprunable |= {name: reason for name, reason in reasons.items() if reason is not None}
    return [group for group in tied if reasons[group.name] is None], unprunable


def _traceable(generator: nn.Module) -> nn.Module:
    """Copy a generator so that tracing sees each instance norm as one layer.

    An instance norm followed by an in-place activation is taken apart into views and copies; a batch norm of the same
    width couples the same filters and is one operation. A convolution whose weight is computed becomes a plain one.
    """
    traced = copied(generator).float().cpu().eval()
    for parent in list(traced.modules()):
        if hasattr(parent, "inplace"):
            setattr(parent, "inplace", False)  # noqa: B010
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.InstanceNorm2d):
                setattr(parent, name, nn.BatchNorm2d(child.num_features).eval())
            elif isinstance(child, Convolution) and not has_own_weight(child):
                setattr(parent, name, _plain(child))
    return traced.requires_grad_(True)


def _plain(layer: Layer) -> Layer:
    """Return a new convolution of the same shapes."""
    options: dict[str, Any] = {
        name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation", "groups")
    }
    options |= {"padding_mode": layer.padding_mode, "bias": layer.bias is not None}
    if isinstance(layer, nn.ConvTranspose2d):
        options["output_padding"] = layer.output_padding
        return nn.ConvTranspose2d(layer.in_channels, layer.out_channels, **options)
    return nn.Conv2d(layer.in_channels, layer.out_channels, **options)


def _trace(traced: nn.Module, example: torch.Tensor) -> torch_pruning.DependencyGraph:
    image = example.float().cpu()
    try:
        with torch.enable_grad():
            return torch_pruning.DependencyGraph().build_dependency(
                traced, image, forward_fn=lambda network, images: network(images), verbose=False
            )
    except Exception as error:  # anything can go wrong inside a network that we did not write
        where = _stopped_at(traced, image)
        found = f"{type(traced).__name__} ({where}{type(error).__name__}: {reason(error)})"
        remedy = f"Check its input channels, and whether it takes {size_text((image.shape[2], image.shape[3]))} images."
        raise UserError("generator", found, "a network that can be traced", remedy) from error


def _stopped_at(network: nn.Module, example: torch.Tensor) -> str:
    """Return words for the innermost module in which a network fails; "" if it does not."""
    entered: list[str] = []
    inner = {name: module for name, module in network.named_modules() if name}
    try:
        with torch.inference_mode(), hooks(inner, lambda name, module, inputs: entered.append(name)):
            network(example)
    except Exception:
        return f"in layer {entered[-1]}: " if entered else ""
    return ""


def _group(
    graph: torch_pruning.DependencyGraph,
    name: str,
    module: nn.Module,
    names: Names,
    generator: nn.Module,
) -> tuple[FilterGroup, str | None]:
    """Return the group of a convolution's filters, and why none of them can go if one of its layers can't be cut."""
    size = graph.get_pruner_of_module(module).get_out_channels(module)
    coupled, ended = _coupled(graph, module, size)
    members: dict[Key, Member] = {}
    why: str | None = None if ended else LOST
    for (node, handler), indices in coupled.items():
        target = node.module
        if target not in names:
            continue
        if isinstance(target, nn.Parameter):  # of no layer that is known, such as a scale for each channel
            path, _, parameter = names[target].rpartition(".")
            places = tuple(indices), tuple(indices.values())
            merge_member(members, Member(path, parameter, node.pruning_dim, *places, True, False))
            continue
        original = generator.get_submodule(names[target])
        if not isinstance(target, (*Convolution, *Norm, nn.PReLU, nn.Linear)):
            if list(target.parameters()):
                cut = UNCUT.format(names[target], type(target).__name__)
                why = why or (mixes(names[target], target) if isinstance(target, MIXING) else cut)
            continue
        if isinstance(target, (*Convolution, nn.Linear)) and not has_own_weight(original):
            why = why or COMPUTED.format(names[target])
        produces = graph.is_out_channel_pruning_fn(handler)
        positions, filters = tuple(indices), tuple(indices.values())
        for parameter, dim in _dimensions(target, original, produces):
            convolution = isinstance(target, Convolution)
            member = Member(names[target], parameter, dim, positions, filters, produces, convolution)
            merge_member(members, member)
    return FilterGroup(name, size, tuple(members.values())), why


def _coupled(
    graph: torch_pruning.DependencyGraph, module: nn.Module, size: int
) -> tuple[dict[tuple[Any, Any], dict[int, int]], bool]:
    """Return what is coupled to a convolution's filters: (node, pruning function) -> index -> filter.

    As ``graph.get_pruning_group`` finds it, but with an end: where the graph takes a rearrangement of a tensor for one
    of its channels, as in attention, each round makes more indices than there are channels. Then the second is False.
    """
    most = sum(max(parameter.shape, default=1) for parameter in graph.model.parameters())
    index = torch_pruning._helpers._HybridIndex
    start = graph.module2node[module], graph.get_pruner_of_module(module).prune_out_channels
    first = [index(idx=filter_, root_idx=filter_) for filter_ in range(size)]
    found, stack = {start: [first]}, [(*start, first)]
    while stack:
        node, function, indices = stack.pop()
        for dependency in node.dependencies:
            if not dependency.is_triggered_by(function):
                continue
            mapped = indices
            for mapping in dependency.index_mapping:
                mapped = mapped if mapping is None else mapping(mapped)
            known = found.setdefault((dependency.target, dependency.handler), [])
            if mapped and mapped not in known:
                if max(each.idx for each in mapped) >= most or len(known) == ROUNDS:
                    return _merged(found), False
                known.append(mapped)
                stack.append((dependency.target, dependency.handler, mapped))
    return _merged(found), True


def _merged(found: dict[tuple[Any, Any], list[list[Any]]]) -> dict[tuple[Any, Any], dict[int, int]]:
    """Return the filter of each index, the one that was found first."""
    merged: dict[tuple[Any, Any], dict[int, int]] = {key: {} for key, lists in found.items() if lists}
    for key, lists in found.items():
        for each in (index for indices in lists for index in indices):
            merged[key].setdefault(each.idx, each.root_idx)
    return merged


def _dimensions(traced: nn.Module, module: nn.Module, produces: bool) -> list[tuple[str, int]]:
    """Return (tensor, dimension) pairs of a layer that its output (or input) filters occupy."""
    if isinstance(traced, Convolution):
        bias = [("bias", 0)] if traced.bias is not None and (produces or is_depthwise(traced)) else []
        return [("weight", channel_dims(traced)[produces]), *bias]
    if isinstance(traced, nn.Linear):
        bias = [("bias", 0)] if traced.bias is not None and produces else []
        return [("weight", 0 if produces else 1), *bias]
    tensors = ("weight", "bias", "running_mean", "running_var")
    present = [(name, 0) for name in tensors if isinstance(getattr(module, name, None), torch.Tensor)]
    return present or [(WIDTH, 0)]


def _probe(generator: nn.Module, example: torch.Tensor) -> tuple[nn.Module, torch.Tensor, torch.Size]:
    """Return a copy that shapes can be tried on, an image for it and the shape of what it gives for that."""
    probe = copied(generator).to("meta").eval()  # there, shapes are computed and nothing else
    image = example.to("meta", next(generator.parameters()).dtype)
    with torch.no_grad():
        try:
            output = probe(image)
        except Exception:  # a network may make tensors of its own, which are not on "meta"
            probe, image = copied(generator).cpu().eval(), example.to("cpu", image.dtype)
            output = probe(image)
    if not isinstance(output, torch.Tensor) or output.ndim != 4:
        found = f"{type(generator).__name__}, which returns {type(output).__name__}"
        raise UserError("generator", found, "a network that returns images, (B, C, H, W)", "Return those alone.")
    return probe, image, output.shape


def _held(group: FilterGroup, held: Mapping[str, str]) -> str | None:
    """Return why a group stays for one of its layers, which :func:`tie_grouped` may have put together with others."""
    return next((held[name] for name in group.convolutions(produces=True) if name in held), None)


def _why_unprunable(probe: nn.Module, group: FilterGroup, image: torch.Tensor, shape: torch.Size) -> str | None:
    """Return why no filter of this group can go (it would change the output's shape, or fail); None if one can."""
    keep: dict[Key, np.ndarray] = {}
    for member in group.members:
        tensor = getattr(probe.get_submodule(member.module), member.parameter)
        count = tensor if isinstance(tensor, int) else tensor.shape[member.dim]
        if max(member.positions) >= count:
            return f"{member.module} reads them in another arrangement"  # such as PixelShuffle's
        first = {p for p, f in zip(member.positions, member.filters, strict=True) if f == 0}
        keep[member.module, member.parameter, member.dim] = np.array([i for i in range(count) if i not in first])
    try:
        with torch.no_grad():
            output = slice_network(probe, keep)(image)
    except Exception as error:
        return f"the network can't do without one of them ({reason(error, 120)})"
    return None if output.shape == shape else "they are channels of the output image"
