"""Pictures of filters: kept ones are framed."""

import importlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from ganprune.report.figures import GAP, TITLE_HEIGHT

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(Path(__file__).parents[2] / "examples")
    tables = importlib.import_module("paper_tables")
FRAME, RED, TILE, TILES = tables.FRAME, tables.RED, tables.TILE, tables.TILES
CELL = TILE + 2 * FRAME + GAP


def corner(picture, index, top=0):
    return picture.getpixel((GAP + index % TILES * CELL, top + TITLE_HEIGHT + index // TILES * CELL))


def test_kept_filters_have_a_red_frame_and_others_none(tmp_path):
    weight = torch.randn(TILES + 2, 3, 7, 7)
    tables.draw_filters(tmp_path / "filters.png", [("some", weight, [0, 3, TILES + 1])])
    picture = Image.open(tmp_path / "filters.png")
    framed = [index for index in range(len(weight)) if corner(picture, index) == RED]
    assert framed == [0, 3, TILES + 1]


def test_zero_is_mid_grey_and_the_largest_weight_full(tmp_path):
    weight = torch.zeros(2, 3, 1, 1)
    weight[1, 0] = 5.0
    tables.draw_filters(tmp_path / "filters.png", [("some", weight, [])])
    picture, half = Image.open(tmp_path / "filters.png"), FRAME + TILE // 2
    found = [picture.getpixel((GAP + index * CELL + half, TITLE_HEIGHT + half)) for index in range(2)]
    assert found[0] == (128, 128, 128) and found[1] == (255, 128, 128)


def test_rows_stand_below_each_other_and_deeper_layers_are_averaged(tmp_path):
    rows = [("first", torch.randn(4, 3, 7, 7), [1]), ("second", torch.randn(4, 12, 3, 3), [2])]
    tables.draw_filters(tmp_path / "filters.png", rows)
    picture = Image.open(tmp_path / "filters.png")
    half = picture.height // 2
    assert corner(picture, 1) == RED != corner(picture, 2)
    assert corner(picture, 2, half) == RED != corner(picture, 1, half)
