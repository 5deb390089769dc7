"""From a state dict's tensors alone to the architecture that they belong to.

Recognised are the ResNet generator of CycleGAN, the U-Net of pix2pix and the PatchGAN discriminator, by the parameter
names of the public PyTorch implementations. What leaves no trace in the tensors is taken to be the usual: reflection
padding or none, nearest enlargement, no dropout in a U-Net, instance norms. Where there may be no norms at all, that is
measured later: see :mod:`ganprune.models.readings`.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

import torch

from ganprune.errors import UserError
from ganprune.models.description import BATCH, RUNNING, Architecture
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.models.unet import UnetConfig

Tensors = Mapping[str, torch.Tensor]
REMEDY = "Say how it is built: --{0} package.module:factory."
# Places of a block's two convolutions -> padding by a layer of its own, dropout.
BLOCKS = {(1, 5): (True, False), (1, 6): (True, True), (0, 3): (False, False), (0, 4): (False, True)}
# How a step of the decoder enlarges, by the layers before its convolution.
UPSAMPLINGS = {0: ("transposed", "zero"), 1: ("nearest", "zero"), 2: ("nearest", "reflect")}
NORMED = 3  # layers of a convolution with its norm and activation


def infer_generator(state: Tensors, path: Path) -> GeneratorConfig | UnetConfig:
    """Infer a generator's architecture from its tensors.

    Raises:
        UserError: they are not those of a generator that is known.
    """
    if _is_convolution(state, "model.model.0"):
        return _infer_unet(state, path)
    if not _is_convolution(state, "model.1"):
        first = next(iter(state), None)
        expected = "a ResNet generator (model.1.weight, ...) or a U-Net (model.model.0.weight, ...)"
        raise UserError("generator", f"{path} (first tensor {first})", expected, REMEDY.format("generator"))
    outer = sorted(
        int(key.split(".")[1]) for key in state if re.fullmatch(r"model\.\d+\.weight", key) and _is_4d(state[key])
    )
    blocks = {int(key.split(".")[1]) for key in state if ".conv_block." in key}
    own_padding, dropout = _block(state, path)
    downsamplings = len(outer) // 2 - 1 if len(outer) % 2 == 0 else 2  # loading says which one of the usual is missing
    upsampling, upsampling_padding = _upsampling(state, outer, downsamplings, len(blocks), path)
    ngf, in_channels = state["model.1.weight"].shape[:2]
    norm, affine, bias = _infer_norm(state, "model.2", "model.1")
    return GeneratorConfig(
        ngf=ngf, blocks=len(blocks), norm=norm, affine=affine, dropout=dropout,
        padding="reflect" if own_padding else "zero", upsampling=upsampling, upsampling_padding=upsampling_padding,
        bias=bias, in_channels=in_channels, out_channels=state[f"model.{outer[-1]}.weight"].shape[0],
        downsamplings=downsamplings,
    )  # fmt: skip


def _block(state: Tensors, path: Path) -> tuple[bool, bool]:
    """Return whether blocks have a layer that pads, and dropout, from where their convolutions stand."""
    inside = [key.split(".conv_block.")[1] for key in state if ".conv_block." in key and _is_4d(state[key])]
    places = tuple(sorted({int(name.split(".")[0]) for name in inside if re.fullmatch(r"\d+\.weight", name)}))
    if inside and places not in BLOCKS:
        found = f"{path} with residual blocks of convolutions {', '.join(sorted(set(inside)))}"
        raise UserError("generator", found, "conv_block.1 and conv_block.5, or like that", REMEDY.format("generator"))
    return BLOCKS.get(places, (True, False))  # type: ignore[arg-type]


def _upsampling(state: Tensors, outer: list[int], downsamplings: int, blocks: int, path: Path) -> tuple[str, str]:
    """Return how the decoder enlarges, and the padding of its convolutions, from the shapes and places of its layers.

    Where a layer is missing or one too many, loading the tensors says which one is in the way.
    """
    if not downsamplings or len(outer) != 2 * downsamplings + 2:
        return UPSAMPLINGS[0]
    before, ups = outer[downsamplings] + NORMED + blocks, outer[downsamplings + 1 : -1]
    gaps = {ups[0] - before} | {after - up - NORMED for up, after in itertools.pairwise(ups)}
    transposed = {shape[0] > shape[1] for shape in (state[f"model.{index}.weight"].shape for index in ups)}
    found = UPSAMPLINGS.get(gaps.pop()) if len(gaps) == 1 else None
    if found is None or transposed != {found[0] == "transposed"}:
        names = ", ".join(f"model.{index}" for index in ups)
        expected = "transposed convolutions, or enlargements and convolutions"
        raise UserError("generator", f"{path} with {names} to double the size", expected, REMEDY.format("generator"))
    return found


def _infer_unet(state: Tensors, path: Path) -> UnetConfig:
    """Infer a UnetGenerator's architecture from its tensors; errors as :func:`infer_generator`."""
    levels, inside = 1, "model.model.1.model"
    while _is_convolution(state, f"{inside}.1"):
        levels, inside = levels + 1, f"{inside}.3.model"
    last = state.get("model.model.3.weight")
    if levels < 2 or last is None or not _is_4d(last):
        raise UserError("generator", f"{path} (a U-Net of {levels} levels)", "2 or more", REMEDY.format("generator"))
    ngf, in_channels = state["model.model.0.weight"].shape[:2]
    place = 4 if levels == 2 else 6  # of the outermost decoder norm, which is there however many levels there are
    norm, affine, bias = _infer_norm(state, f"model.model.1.model.{place}", f"model.model.1.model.{place - 1}")
    return UnetConfig(
        ngf=ngf, levels=levels, norm=norm, affine=affine, bias=bias, in_channels=in_channels,
        out_channels=last.shape[1],
    )  # fmt: skip


