"""Which image sizes pass through a generator and come back at their own size."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import torch
from torch import nn

from ganprune.errors import UserError
from ganprune.pixels import cut, mirror_up
from ganprune.sizes import LEAST, round_up

LARGEST = 256  # eight halvings, as in the deepest U-Nets


def size_multiple(generators: Iterable[nn.Module]) -> int:
    """Return what both sides of an image have to be multiples of, so that each generator returns its size: 4 for ours.

    Only shapes are computed.

    Raises:
        UserError: a generator that never does.
    """
    return math.lcm(*(_multiple(generator) for generator in generators))


@torch.no_grad()
def _multiple(generator: nn.Module) -> int:
    meta = copy.deepcopy(generator).to("meta").eval()
    weight = next(meta.parameters())
    channels = image_channels(generator)
    multiple = 1
    while multiple <= LARGEST:
        side = multiple * (-(-LEAST // multiple) | 1)  # an odd multiple, lest it be one of twice as many
        image = torch.zeros(1, channels, side, side, device="meta", dtype=weight.dtype)
        try:
            if meta(image).shape[-2:] == image.shape[-2:]:
                return multiple
        except (RuntimeError, ValueError):
            pass  # too small, or parts that do not fit each other
        multiple *= 2
    raise UserError(
        "generator", f"{type(generator).__name__}, whose images differ in size from those it is given",
        "a generator that keeps the size", "Use another one.",
    )  # fmt: skip


def image_channels(generator: nn.Module) -> int:
    """Return how many channels the images have that a generator is given."""
    first = next((m for m in generator.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))), None)
    if first is None:
        raise UserError("generator", type(generator).__name__, "a network with 2-d convolutions", "Use another one.")
    return first.in_channels


@torch.inference_mode()
def translate(generator: nn.Module, images: torch.Tensor, multiple: int) -> torch.Tensor:
    """Return a generator's translation of images of any size, at their size, on the CPU.

    Args:
        generator: in evaluation mode.
        images: (N, C, H, W) in [-1, 1].
        multiple: what the generator needs H and W to be multiples of; they are mirrored up to that, and cut back.
    """
    height, width = images.shape[-2:]
    whole = mirror_up(images, round_up((height, width), multiple))
    return cut(generator(whole.to(next(generator.parameters()).device)).float().cpu(), (height, width))
