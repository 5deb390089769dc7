"""Sizes as users write them, as files hold them, and how images come to them."""

from dataclasses import replace

import pytest

from ganprune.data.sizes import OWN, Framing, read_size, round_up, size_json, size_text
from ganprune.data.values import EACH, Values
from ganprune.errors import UserError


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (64, (64, 64)), ("64", (64, 64)), ("48x64", (48, 64)), (" 48 X 64 ", (48, 64)), ((48, 64), (48, 64)),
        ([48, 64], (48, 64)), ("250x333", (250, 333)),
    ],
)  # fmt: skip
def test_a_size_is_one_number_or_height_and_width(written, size):
    assert read_size(written) == size


@pytest.mark.parametrize(
    "nonsense",
    ["", "big", "64x", "x64", "64x64x3", "64,48", "-64", "6.4e1", 64.0, None, True, [64], [64, 4.5], "\u0664x64"],
)
def test_nonsense_is_no_size(nonsense):
    with pytest.raises(UserError, match=r"size: got .*; expected a side length such as 256, or HEIGHTxWIDTH"):
        read_size(nonsense)


def test_sizes_out_of_range_name_their_option():
    with pytest.raises(
        UserError, match=r"load size: got 64x8; expected at least 16 pixels a side. .*larger --load-size"
    ):
        read_size("64x8", "load size")
    with pytest.raises(UserError, match=r"size: got 99999; expected at most 16384 pixels a side"):
        read_size(99999)


def test_square_sizes_are_one_number_in_files():
    assert (size_json((64, 64)), size_json((48, 64))) == (64, [48, 64])
    assert read_size(size_json((48, 64))) == (48, 64) and size_text((48, 64)) == "48x64"


@pytest.mark.parametrize(("size", "multiple", "rounded"), [((17, 20), 4, (20, 20)), ((1, 256), 256, (256, 256))])
def test_rounding_goes_up(size, multiple, rounded):
    assert round_up(size, multiple) == rounded


@pytest.mark.parametrize(
    "framing", [Framing((64, 64)), Framing((48, 64)), Framing((48, 64), (60, 80)), Framing((48, 64), OWN)]
)
def test_framings_survive_files(framing):
    framing = replace(framing, values=Values(B=(-1, 1)), background="#102030", pairs=False)
    assert Framing.from_json(framing.to_json()) == framing


def test_files_of_older_runs_hold_one_number():
    assert Framing.from_json({"size": 64, "device": "cpu"}) == Framing((64, 64), values=EACH)
    assert Framing((64, 64)).to_json() == {"size": 64}
    with pytest.raises(UserError, match="size: got 'x'"):
        Framing.from_json({"size": "x"})


def test_what_is_not_said_is_taken_from_another_framing():
    saved = Framing((48, 48), OWN, Values((0, 1)), "black", False)
    assert Framing().over(saved) == saved and Framing((64, 64)).over(None) == Framing((64, 64))
    assert Framing((64, 64)).over(saved) == Framing((64, 64), None, Values((0, 1)), "black", False)
    given = Framing(values=Values((0, 9)), background="white")
    assert given.over(saved) == Framing((48, 48), OWN, Values((0, 9)), "white", False)


def test_options_make_a_framing():
    assert Framing.from_options((64, 64), None, None) == Framing((64, 64))
    assert Framing.from_options(None, None, (48, 48)) == Framing((48, 48), OWN)
    assert Framing.from_options(None, (60, 60), (48, 48)) == Framing((48, 48), (60, 60))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (((64, 64), None, (48, 48)), r"--crop: got 48x48 with --size; expected one of the two. .*--crop 64x64"),
        (((64, 64), (72, 72), None), r"--load-size: got 72x72 with --size; .*say --load-size and --crop 64x64"),
        ((None, (72, 72), None), r"load size: got 72x72; expected a --crop to go with it. Add --crop, or use --size"),
        ((None, (40, 80), (48, 48)), r"crop: got 48x48; expected at most the load size, 40x80. Lower --crop"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Framing.from_options(*options)
