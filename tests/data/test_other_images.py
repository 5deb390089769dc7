"""Image files and folders as people bring them: damaged beside the image itself, linked, in another layout."""

import struct

import numpy as np
import pytest
from conftest import write_images
from PIL import Image, PngImagePlugin
from toytask import copy_images

from ganprune.data.images import UnpairedImages
from ganprune.data.pixels import read_image
from ganprune.errors import UserError

HEADER = b"Exif\0\0"
BIG = 2 * 2**20  # characters, more than Pillow reads by itself


def orientation(value, *others):
    """EXIF data that say how an image is turned, with other entries beside it: (tag, type, count, value)."""
    entries = [(0x0112, 3, 1, value), *others]
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries)


@pytest.mark.parametrize("exif", [HEADER, HEADER + b"\0\x08\0\x02\x01\x12\0\x03", HEADER + HEADER + orientation(1)])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_an_image_is_read_although_its_exif_data_are_broken(tmp_path, exif, suffix):
    path = tmp_path / f"photo.{suffix}"
    Image.new("RGB", (6, 4), (200, 100, 50)).save(path, exif=exif if suffix == "jpg" else exif[len(HEADER) :])
    assert read_image(path).shape == (3, 4, 6)


def test_a_broken_entry_does_not_hide_how_a_photo_is_turned(tmp_path):
    exif = HEADER + orientation(6, (0x011A, 5, 9999, 4000)) + bytes(4)
    Image.new("RGB", (6, 4)).save(tmp_path / "photo.jpg", exif=exif)
    assert read_image(tmp_path / "photo.jpg").shape == (3, 6, 4)


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_turn_is_turned_back(tmp_path, turn):
    image = Image.fromarray(np.array([[0, 50, 100], [150, 200, 250]], np.uint8))
    ways = Image.Transpose
    stored = {
        1: image, 2: image.transpose(ways.FLIP_LEFT_RIGHT), 3: image.transpose(ways.ROTATE_180),
        4: image.transpose(ways.FLIP_TOP_BOTTOM), 5: image.transpose(ways.TRANSPOSE),
        6: image.transpose(ways.ROTATE_90), 7: image.transpose(ways.TRANSVERSE), 8: image.transpose(ways.ROTATE_270),
    }[turn]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = turn
    stored.save(tmp_path / "photo.png", exif=exif)
    assert read_image(tmp_path / "photo.png")[0].tolist() == np.asarray(image).tolist()


@pytest.mark.parametrize("what", ["text", "profile"])
def test_long_texts_and_profiles_are_not_in_the_way(tmp_path, what):
    text = PngImagePlugin.PngInfo()
    text.add_text("history", "x" * BIG, zip=True)
    beside = {"pnginfo": text} if what == "text" else {"icc_profile": bytes(BIG)}
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "a.png", **beside)
    assert read_image(tmp_path / "a.png")[:, 0, 0].tolist() == [1, 2, 3]


def test_links_that_lead_nowhere_are_counted(image_folder, tmp_path):
    folder = copy_images(image_folder, tmp_path / "data")
    for number in range(2):
        (folder / "trainA" / f"lost{number}.png").symlink_to(tmp_path / "moved" / f"{number}.png")
    assert UnpairedImages(folder, 16).notes == ["trainA: 2 links left out: nothing is where they lead"]
    (folder / "trainB" / "deep").mkdir()
    for path in [path for path in (folder / "trainB").iterdir() if path.is_file()]:
        path.unlink()
        (folder / "trainB" / "deep" / path.name).symlink_to(tmp_path / "moved" / path.name)
    with pytest.raises(UserError, match=r"trainB \(no images; \d+ links left out: nothing is where they lead\)"):
        UnpairedImages(folder, 16)


def test_a_folder_of_other_files_says_what_they_are(tmp_path):
    for name in ("trainA/1.heic", "trainA/2.heic", "trainA/3.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"trainA \(no images; 3 files left out for their ending \(.heic, .npy\)\)"):
        UnpairedImages(tmp_path, 16)


def test_pairs_side_by_side_are_named(tmp_path):
    for role in ("train", "val", "test"):
        write_images(tmp_path / role, ["1", "2"])
    with pytest.raises(
        UserError, match=r"trainA \(missing; there is train\); .*pairs side by side.* left halves into tr"
    ):
        UnpairedImages(tmp_path, 16)


def tiff(path, meaning):
    """A TIFF of 8x8 pixels of red, green, blue and a fourth band, of 0; what that means is said, or not (None)."""
    tags = [(256, 8), (257, 8), (258, 0), (259, 1), (262, 2), (273, 0), (277, 4), (278, 8), (279, 256), (284, 1)]
    tags += [] if meaning is None else [(338, meaning)]
    bits = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, value in tags:
        kind, count, value = {258: (3, 4, bits), 273: (4, 1, bits + 8), 279: (4, 1, value)}.get(tag, (3, 1, value))
        entries += struct.pack("<HHII", tag, kind, count, value)
    pixels = bytes([10, 20, 30, 0]) * 64
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + bytes([8, 0] * 4) + pixels)


@pytest.mark.parametrize(("meaning", "colour"), [(None, [10, 20, 30]), (0, [10, 20, 30]), (2, [255, 255, 255])])
def test_a_fourth_band_is_transparency_only_where_the_file_says_so(image_folder, tmp_path, meaning, colour):
    folder = copy_images(image_folder, tmp_path / "data")
    tiff(folder / "trainA" / "field.tif", meaning)
    assert read_image(folder / "trainA" / "field.tif")[:, 0, 0].tolist() == colour
    images, told = UnpairedImages(folder, 16), meaning is not None and meaning > 0
    assert images.notes == [] if told else ["files with bands beside their colours, which are not read: 1"]
    assert any("behind 1 images with transparency" in line for line in images.taken_for) == told
