"""Pictures: titled rows of images (input, original, compact, truth), and a layer's filters (Figure 4 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from ganprune.data.pixels import CHANNELS, to_rgb_bytes
from ganprune.data.sizes import Size
from ganprune.runs.files import replacing

GAP, TITLE_HEIGHT, BACKGROUND, INK = 4, 16, (225, 225, 225), (20, 20, 20)
TILE, FRAME, RED, COLUMNS = 44, 3, (200, 30, 30), 16  # of filters


def save_grid(path: str | Path, sections: Mapping[str, Mapping[str, torch.Tensor]], *, zoom: int = 1) -> None:
    """Write :func:`image_grid` to a PNG file, atomically."""
    _save(path, image_grid(sections, zoom=zoom))


def image_grid(sections: Mapping[str, Mapping[str, torch.Tensor]], *, zoom: int = 1) -> Image.Image:
    """Draw titled sections of labelled image rows.

    Args:
        sections: title -> row label -> images (N, C, H, W) in [-1, 1].
        zoom: integer enlargement of the images, without smoothing.

    Returns:
        The picture.
    """
    font = ImageFont.load_default(12)
    labels = [label for rows in sections.values() for label in rows]
    margin = max((int(font.getlength(label)) for label in labels), default=0) + 2 * GAP
    return _stack([_section(title, rows, margin, zoom) for title, rows in sections.items()])


def zoom_for(size: Size) -> int:
    """Return the enlargement that makes small images of (height, width) about 96 pixels high or wide."""
    return max(1, 96 // max(size))


def draw_filters(path: str | Path, rows: Sequence[tuple[str, torch.Tensor, Sequence[int]]]) -> None:
    """Write a PNG file with one titled block of filters for each row.

    Args:
        path: of the picture.
        rows: title, weights (out, C, k, k) with C = 1 or 3 (of other layers the mean over inputs is drawn), and the
            indices of the filters that get a red frame. Each block is scaled by its own largest absolute value, with
            mid-grey for 0.
    """
    _save(path, _stack([_filters(*row) for row in rows]))


def _section(title: str, rows: Mapping[str, torch.Tensor], margin: int, zoom: int) -> Image.Image:
    height, width = (int(side) * zoom for side in next(iter(rows.values())).shape[-2:])
    columns = max(map(len, rows.values()))
    block = _block(title, margin + columns * (width + GAP), len(rows) * (height + GAP))
    for row, (label, images) in enumerate(rows.items()):
        top = TITLE_HEIGHT + row * (height + GAP)
        _paste(block, _resized(images, (height, width)), columns, margin, top)
        _write(block, top + height // 2 - 6, label)
    return block


def _filters(title: str, weight: torch.Tensor, framed: Sequence[int]) -> Image.Image:
    from torchvision.transforms.v2 import functional as F

    weight = weight.detach().float().cpu()
    weight = weight if weight.shape[1] in CHANNELS else weight.mean(1, keepdim=True)
    tiles = _resized(weight / weight.abs().max().clamp_min(1e-12), (TILE, TILE))
    colours = [RED if index in framed else BACKGROUND for index in range(len(tiles))]
    tiles = torch.stack([F.pad(tile, [FRAME], fill=c) for tile, c in zip(tiles, colours, strict=True)])
    cell = TILE + 2 * FRAME + GAP
    block = _block(title, COLUMNS * cell + GAP, -(-len(weight) // COLUMNS) * cell)
    _paste(block, tiles, COLUMNS, GAP, TITLE_HEIGHT)
    return block


def _block(title: str, width: int, height: int) -> Image.Image:
    """Return an empty picture with room of that size below its title."""
    block = Image.new("RGB", (width, TITLE_HEIGHT + height + GAP), BACKGROUND)
    _write(block, 1, title)
    return block


def _write(block: Image.Image, top: int, text: str) -> None:
    ImageDraw.Draw(block).text((GAP, top), text, fill=INK, font=ImageFont.load_default(12))


def _resized(images: torch.Tensor, size: Size) -> torch.Tensor:
    """Return (N, C, H, W) images in [-1, 1] as (N, 3, height, width) bytes, without smoothing."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    return F.resize(to_rgb_bytes(images).cpu(), list(size), InterpolationMode.NEAREST_EXACT)


def _paste(block: Image.Image, tiles: torch.Tensor, columns: int, left: int, top: int) -> None:
    """Put (N, 3, H, W) bytes into a picture, so many beside each other, with gaps between them."""
    from torchvision.transforms.v2 import functional as F
    from torchvision.utils import make_grid

    grid = make_grid(tiles, nrow=columns, padding=GAP, pad_value=BACKGROUND[0])
    if len(tiles) > 1:  # around a single one make_grid leaves no gap
        grid = F.crop(grid, GAP, GAP, grid.shape[1] - 2 * GAP, grid.shape[2] - 2 * GAP)
    block.paste(F.to_pil_image(grid), (left, top))


def _stack(blocks: Sequence[Image.Image]) -> Image.Image:
    """Return pictures below each other."""
    page = Image.new("RGB", (max(b.width for b in blocks), sum(b.height for b in blocks)), BACKGROUND)
    top = 0
    for block in blocks:
        page.paste(block, (0, top))
        top += block.height
    return page


def _save(path: str | Path, picture: Image.Image) -> None:
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")
