"""Pictures of a layer's filters, kept ones framed (Figure 4 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from ganprune.data.pixels import to_pil
from ganprune.report.figures import BACKGROUND, GAP, INK, TITLE_HEIGHT, save_picture, stack

TILE, FRAME, RED, COLUMNS = 44, 3, (200, 30, 30), 16


def draw_filters(path: str | Path, rows: Sequence[tuple[str, torch.Tensor, Sequence[int]]]) -> None:
    """Write a PNG file with one titled block of filters for each row.

    Args:
        path: of the picture.
        rows: title, weights (out, C, k, k) with C = 1 or 3 (of other layers the mean over inputs is drawn), and the
            indices of the filters that get a red frame. Each block is scaled by its own largest absolute value, with
            mid-grey for 0.
    """
    save_picture(path, stack([_block(*row) for row in rows]))


def _block(title: str, weight: torch.Tensor, framed: Sequence[int]) -> Image.Image:
    weight = weight.detach().float().cpu()
    if weight.shape[1] not in (1, 3):
        weight = weight.mean(1, keepdim=True)
    weight = weight / weight.abs().max().clamp_min(1e-12)
    cell = TILE + 2 * FRAME + GAP
    lines = -(-len(weight) // COLUMNS)
    block = Image.new("RGB", (COLUMNS * cell + GAP, TITLE_HEIGHT + lines * cell + GAP), BACKGROUND)
    draw = ImageDraw.Draw(block)
    draw.text((GAP, 1), title, fill=INK, font=ImageFont.load_default(12))
    for index, filter_ in enumerate(weight):
        left, top = GAP + index % COLUMNS * cell, TITLE_HEIGHT + index // COLUMNS * cell
        if index in framed:
            draw.rectangle((left, top, left + TILE + 2 * FRAME - 1, top + TILE + 2 * FRAME - 1), fill=RED)
        tile = to_pil(filter_).resize((TILE, TILE), Image.Resampling.NEAREST)
        block.paste(tile, (left + FRAME, top + FRAME))
    return block
