"""Images of any size and the networks: which sizes pass through them, and translation at any other."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from ganprune.data.pixels import cut, mirror_up
from ganprune.data.sizes import LEAST, Size, round_up, size_text
from ganprune.errors import UserError, reason
from ganprune.models.architecture import input_channels, output_channels
from ganprune.models.cyclegan import OTHER, CycleGAN
from ganprune.models.scores import described, scores

HALVINGS = 8  # of the size, at most: as in the deepest U-Nets


def size_multiple(generators: Iterable[nn.Module]) -> int:
    """Return what both sides of an image have to be multiples of, so that each generator returns its size: 4 for ours.

    Only shapes are computed.

    Raises:
        UserError: a generator that never does.
    """
    return math.lcm(*(_multiple(generator) for generator in generators))


@torch.no_grad()
def _multiple(generator: nn.Module) -> int:
    for device in ("meta", "cpu"):  # a network may make tensors of its own, which are not on "meta"
        multiple, why = _try_multiples(copy.deepcopy(generator).to(device).eval(), input_channels(generator))
        if multiple is not None:
            return multiple
        if not why:
            break
    why = f" ({why})" if why else ""
    raise UserError(
        "generator", f"{type(generator).__name__}, whose images differ in size from those it is given{why}",
        "a generator that keeps the size", "Use another one, or give it an attribute in_channels if that is wrong.",
    )  # fmt: skip


def _try_multiples(network: nn.Module, channels: int) -> tuple[int | None, str]:
    """Return the first multiple at which a network keeps the size, or none and why it last failed, if it did."""
    weight, why = next(network.parameters()), ""
    for multiple in (2**halvings for halvings in range(HALVINGS + 1)):
        side = multiple * (-(-LEAST // multiple) | 1)  # an odd multiple, lest it be one of twice as many
        image = torch.zeros(1, channels, side, side, device=weight.device, dtype=weight.dtype)
        try:
            output, why = network(image), ""
            if isinstance(output, torch.Tensor) and output.shape[-2:] == image.shape[-2:]:
                return multiple, ""
        except Exception as error:  # too small, parts that do not fit each other, or whatever others' networks do
            why = reason(error)
    return None, why


def shapes_only(network: nn.Module) -> nn.Module:
    """Return a copy, in evaluation mode, that computes shapes and nothing else; its images have to be on "meta"."""
    return copy.deepcopy(network).to("meta", torch.float32).eval()


def small_size(size: Size, side: int, multiple: int) -> Size:
    """Return (height, width) of at most such sides, rounded up to what networks take, and not above ``size``."""
    height, width = (min(own, rounded) for own, rounded in zip(size, round_up((side, side), multiple), strict=True))
    return height, width


@torch.no_grad()
def takes(network: nn.Module, size: Size) -> bool:
    """Return whether images of that size pass through a network, as far as shapes can tell."""
    try:
        shapes_only(network)(torch.zeros(1, input_channels(network), *size, device="meta"))
    except Exception:  # whatever others' networks do
        return False
    return True


@torch.no_grad()
def check_size(cyclegan: CycleGAN, size: Size) -> None:
    """Check that images of this (height, width) pass through all networks, which are in evaluation mode, and come back.

    Only shapes are computed, unless those say that something is wrong.

    Raises:
        UserError: a network can't take them, most often because they are too small for the discriminator; or the
            sides don't fit each other.
    """
    try:
        _check_passes(cyclegan, size, shapes_only, "meta")
    except Exception:  # a network may make tensors of its own, which are not on "meta"
        _check_passes(cyclegan, size, lambda network: network, cyclegan.device)


def _check_passes(
    cyclegan: CycleGAN, size: Size, form: Callable[[nn.Module], nn.Module], device: torch.device | str
) -> None:
    for name, side in cyclegan.items():
        image = torch.zeros(1, input_channels(side.generator), *size, device=device)
        fake = _pass(f"{name} generator", form(side.generator), image, size)
        if not isinstance(fake, torch.Tensor) or fake.ndim != 4:
            raise UserError(f"{name} generator", f"an output {described(fake)}", "(B, C, H, W) images", "Correct it.")
        if fake.shape[1] != output_channels(side.generator):
            found = f"{fake.shape[1]} channels, where its last convolution has {output_channels(side.generator)}"
            raise UserError(f"{name} generator", found, "an attribute out_channels that says so", "Give it one.")
        if side.discriminator is not None:
            answer = _pass(f"{name} discriminator", form(side.discriminator), fake, size)
            scores(answer, 1, f"that of {name}")
        reverse = cyclegan.reverse(name)
        if reverse is None:
            continue
        if _pass(f"{OTHER[name]} generator", form(reverse), fake, size).shape[1] != image.shape[1]:
            found = f"a {OTHER[name]} that returns other images than the {image.shape[1]}-channel ones {name} takes"
            raise UserError("checkpoint", found, "two generators between the same domains", "Check its files.")


def _pass(name: str, network: nn.Module, images: torch.Tensor, size: Size) -> torch.Tensor:
    try:
        return network(images)  # type: ignore[no-any-return]
    except Exception as error:  # networks that we did not write fail as they like
        raise UserError(
            "size", f"{size_text(size)}, which the {name} can't take ({reason(error)})", "images that fit the networks",
            "Choose a larger --size, or check the channels of its images.",
        ) from error  # fmt: skip


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
