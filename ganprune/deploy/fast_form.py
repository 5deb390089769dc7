"""The same function, arranged so that inference engines compute it faster. Nothing is approximated.

- Our instance norm is a group norm in disguise, which exporters spell out in five operators. ONNX has an operator for
  it; a ``torch.export`` program is fastest with PyTorch's group norm.
- Channels are filled up with silent ones to the multiples that fast kernels take (:mod:`ganprune.deploy.alignment`).
- Convolution kernels compute 8 or 16 output channels at once. The last layer of a generator has 3, and takes as long as
  16 would. Computed for blocks of 2x2 pixels it has 12: a third more multiplications, but three times as fast.
- What a convolution makes of an image's mean, the norm behind it takes away again, but for what was lost to rounding
  beside it. Without its mean a mostly white image keeps two to three times as much precision.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from ganprune.data.pixels import cut, mirror_up
from ganprune.data.sizes import Size, round_up
from ganprune.deploy.alignment import aligned
from ganprune.deploy.facts import Facts
from ganprune.models.generator import BLOCK, FEW_OUTPUTS, ImageConv2d, InstanceNorm2d, of_blocks


def inference_form(
    generator: nn.Module, example: torch.Tensor, *, onnx: bool, blocks: bool = True, align: bool = True,
    centre: bool = True,
) -> nn.Module:  # fmt: skip
    """Return a copy of a generator that computes the same faster.

    Args:
        generator: maps (N, C, H, W) to (N, C', H, W).
        example: an image that it takes.
        onnx: whether the copy is for ONNX; else it is for PyTorch.
        blocks: whether H and W of all its images are even, so that outputs can be computed in blocks.
        align: whether numbers of channels become multiples of 4; only for ONNX.
        centre: whether the first layer reads images, whose mean can go; only for ONNX.
    """
    form = copy.deepcopy(generator).eval().requires_grad_(False)
    form = aligned(form, example) if onnx and align else form
    last = _last_layers(form, example) if blocks else set()
    if onnx and centre:
        _centre_images(form)
    _replace(form, lambda module: _exported_norm(module, onnx))
    _replace(form, lambda module: _exported_convolution(module, module in last))
    return form


def exported_form(generator: nn.Module, facts: Facts, multiple: int, *, onnx: bool) -> tuple[nn.Module, torch.Tensor]:
    """Return the form of a generator that a file is made of, and an example of its images, (2, C, H, W).

    Args:
        generator: maps (N, C, H, W) to (N, C', H, W).
        facts: of the file: its size, and whether it takes others too.
        multiple: what the generator needs H and W to be multiples of; a file of another size mirrors up and cuts back.
        onnx: whether the file is ONNX; else it is PyTorch's.
    """
    whole = round_up(facts.size, multiple)
    example = torch.zeros(2, facts.channels, *whole)
    form = inference_form(generator, example, onnx=onnx, blocks=multiple % 2 == 0 or facts.multiple is None)
    if facts.multiple is not None or whole == facts.size:
        return form, example
    return Framed(form, facts.size, multiple).eval(), torch.zeros(2, facts.channels, *facts.size)


def _replace(parent: nn.Module, choose: Callable[[nn.Module], nn.Module]) -> None:
    for name, child in list(parent.named_children()):
        chosen = choose(child)
        setattr(parent, name, chosen)
        if chosen is child:
            _replace(child, choose)


def _exported_norm(module: nn.Module, onnx: bool) -> nn.Module:
    """Return, in the place of an instance norm without running statistics, PyTorch's own, or for PyTorch a group norm.

    The group norm has one channel in each group. Other layers stay what they are.
    """
    if not isinstance(module, InstanceNorm2d if onnx else nn.InstanceNorm2d) or module.track_running_stats:
        return module
    assert isinstance(module, nn.InstanceNorm2d)
    count, eps, affine = module.num_features, module.eps, module.affine
    norm = nn.InstanceNorm2d(count, eps, affine=affine) if onnx else nn.GroupNorm(count, count, eps, affine)
    norm.load_state_dict(module.state_dict())
    return norm.eval().requires_grad_(False).to(next(module.parameters(), torch.zeros(())))


def _exported_convolution(module: nn.Module, in_blocks: bool) -> nn.Module:
    """Return a convolution in blocks, or, in the place of one that decides on that by itself, PyTorch's."""
    if in_blocks:
        assert isinstance(module, nn.Conv2d)
        return BlockedConv2d(module)
    if isinstance(module, ImageConv2d):
        module.__class__ = nn.Conv2d  # type: ignore[assignment]
    return module


@torch.no_grad()
def _last_layers(network: nn.Module, example: torch.Tensor) -> set[nn.Module]:
    """Return the convolutions to few channels whose output has the size of the network's image, an even one."""
    sizes: dict[nn.Module, set[tuple[int, ...]]] = {}

    def record(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        sizes.setdefault(module, set()).add(tuple(output.shape[-2:]))

    handles = [module.register_forward_hook(record) for module in network.modules() if _can_be_blocked(module)]
    image = tuple(network(example).shape[-2:])
    for handle in handles:
        handle.remove()
    even = all(side % BLOCK == 0 for side in image)
    return {module for module, found in sizes.items() if even and found == {image}}


def _can_be_blocked(module: nn.Module) -> bool:
    return (
        type(module) in (nn.Conv2d, ImageConv2d)
        and isinstance(module, nn.Conv2d)
        and module.out_channels <= FEW_OUTPUTS
        and min(module.kernel_size) > 1
        and (module.stride, module.dilation, module.groups) == ((1, 1), (1, 1), 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _centre_images(network: nn.Module) -> None:
    """Take the mean off the images before the first convolution, where a norm takes it off behind it anyway."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    for parent in list(network.modules()):
        if type(parent) is not nn.Sequential or len(parent) < 3:
            continue
        padding, layer, norm = parent[0], parent[1], parent[2]
        if layer is not first or not isinstance(layer, nn.Conv2d) or layer.padding not in ((0, 0), "valid"):
            continue
        keeps_constants = isinstance(padding, (nn.ReflectionPad2d, nn.ReplicationPad2d))
        if keeps_constants and isinstance(norm, nn.InstanceNorm2d) and not norm.track_running_stats:
            parent[0] = nn.Sequential(Centred(), padding)


class Centred(nn.Module):
    """Images without the mean of each of their channels: (N, C, H, W) -> the same."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.mean((2, 3), keepdim=True)


class BlockedConv2d(nn.Module):
    """A convolution that computes blocks of 2x2 output pixels at once, as four times the channels at half the size.

    Args:
        layer: with stride 1, whose outputs have even height and width.
    """

    def __init__(self, layer: nn.Conv2d):
        super().__init__()
        weight, bias = of_blocks(layer)
        self.padding = layer.padding
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(F.conv2d(x, self.weight, self.bias, BLOCK, self.padding), BLOCK)


class Framed(nn.Module):
    """A generator for images of one size that it could not take or keep: mirrored up before it, cut back behind it.

    Args:
        generator: takes multiples of ``multiple``.
        size: (height, width) of all images.
        multiple: see :func:`ganprune.models.sizing.size_multiple`.
    """

    def __init__(self, generator: nn.Module, size: Size, multiple: int):
        super().__init__()
        self.generator, self.size, self.whole = generator, size, round_up(size, multiple)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cut(self.generator(mirror_up(x, self.whole)), self.size)