def infer_discriminator(state: Tensors, path: Path) -> DiscriminatorConfig:
    """Infer a PatchDiscriminator's architecture from its tensors.

    Raises:
        UserError: they are not those of such a discriminator.
    """
    if not _is_convolution(state, "model.0"):
        found, remedy = f"{path} (first tensor {next(iter(state), None)})", REMEDY.format("discriminator")
        raise UserError("discriminator", found, "a PatchGAN (model.0.weight, ...)", remedy)
    convolutions = [key for key in state if key.endswith(".weight") and _is_4d(state[key])]
    norm, affine, bias = _infer_norm(state, "model.3", "model.2")
    ndf, in_channels = state["model.0.weight"].shape[:2]
    return DiscriminatorConfig(
        ndf=ndf, layers=max(1, len(convolutions) - 2), norm=norm, affine=affine, bias=bias, in_channels=in_channels
    )


def _infer_norm(state: Tensors, module: str, convolution: str) -> tuple[str, bool, bool | None]:
    """Return the norm, whether it is an affine instance norm, and whether the convolution before it has a bias.

    Convolutions before a batch norm usually have none; instance norms in old files may have running statistics too.
    """
    biased = f"{convolution}.bias" in state
    affine, statistics = f"{module}.weight" in state, f"{module}.running_mean" in state
    counted = f"{module}.num_batches_tracked" in state  # younger than the instance norms with statistics
    if affine and statistics and (counted or not biased):
        return "batch", False, biased or None
    return "instance", affine, None if biased else False


def _is_4d(tensor: torch.Tensor) -> bool:
    return tensor.ndim == 4


def _is_convolution(state: Tensors, path: str) -> bool:
    return f"{path}.weight" in state and _is_4d(state[f"{path}.weight"])


def usual(config: Architecture, given: Container[str] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield what an architecture was taken to have, since the tensors don't say, as (what, value, option otherwise).

    Args:
        config: as inferred.
        given: the fields that the user has said something of.
    """
    fields = {each.name: getattr(config, each.name) for each in dataclasses.fields(config) if each.name not in given}
    norm, kind = config.norm, config.kind  # type: ignore[attr-defined]
    if "norm" in fields and norm != "batch" and not config.affine:  # type: ignore[attr-defined]
        yield "norms", norm, f"{kind}:norm={'none' if norm == 'instance' else 'instance'}"
    if fields.get("norm") == "batch" and config.biased:
        yield "norms", norm, f"{kind}:norm=instance,affine=true"
    if norm == "batch" and "statistics" in fields:
        yield "statistics of batch norms", RUNNING, f"{kind}:statistics={BATCH}"
    if fields.get("padding") == "reflect" and fields.get("blocks") != 0:
        yield "padding of the blocks", "reflect", f"{kind}:padding=replicate"
    if fields.get("residual") is False and config.in_channels == config.out_channels:  # type: ignore[attr-defined]
        yield "images", "made anew, not added to those given", f"{kind}:residual=true"
    if fields.get("upsampling") == "nearest":
        yield "enlargement", "nearest", f"{kind}:upsampling=bilinear"
    if kind == "unet" and "dropout" in fields:
        yield "dropout in training", "none", f"{kind}:dropout=true"
