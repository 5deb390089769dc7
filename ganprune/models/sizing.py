"""Images of any size and the networks: which sizes pass through them, and translation at any other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from ganprune.data.pixels import cut, mirror_up
from ganprune.data.sizes import LEAST, Size, round_up, size_text
from ganprune.errors import UserError, reason
from ganprune.models.architecture import input_channels, output_channels
from ganprune.models.copying import copied
from ganprune.models.cyclegan import OTHER, CycleGAN
from ganprune.models.description import Architecture
from ganprune.models.scores import described, scores

MULTIPLES = tuple(2**halvings for halvings in range(10))  # as in the deepest U-Nets
OTHERS = tuple(sorted(set(range(1, 65)) - set(MULTIPLES)))  # are tried if none of those is right
SINGLE = (48, 96, 192, 224, 320, 384)  # sizes that a network may be made for, beside those
ENOUGH = 128  # pixels a side: a network that fails with these does so for another reason than too few of them
FAR, NEAR = 1024, 64  # least side of images of which only shapes are computed: none is too small; and of others


def size_multiple(generators: Iterable[nn.Module]) -> int:
    """Return what both sides of an image have to be multiples of, so that each generator returns its size: 4 for ours.

    Powers of two up to 512 are found and all numbers up to 64, whatever the least size is that a generator takes. One
    that takes a single size, such as 256, gets that size. Where a generator can do without, only shapes are computed.

    Raises:
        UserError: a generator that never does.
    """
    return math.lcm(*(_said(generator) or _multiple(generator) for generator in generators))


def _said(generator: nn.Module) -> int | None:
    """Return what a generator of ours needs, which its description says."""
    config = getattr(generator, "config", None)
    return getattr(config, "multiple", None) if isinstance(config, Architecture) else None


@torch.no_grad()
def _multiple(generator: nn.Module) -> int:
    why = ""
    for device in ("meta", "cpu"):  # a network may make tensors of its own, which are not on "meta"
        sizes = _Sizes(copied(generator).to(device).eval(), input_channels(generator))
        multiple = sizes.multiple(FAR) if device == "meta" else None
        multiple = multiple or sizes.multiple(NEAR) or sizes.single()
        if multiple is not None:
            return multiple
        why = f" ({sizes.why})"
        if sizes.ran:
            break
    kind, remedy = type(generator).__name__, "Use another one, or give it an attribute in_channels if that is wrong."
    if not sizes.ran:
        remedy = "Wrap it in one that is, or give it an attribute in_channels if that is wrong."
        raise UserError("generator", f"{kind}, which fails{why}", "one that is called with images alone", remedy)
    if not sizes.painted:
        remedy = "Wrap it in one that returns the images alone."
        raise UserError("generator", f"{kind}, which returns no images{why}", "one that returns (B, C, H, W)", remedy)
    found = f"{kind}, whose images differ in size from those it is given{why}"
    raise UserError("generator", found, "a generator that keeps the size", remedy)


class _Sizes:
    """Tries which sizes a network keeps.

    Args:
        network: in evaluation mode; on "meta", large images cost nothing.
        channels: of its images.

    Attributes:
        why: what became of the last image whose size was not kept.
        ran: whether any image passed through.
        painted: whether what came out was a tensor once.
    """

    def __init__(self, network: nn.Module, channels: int):
        self.network, self.channels = network, channels
        self.weight = next(network.parameters())
        self.why, self.ran, self.painted = "", False, False

    def multiple(self, least: int) -> int | None:
        """Return the least multiple of which all sizes are kept, judged by three from ``least`` up; None if none is.

        Two of the three are odd multiples without a common factor: they have no other divisor in common.
        """
        for multiple in (*MULTIPLES, *OTHERS):
            if self.ran and not self.painted:
                break  # no size will change that
            if self.keeps_multiples(multiple, least):
                while multiple % 2 == 0 and self.keeps_multiples(multiple // 2, 4 * least):
                    multiple //= 2  # its least size was larger
                return multiple
        return None

    def keeps_multiples(self, multiple: int, least: int) -> bool:
        factor = -(-least // multiple) | 1
        return all(self.keeps(multiple * each) for each in (factor, factor + 2, factor + 1))

    def single(self) -> int | None:
        """Return what a size that is kept is a multiple of, of a network that keeps no multiples: its only one."""
        for multiple in MULTIPLES:
            if self.keeps(multiple * (-(-LEAST // multiple) | 1)):
                return multiple
        return next((side for side in SINGLE if self.keeps(side)), None)

    def keeps(self, side: int) -> bool:
        """Return whether a square image of that side comes back in its size."""
        image = torch.zeros(1, self.channels, side, side, device=self.weight.device, dtype=self.weight.dtype)
        try:
            output = self.network(image)
        except Exception as error:  # too small, parts that do not fit each other, or whatever others' networks do
            self.why = reason(error)
            return False
        self.ran, self.painted = True, self.painted or isinstance(output, torch.Tensor)
        if isinstance(output, torch.Tensor) and output.shape[-2:] == image.shape[-2:]:
            return True
        given = size_text((side, side))
        self.why = f"of {given} it makes " + (
            size_text((output.shape[-2], output.shape[-1]))
            if isinstance(output, torch.Tensor) and output.ndim > 1
            else f"a {type(output).__name__}"
        )
        return False


def shapes_only(network: nn.Module) -> nn.Module:
    """Return a copy, in evaluation mode, that computes shapes and nothing else; its images have to be on "meta"."""
    return copied(network).to("meta", torch.float32).eval()


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
        UserError: a network can't take them, most often because they are too small for the discriminator, or a
            generator makes others of them; or the sides don't fit each other.
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
        if fake.shape[2:] != image.shape[2:]:
            found = (
                f"{size_text(size)}, of which the {name} generator makes {size_text((fake.shape[2], fake.shape[3]))}"
            )
            raise UserError("size", found, "a size that it keeps", "Choose another --size.")
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
        found = f"{size_text(size)}, which the {name} can't take ({reason(error)})"
        larger = _larger(network, images)
        remedy = f"Choose a larger --size: {size_text(larger)} would do." if larger else (
            "Choose a larger --size, or check the channels of its images."
        )  # fmt: skip
        raise UserError("size", found, "images that fit the networks", remedy) from error


@torch.no_grad()
def _larger(network: nn.Module, images: torch.Tensor) -> Size | None:
    """Return a larger size of images that pass through a network, as far as shapes can tell."""
    probe = shapes_only(network)
    for factor in (2, 4, 8, 16):
        size = images.shape[-2] * factor, images.shape[-1] * factor
        try:
            probe(torch.zeros(*images.shape[:2], *size, device="meta"))
        except Exception:  # too small still, or never
            continue
        return size
    return None


@torch.inference_mode()
def translate(generator: nn.Module, images: torch.Tensor, multiple: int) -> torch.Tensor:
    """Return a generator's translation of images of any size, at their size, on the CPU.

    Args:
        generator: in evaluation mode.
        images: (N, C, H, W) in [-1, 1].
        multiple: what the generator needs H and W to be multiples of; they are mirrored up to that, or further if it
            can't take so few pixels, and cut back.
    """
    height, width = images.shape[-2:]
    device = next(generator.parameters()).device
    least = 1
    while True:
        whole = round_up((max(height, least), max(width, least)), multiple)
        try:
            return cut(generator(mirror_up(images, whole).to(device)).float().cpu(), (height, width))
        except (RuntimeError, ValueError):  # if they are few pixels, too few: a padding by reflection wants more
            if min(whole) >= max(8 * multiple, ENOUGH):
                raise
        least = 2 * min(whole)
