"""Files of more than 8 bits: one scale for a data set, said, found or asked for; and what is behind transparency."""

import struct
import zlib

import numpy as np
import pytest
import torch
from conftest import write_images
from PIL import Image

from ganprune.data.images import UnpairedImages
from ganprune.data.kinds import as_bytes
from ganprune.data.pixels import open_image, read_image, to_float, to_uint8, with_channels
from ganprune.data.sizes import Framing
from ganprune.data.survey import usual
from ganprune.data.values import EACH, Values, read_background
from ganprune.errors import UserError

RAMP = np.tile(np.linspace(0, 1, 24), (16, 1))
WIDE = {
    "floats from 0 to 1": (np.float32, (0, 1), ".tif"),
    "floats from -1 to 1": (np.float32, (-1, 1), ".tif"),
    "floats from 0 to 1400": (np.float32, (0, 1400), ".tif"),
    "12 bits in 16": (np.uint16, (0, 4095), ".tif"),
    "12 bits in a PNG of 16": (np.uint16, (0, 4095), ".png"),
    "16 bits": (np.uint16, (0, 65535), ".png"),
    "Hounsfield units": (np.int32, (-1000, 1000), ".tif"),
}


def save(path, ramp, kind, values):
    """Write a ramp of [0, 1] with the file values that are black and white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    low, high = values
    stored = low + ramp * (high - low)
    Image.fromarray((stored if kind is np.float32 else stored.round()).astype(kind)).save(path)
    return path


def data_set(root, kind=np.float32, brightest=(0, 1400), darkest=None, suffix=".tif", domains="AB"):
    """Write ten training images and one test image of each domain; the first of them may be a darker one."""
    for domain in domains:
        for folder, count in (("train", 10), ("test", 1)):
            for index in range(count):
                values = darkest if darkest and index == 0 else brightest
                save(root / f"{folder}{domain}" / f"{index}{suffix}", RAMP, kind, values)
    return root


# --- what is said


def test_ranges_are_said_for_both_domains_or_each():
    assert Values.from_text("0,4095") == Values((0, 4095), (0, 4095))
    both = Values.from_text("-1000, 1000/0,1")
    assert both == Values((-1000, 1000), (0, 1)) and Values.from_json(both.to_json()) == both
    assert Values().to_json() == {} and Values(B=(0, 1)).to_json() == {"B": [0, 1]}


@pytest.mark.parametrize("text", ["0", "1,0", "5,5", "0,nan", "0,inf", "a,b", "0,1,2", "0,1/0,2/0,3", ""])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(UserError, match=r"values: got .*expected LOW,HIGH, .*Correct --values"):
        Values.from_text(text)


@pytest.mark.parametrize("data", [[0, 1], {"C": [0, 1]}, {"A": "01"}, {"A": [0]}, {"A": [None, 1]}, {"A": [True, 2]}])
def test_what_a_file_says_is_checked(data):
    with pytest.raises(UserError, match="values: got"):
        Values.from_json(data)


def test_a_background_is_white_black_or_a_colour():
    assert [read_background(text) for text in ("White", "black", "#A0b1C2")] == ["white", "black", "#a0b1c2"]
    for text in ("red", "#12", "#12345g", None):
        with pytest.raises(UserError, match=r"background: got .*expected white, black or #RRGGBB"):
            read_background(text)


# --- one file


@pytest.mark.parametrize("name", WIDE)
def test_black_and_white_are_where_they_are_said_to_be(tmp_path, name):
    kind, values, suffix = WIDE[name]
    image = read_image(save(tmp_path / f"image{suffix}", RAMP, kind, values), values=values)
    assert image.dtype == torch.float32 and image.shape == (3, 16, 24)
    assert np.allclose(image, RAMP * 255, atol=0.51 * 255 / (values[1] - values[0]) if kind != np.float32 else 1e-3)
    assert (to_float(image).amin(), to_float(image).amax()) == (-1, 1)
    low, high = values
    narrow = read_image(tmp_path / f"image{suffix}", values=(low + (high - low) / 4, high - (high - low) / 4))
    assert narrow.min() == 0 and narrow.max() == 255 and (narrow == 255).float().mean() > 0.2, "limited"


@pytest.mark.parametrize("name", WIDE)
def test_without_a_word_such_a_file_is_refused(tmp_path, name):
    kind, values, suffix = WIDE[name]
    path = save(tmp_path / f"image{suffix}", RAMP, kind, values)
    with pytest.raises(
        UserError, match=rf"image: got .*image\{suffix} \(.*\); expected images whose black .*--values L"
    ):
        read_image(path)


def test_more_than_8_bits_are_kept_and_resizing_stays_in_range(tmp_path):
    ramp = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    path = save(tmp_path / "image.tif", ramp, np.uint16, (0, 65535))
    assert len(read_image(path, values=(0, 65535)).unique()) == 64 * 64
    edge = save(tmp_path / "edge.tif", np.repeat([[0.0] * 20 + [1.0] * 20], 20, axis=0), np.float32, (0, 1))
    small = read_image(edge, 17, values=(0, 1))
    assert small.shape == (3, 17, 17) and small.min() == 0 and small.max() == 255


def test_a_pgm_says_its_own_white(tmp_path):
    values = struct.pack(">6H", 0, 1023, 511, 0, 1023, 511)
    (tmp_path / "image.pgm").write_bytes(b"P5 3 2 1023\n" + values)
    for said in (None, (0, 4095)):
        image = read_image(tmp_path / "image.pgm", values=said)
        assert image[0, 0].tolist() == pytest.approx([0, 255, 511 / 1023 * 255], abs=0.01)


def test_values_that_are_no_numbers_are_named(tmp_path):
    Image.fromarray(np.array([[0, np.nan], [1, 2]], dtype=np.float32)).save(tmp_path / "hole.tif")
    with pytest.raises(UserError, match=r"image: got .*hole\.tif \(values that are no numbers"):
        read_image(tmp_path / "hole.tif", values=(0, 1))


def test_a_grey_scale_network_gets_them_too_and_pictures_show_them(tmp_path):
    path = save(tmp_path / "image.tif", RAMP, np.float32, (0, 1))
    image = read_image(path, values=(0, 1))
    assert torch.equal(with_channels(image, 1), image[:1])
    shown = torch.from_numpy(np.array(as_bytes(open_image(path, values=(0, 1))))).permute(2, 0, 1)
    assert torch.equal(shown, to_uint8(to_float(image)))


def test_files_of_8_bits_are_what_they_are_whatever_is_said(tmp_path):
    Image.fromarray((RAMP * 255).astype(np.uint8)).save(tmp_path / "image.png")
    assert torch.equal(read_image(tmp_path / "image.png", values=(0, 10)), read_image(tmp_path / "image.png"))


def test_runs_that_recorded_nothing_read_as_they_did(tmp_path):
    framing = Framing.from_json({"size": 16})
    assert framing.range_of("A") == EACH and "values" not in framing.to_json()
    sixteen = save(tmp_path / "16.png", np.full((2, 3), 128 / 255), np.uint16, (0, 65535))
    eight = save(tmp_path / "8.tif", np.full((2, 3), 90 / 255), np.int32, (0, 255))
    for path, level in ((sixteen, 128), (eight, 90)):
        image = read_image(path, values=EACH)
        assert image.dtype == torch.uint8 and (image == level).all()


# --- a data set


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0, 1, (0, 1)), (0.2, 0.97, (0, 1)), (-0.9, 1, (-1, 1)), (0, 250, (0, 255)), (3, 4090, (0, 4095)),
        (0, 65000, (0, 65535)), (0, 0.3, None), (0, 200, None), (0, 1400, None), (-1000, 1000, None), (-3, 4090, None),
    ],
)  # fmt: skip
def test_a_usual_range_is_meant_if_it_is_filled(low, high, found):
    assert usual(low, high) == found


def test_slices_of_one_body_have_one_scale(tmp_path):
    images = UnpairedImages(data_set(tmp_path, darkest=(0, 200)), 16)
    assert images.framing.to_json()["values"] == {"A": [0, 1400], "B": [0, 1400]}
    train = sorted(images["A"].train.paths + images["A"].validation.paths)
    dark, bright = images["A"].train.with_paths(train[:2]).tensor()
    assert bright.max() > 0.95 and dark.max() == pytest.approx(2 * 200 / 1400 - 1, abs=0.02)
    line = "values of domain A: 0 to 1400, since training images hold 0 to 1400 (--values LOW,HIGH)"
    assert images.taken_for[0] == line


def test_each_domain_has_its_own_range_and_test_images_have_no_say(tmp_path):
    data_set(tmp_path, np.uint16, (0, 4095), suffix=".png", domains="A")
    data_set(tmp_path, np.int32, (-1000, 1000), domains="B")
    save(tmp_path / "testB" / "0.tif", RAMP, np.int32, (-1000, 3000))
    images = UnpairedImages(tmp_path, 16)
    assert images.framing.values == Values((0, 4095), (-1000, 1000))
    assert images["B"].test.tensor().max() == 1
    assert (images["B"].test.tensor() == 1).float().mean() > 0.4


def test_what_is_said_is_not_looked_for(tmp_path):
    images = UnpairedImages(data_set(tmp_path), Framing((16, 16), values=Values.from_text("0,2800")))
    assert images["A"].train.tensor().max() == pytest.approx(0, abs=0.03)
    assert not any("values" in line for line in images.taken_for + images.notes)


def test_values_of_a_run_are_no_values_of_another_kind(tmp_path):
    images = UnpairedImages(data_set(tmp_path), Framing((16, 16), values=Values()))  # a run of 8 bits
    with pytest.raises(UserError, match=r"1\.tif \(floating point\); .*--values LOW,HIGH"):
        images.read_all()


def test_kinds_are_not_mixed_without_a_word(tmp_path):
    data_set(tmp_path, np.uint16, (0, 4095), suffix=".png")
    write_images(tmp_path / "more", ["photo"])
    (tmp_path / "more" / "photo.png").rename(tmp_path / "trainA" / "photo.png")
    message = r"images of domain A: got 11 of 16 bits and 1 of 8 bits; expected images of one kind, or --values\. Conv"
    with pytest.raises(UserError, match=message):
        UnpairedImages(tmp_path, 16)
    images = UnpairedImages(tmp_path, Framing((16, 16), values=Values.from_text("0,4095")))
    images.read_all()
    photo = images["A"].train.with_paths([tmp_path / "trainA" / "photo.png"])
    assert torch.equal(photo[0], read_image(tmp_path / "trainA" / "photo.png", 16))


def test_one_value_is_no_range(tmp_path):
    with pytest.raises(UserError, match=r"images of domain A: got nothing but the value 7; .*--values LOW,HIGH"):
        UnpairedImages(data_set(tmp_path, brightest=(7, 7)), 16)


def test_values_without_use_are_told(image_folder):
    images = UnpairedImages(image_folder, Framing((16, 16), values=Values.from_text("0,1")))
    assert images.notes == ["values are not used: the files say themselves what is black and white"]
    assert UnpairedImages(image_folder, 16).framing.values == Values() and not UnpairedImages(image_folder, 16).notes


def deep_png(path, level):
    """Write a colour PNG of 16 bits a channel, which Pillow reads and can't write."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + struct.pack(">H", level) * 3 * 20 for _ in range(20))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 20, 20, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def test_colours_of_16_bits_have_to_fill_them(tmp_path):
    for folder in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / folder).mkdir()
        for index in range(10):
            deep_png(tmp_path / folder / f"{index}.png", 65535)
    assert UnpairedImages(tmp_path, 16)["A"].train[0].float().mean() == 255
    for index in range(10):
        deep_png(tmp_path / "trainB" / f"{index}.png", 4095)
    with pytest.raises(UserError, match=r"images of domain B: got 16 bits a channel that reach up to 4096 only"):
        UnpairedImages(tmp_path, 16)
    UnpairedImages(tmp_path, Framing((16, 16), values=Values.from_text("0,65535"))).read_all()


# --- transparency


@pytest.mark.parametrize(("background", "colour"), [("black", (0, 0, 0)), ("#0a141e", (10, 20, 30))])
def test_transparent_images_are_put_on_the_background(tmp_path, background, colour):
    Image.new("RGBA", (3, 2), (255, 0, 0, 0)).save(tmp_path / "image.png")
    assert read_image(tmp_path / "image.png", background=background)[:, 0, 0].tolist() == list(colour)


def test_the_background_is_told_and_saved(image_folder, tmp_path):
    for folder in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / folder).mkdir()
        for index in range(10):
            Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / folder / f"{folder}-{index}.png")
    line = "background: white, behind 40 images with transparency (--background)"
    images = UnpairedImages(tmp_path, 16)
    assert images.taken_for == [line] and images["A"].train.tensor().min() == 1
    assert images.framing.to_json() == {"size": 16, "values": {}, "background": "white"}
    black = UnpairedImages(tmp_path, Framing((16, 16), background="black"))
    assert black.taken_for == [] and black["A"].train.tensor().max() == -1
    assert Framing.from_json(black.framing.to_json()) == black.framing
    assert not any("background" in line for line in UnpairedImages(image_folder, 16).taken_for)
