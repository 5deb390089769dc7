"""Finds the filter groups of a generator by tracing it.

Tracing is Torch-Pruning's ``DependencyGraph`` (Fang et al., CVPR 2023).
"""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch_pruning
from torch import nn

from ganprune.errors import UserError, reason
from ganprune.filters.groups import FilterGroup, Member, merge_member, tie_grouped
from ganprune.filters.layers import WIDTH, Convolution, Norm, channel_dims, convolutions, hooks, is_depthwise
from ganprune.filters.slicing import slice_network

# Activations and other layers that keep zeros at zero, so that a masked filter is as if it were gone.
ZERO_KEEPING = (
    nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ReLU6, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Hardtanh, nn.Hardswish, nn.Softsign, nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.ReflectionPad2d,
    nn.ReplicationPad2d, nn.ZeroPad2d, nn.CircularPad2d, nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d,
    nn.PixelShuffle, nn.PixelUnshuffle, nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d,
)  # fmt: skip
MIXING = (nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)  # what one filter gives depends on the others


def find_groups(generator: nn.Module, example: torch.Tensor) -> tuple[list[FilterGroup], dict[str, str]]:
    """Trace a generator and return its prunable groups in the order of its layers, and why others are unprunable.

    Groups that reach the output image stay; input image channels belong to no group.

    Args:
        generator: maps ``example`` to an image.
        example: (1, C, H, W); only its shape matters.

    Returns:
        The groups, and by the name of each unprunable group the reason.

    Raises:
        UserError: the generator can't be traced, or has a layer that can't be pruned (named).
    """
    check_layers(generator)
    traced = _traceable(generator)
    graph = _trace(traced, example)
    names = {module: name for name, module in traced.named_modules()}
    groups: list[FilterGroup] = []
    seen: set[str] = set()
    for name, module in convolutions(traced).items():
        if name not in seen and module in graph.module2node:
            group = _group(graph, name, module, names, generator)
            seen.update(group.convolutions(produces=True))
            groups.append(group)
    probe, image, shape = _probe(generator, example)
    tied, unprunable = tie_grouped(groups, generator)
    reasons = {group.name: _why_unprunable(probe, group, image, shape) for group in tied}
    unprunable |= {name: reason for name, reason in reasons.items() if reason is not None}
    return [group for group in tied if reasons[group.name] is None], unprunable


def check_layers(generator: nn.Module) -> None:
    """Refuse, by name, layers for which a removed filter would not be the same as a silent one.

    Raises:
        UserError: an activation with f(0) != 0 between convolutions, a norm over several channels, or a convolution
            whose weight is computed from other tensors.
    """
    layers = list(convolutions(generator))
    if not layers:
        raise UserError("generator", type(generator).__name__, "a network with 2-d convolutions", "Use another one.")
    before_last = True
    for name, module in generator.named_modules():
        before_last = before_last and name != layers[-1]
        if isinstance(module, Convolution) and "weight" not in module._parameters:
            raise UserError(
                f"layer {name}", "a weight that is computed (spectral or weight norm)", "a plain weight",
                "Remove the reparametrisation, as torch.nn.utils.parametrize.remove_parametrizations does.",
            )  # fmt: skip
        if isinstance(module, MIXING):
            raise UserError(
                f"layer {name}", type(module).__name__, "an instance or batch norm",
                "It normalises several filters together, so that none can go without changing the others.",
            )  # fmt: skip
        leaf = not list(module.children()) and not list(module.parameters())
        known = isinstance(module, (*ZERO_KEEPING, *Norm))
        if before_last and leaf and not known and not _keeps_zero(module):
            raise UserError(
                f"layer {name}", type(module).__name__, "an activation with f(0) = 0", "It can't be pruned."
            )


def _keeps_zero(module: nn.Module) -> bool:
    try:
        return bool((module(torch.zeros(1, 4, 4, 4)) == 0).all())
    except Exception:  # a layer of unknown kind and inputs: the equivalence check tries the whole network later
        return True


def _traceable(generator: nn.Module) -> nn.Module:
    """Copy a generator so that tracing sees each instance norm as one layer.

    An instance norm followed by an in-place activation is taken apart into views and copies; a batch norm of the same
    width couples the same filters and is one operation.
    """
    traced = copy.deepcopy(generator).float().cpu().eval()
    for parent in list(traced.modules()):
        if hasattr(parent, "inplace"):
            setattr(parent, "inplace", False)  # noqa: B010
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.InstanceNorm2d):
                setattr(parent, name, nn.BatchNorm2d(child.num_features).eval())
    return traced.requires_grad_(True)


