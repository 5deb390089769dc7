"""Images of a page: files in data URIs, and which of many are shown."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import torch
from PIL import Image, features

from ganprune.data.pixels import to_pil


def data_uri(image: torch.Tensor) -> str:
    """Return a (C, H, W) image in [-1, 1] as a data URI that loses nothing: WebP, or PNG where Pillow has no WebP."""
    file, picture = io.BytesIO(), to_pil(image)
    kind = "WEBP" if features.check("webp") else "PNG"
    picture.save(file, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def read_uri(uri: str) -> Image.Image:
    """Return the image in a data URI of :func:`data_uri`."""
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")


def levels_apart(first: torch.Tensor, second: torch.Tensor) -> list[float]:
    """Return each image's mean absolute difference, of (N, C, H, W) in [-1, 1], in grey levels of 255."""
    return ((first - second).abs().mean((1, 2, 3)) * 127.5).tolist()


def chosen(change: Sequence[float], most: int) -> list[int]:
    """Return which images are shown: the half that changed most, and as many spread evenly over the others.

    Args:
        change: of each image.
        most: how many, at most.

    Returns:
        Indices, in an order of which any beginning is a fair choice too: one of the worst, one of the others, ...
    """
    order = sorted(range(len(change)), key=lambda index: (-change[index], index))
    worst = order[: -(-min(most, len(order)) // 2)]
    others, count = order[len(worst) :], min(most, len(order)) - len(worst)
    spread = [others[(2 * number + 1) * len(others) // (2 * count)] for number in range(count)]
    mixed = [index for pair in zip(worst, spread, strict=False) for index in pair]
    return mixed + worst[len(spread) :]
