"""Pictures of titled rows of images: input, original, compact, truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from ganprune.data.pixels import to_pil
from ganprune.data.sizes import Size
from ganprune.runs.files import replacing

GAP, TITLE_HEIGHT, BACKGROUND, INK = 4, 16, (225, 225, 225), (20, 20, 20)


def save_grid(path: str | Path, sections: Mapping[str, Mapping[str, torch.Tensor]], *, zoom: int = 1) -> None:
    """Write :func:`image_grid` to a PNG file, atomically."""
    with replacing(path) as temporary:
        image_grid(sections, zoom=zoom).save(temporary, format="PNG")


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
    blocks = [_section(title, rows, margin, zoom) for title, rows in sections.items()]
    page = Image.new("RGB", (max(b.width for b in blocks), sum(b.height for b in blocks)), BACKGROUND)
    top = 0
    for block in blocks:
        page.paste(block, (0, top))
        top += block.height
    return page


def zoom_for(size: Size) -> int:
    """Return the enlargement that makes small images of (height, width) about 96 pixels high or wide."""
    return max(1, 96 // max(size))


def _section(title: str, rows: Mapping[str, torch.Tensor], margin: int, zoom: int) -> Image.Image:
    height, width = (int(side) * zoom for side in next(iter(rows.values())).shape[-2:])
    columns = max(map(len, rows.values()))
    size = margin + columns * (width + GAP), TITLE_HEIGHT + len(rows) * (height + GAP) + GAP
    block = Image.new("RGB", size, BACKGROUND)
    draw, font = ImageDraw.Draw(block), ImageFont.load_default(12)
    draw.text((GAP, 1), title, fill=INK, font=font)
    for row, (label, images) in enumerate(rows.items()):
        top = TITLE_HEIGHT + row * (height + GAP)
        draw.text((GAP, top + height // 2 - 6), label, fill=INK, font=font)
        for column, image in enumerate(images):
            shown = to_pil(image).resize((width, height), Image.Resampling.NEAREST)
            block.paste(shown, (margin + column * (width + GAP), top))
    return block