def _trace(traced: nn.Module, example: torch.Tensor) -> torch_pruning.DependencyGraph:
    try:
        with torch.enable_grad():
            graph = torch_pruning.DependencyGraph().build_dependency(traced, example.float().cpu(), verbose=False)
    except Exception as error:  # anything can go wrong inside a network that we did not write
        where = _stopped_at(traced, example.float().cpu())
        reason = f"{type(traced).__name__} ({where}{type(error).__name__}: {error})"
        raise UserError("generator", reason, "a network that can be traced", "Check its input channels.") from error
    with torch.inference_mode():
        output = traced(example.float().cpu())
    if not isinstance(output, torch.Tensor) or output.ndim != 4:
        found = f"{type(traced).__name__}, which returns {type(output).__name__}"
        raise UserError("generator", found, "a network that returns images, (B, C, H, W)", "Return those alone.")
    return graph


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
    names: dict[nn.Module, str],
    generator: nn.Module,
) -> FilterGroup:
    pruner = graph.get_pruner_of_module(module)
    size = pruner.get_out_channels(module)
    coupled = graph.get_pruning_group(module, pruner.prune_out_channels, idxs=list(range(size)))
    members: dict[tuple[str, str, int], Member] = {}
    for item in coupled:
        target = item.dep.target.module
        if target not in names:
            continue
        if not isinstance(target, (*Convolution, *Norm, nn.PReLU)):
            if list(target.parameters()):
                raise UserError(
                    f"layer {names[target]}", f"{type(target).__name__}, fed by the filters of {name}",
                    "convolutions and instance or batch norms", "It can't be pruned.",
                )  # fmt: skip
            continue
        produces = graph.is_out_channel_pruning_fn(item.dep.handler)
        positions, filters = tuple(item.idxs), tuple(item.root_idxs)
        for parameter, dim in _dimensions(target, generator.get_submodule(names[target]), produces):
            convolution = isinstance(target, Convolution)
            member = Member(names[target], parameter, dim, positions, filters, produces, convolution)
            merge_member(members, member)
    return FilterGroup(name, size, tuple(members.values()))


def _dimensions(traced: nn.Module, module: nn.Module, produces: bool) -> list[tuple[str, int]]:
    """Return (tensor, dimension) pairs of a layer that its output (or input) filters occupy."""
    if isinstance(traced, Convolution):
        bias = [("bias", 0)] if traced.bias is not None and (produces or is_depthwise(traced)) else []
        return [("weight", channel_dims(traced)[produces]), *bias]
    tensors = ("weight", "bias", "running_mean", "running_var")
    present = [(name, 0) for name in tensors if isinstance(getattr(module, name, None), torch.Tensor)]
    return present or [(WIDTH, 0)]


def _probe(generator: nn.Module, example: torch.Tensor) -> tuple[nn.Module, torch.Tensor, torch.Size]:
    """Return a copy that shapes can be tried on, an image for it and the shape of what it gives for that."""
    probe = copy.deepcopy(generator).to("meta").eval()  # there, shapes are computed and nothing else
    image = example.to("meta", next(generator.parameters()).dtype)
    try:
        return probe, image, probe(image).shape
    except Exception:  # a network may make tensors of its own, which are not on "meta"
        probe, image = copy.deepcopy(generator).cpu().eval(), example.to("cpu", image.dtype)
        return probe, image, probe(image).shape


def _why_unprunable(probe: nn.Module, group: FilterGroup, image: torch.Tensor, shape: torch.Size) -> str | None:
    """Return why no filter of this group can go (it would change the output's shape, or fail); None if one can."""
    keep: dict[tuple[str, str, int], np.ndarray] = {}
    for member in group.members:
        tensor = getattr(probe.get_submodule(member.module), member.parameter)
        count = tensor if isinstance(tensor, int) else tensor.shape[member.dim]
        if max(member.positions) >= count:
            return f"{member.module} reads them in another arrangement"  # such as PixelShuffle's
        first = {p for p, f in zip(member.positions, member.filters, strict=True) if f == 0}
        keep[member.module, member.parameter, member.dim] = np.array([i for i in range(count) if i not in first])
    try:
        output = slice_network(probe, keep)(image)
    except Exception as error:
        return f"the network can't do without one of them ({reason(error, 120)})"
    return None if output.shape == shape else "they are channels of the output image"
