"""What a discriminator says of images: the scores in its output, whatever form that has.

Most discriminators return one map of scores, one for each patch. Others return several tensors:

- a list of maps, one for each scale that they look at: all are taken;
- features and, last, the map (a list of tensors of which some have several channels): the maps of one channel are
  taken, or where there is none the last tensor;
- a list of lists, one for each scale, as pix2pixHD's do (Wang et al., CVPR 2018): the last tensor of each is taken.

Means over scores are means over all patches of all scales.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ganprune.errors import UserError


def judged(discriminator: Callable[[torch.Tensor], Any], images: torch.Tensor) -> torch.Tensor:
    """Return a discriminator's scores of images, unbounded.

    Args:
        discriminator: the network.
        images: (B, C, H, W) in [-1, 1].

    Returns:
        The patch map, (B, ., h, w), of one that returns such a tensor; else all its scores, (B, n).

    Raises:
        UserError: it returns nothing that is a score for each image.
    """
    return scores(discriminator(images), len(images), type(discriminator).__name__)


def scores(output: Any, count: int, whose: str = "discriminator") -> torch.Tensor:
    """Return the scores in what a discriminator returned for ``count`` images, as :func:`judged` does.

    Args:
        output: what it returned.
        count: B, the number of images.
        whose: what the message calls it.

    Raises:
        UserError: there are none.
    """
    if isinstance(output, torch.Tensor) and output.ndim == 4 and len(output) == count and output.numel():
        return output
    maps = score_maps(output)
    if not maps or any(each.numel() % count or not each.numel() for each in maps):
        expected = f"a tensor of scores for {count} image{'s' * (count > 1)}, or a list of such, one for each scale"
        remedy = "Let --discriminator package.module:factory make one that returns its scores alone."
        raise UserError("discriminator", f"{whose}, which returns {described(output)}", expected, remedy)
    flat = [each.reshape(count, -1) for each in maps]  # also of maps that lost the dimension of a single image
    return flat[0] if len(flat) == 1 else torch.cat(flat, 1)


def score_maps(output: Any) -> list[torch.Tensor]:
    """Return those tensors of a discriminator's output that are scores; none where it is no tensor and no list."""
    if isinstance(output, torch.Tensor):
        return [output]
    if not isinstance(output, (list, tuple)):
        return []
    if all(isinstance(each, torch.Tensor) for each in output):
        return [each for each in output if each.ndim != 4 or each.shape[1] == 1] or list(output[-1:])
    return [last for each in output if (last := _last(each)) is not None]


def _last(output: Any) -> torch.Tensor | None:
    """Return the last tensor of nested lists."""
    while isinstance(output, (list, tuple)) and output:
        output = output[-1]
    return output if isinstance(output, torch.Tensor) else None


def tensors_in(output: Any) -> list[torch.Tensor]:
    """Return all tensors of an output, in their order."""
    if isinstance(output, torch.Tensor):
        return [output]
    return [tensor for each in output for tensor in tensors_in(each)] if isinstance(output, (list, tuple)) else []


def described(output: Any) -> str:
    """Return words for an output, for a message: its kind, and the shapes of its first tensors."""
    shapes = [str(tuple(tensor.shape)) for tensor in tensors_in(output)]
    shown = ", ".join(shapes[:4]) + (", ..." if len(shapes) > 4 else "")
    return f"{type(output).__name__}" + (f" of shapes {shown}" if shapes else "")


@torch.no_grad()
def scores_taken(discriminator: nn.Module, images: torch.Tensor) -> str | None:
    """Return words for which tensors of an output are taken as scores; None where it is one tensor anyway.

    Args:
        discriminator: in evaluation mode.
        images: (B, C, H, W).
    """
    output = discriminator(images)
    if isinstance(output, torch.Tensor):
        return None
    maps = score_maps(output)
    shapes = ", ".join("x".join(map(str, each.shape[1:])) for each in maps[:4])
    return f"{len(maps)} of the {len(tensors_in(output))} tensors that it returns ({shapes}{', ...' * (len(maps) > 4)})"
