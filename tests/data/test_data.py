"""Images on disk: conversions, damaged files, splits, batches and augmentation."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import COUNTS, write_images
from PIL import Image

import ganprune
from ganprune.data.files import list_images
from ganprune.data.images import ImageSet, UnpairedImages
from ganprune.data.pixels import cut, mirror_up, read_image, to_float, to_uint8
from ganprune.data.sizes import OWN, Framing
from ganprune.errors import UserError

SHAPE = (2, 3)  # height, width


def greyscale():
    return Image.fromarray(np.full(SHAPE, 100, np.uint8))


def palette():
    image = Image.new("P", SHAPE[::-1], 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    return image


@pytest.mark.parametrize(
    ("make", "suffix", "colour"),
    [
        (lambda: Image.new("RGB", SHAPE[::-1], (1, 2, 3)), ".png", (1, 2, 3)),
        (greyscale, ".png", (100, 100, 100)),
        (lambda: Image.new("1", SHAPE[::-1], 1), ".png", (255, 255, 255)),
        (palette, ".png", (10, 20, 30)),
        (lambda: Image.new("RGBA", SHAPE[::-1], (9, 9, 9, 0)), ".png", (255, 255, 255)),
        (lambda: Image.new("RGBA", SHAPE[::-1], (255, 0, 0, 51)), ".png", (255, 204, 204)),  # a fifth red
        (lambda: Image.new("LA", SHAPE[::-1], (0, 51)), ".png", (204, 204, 204)),
        (lambda: Image.new("RGB", SHAPE[::-1], (9, 9, 9)), ".gif", (9, 9, 9)),
        (lambda: Image.new("RGB", SHAPE[::-1], (90, 90, 90)), ".jfif", (90, 90, 90)),
        (lambda: Image.new("CMYK", SHAPE[::-1], (0, 0, 0, 0)), ".tif", (255, 255, 255)),
        (lambda: Image.new("CMYK", SHAPE[::-1], (0, 255, 255, 0)), ".tif", (255, 0, 0)),
    ],
)  # fmt: skip
def test_every_kind_of_image_becomes_rgb(tmp_path, make, suffix, colour):
    path = tmp_path / f"image{suffix}"
    make().save(path)
    image = read_image(path)
    assert image.dtype == torch.uint8 and image.shape == (3, *SHAPE)
    assert (image.int() - torch.tensor(colour).view(3, 1, 1)).abs().max() <= 1


def test_transparent_palette_colours_become_white(tmp_path):
    image = palette()
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "image.png", transparency=0)
    pixels = read_image(tmp_path / "image.png")
    assert pixels[:, 0, 0].tolist() == [255, 255, 255] and pixels[:, 1, 1].tolist() == [10, 20, 30]


def test_channels_and_axes_keep_their_order(tmp_path):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    assert np.array_equal(read_image(tmp_path / "image.png").permute(1, 2, 0), pixels)


def test_images_are_resized_and_left_alone_at_their_own_size(tmp_path):
    write_images(tmp_path / "folder", ["wide"], size=(30, 20))
    write_images(tmp_path / "own", ["square"], size=(16, 16))
    assert read_image(tmp_path / "folder" / "wide.png", 16).shape == (3, 16, 16)
    assert read_image(tmp_path / "folder" / "wide.png", (16, 24)).shape == (3, 16, 24)
    square = tmp_path / "own" / "square.png"
    assert torch.equal(read_image(square, 16), read_image(square))


def test_photos_are_turned_upright(tmp_path):
    image = Image.new("RGB", (30, 20), "red")
    image.paste("blue", (0, 0, 15, 20))  # the left half; upright (turned by 90 degrees clockwise) the upper one
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "photo.png", exif=exif)
    upright = read_image(tmp_path / "photo.png")
    assert upright.shape == (3, 30, 20)
    assert upright[:, 2, 10].tolist() == [0, 0, 255] and upright[:, 27, 10].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:200], lambda data: b"no image at all", lambda data: data[:8]]
)
def test_a_damaged_file_is_named(tmp_path, damage):
    write_images(tmp_path / "folder", ["photo"])
    path = tmp_path / "folder" / "photo.png"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        UserError, match=r"image: got .*photo\.png \(.*expected a readable image file. Replace or remove"
    ):
        read_image(path)


def test_float_and_byte_ranges_are_inverse():
    every = torch.arange(256, dtype=torch.uint8)
    assert (to_float(every)[0], to_float(every)[-1]) == (-1, 1)
    assert torch.equal(to_uint8(to_float(every)), every)
    assert to_uint8(torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])).tolist() == [0, 0, 128, 255, 255]


def test_only_image_files_are_listed_by_name(tmp_path):
    write_images(tmp_path / "folder", ["b", "a"])
    (tmp_path / "folder" / "notes.txt").write_text("")
    (tmp_path / "folder" / "c.png").mkdir()
    (tmp_path / "folder" / "B.JPG").write_bytes(b"")
    assert [path.name for path in list_images(tmp_path / "folder")] == ["B.JPG", "a.png", "b.png"]


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(UserError, match=r"data: got .*nowhere; expected a folder with trainA, trainB, testA, testB"):
        UnpairedImages(tmp_path / "nowhere")
    write_images(tmp_path / "trainA", ["a"])
    with pytest.raises(UserError, match=r"image folder: got .*trainB; expected an existing folder"):
        UnpairedImages(tmp_path)
    (tmp_path / "trainB").mkdir()
    with pytest.raises(UserError, match=r"image folder: got .*trainB \(no images\); expected files ending in bmp, "):
        UnpairedImages(tmp_path)


def make_folder(root, train, **others):
    """Folders with so many images each (train: of both domains)."""
    counts = {"trainA": train, "trainB": train, "testA": 1, "testB": 1, **others}
    for folder, count in counts.items():
        write_images(root / folder, [f"{folder}-{index:03d}" for index in range(count)], size=(16, 16))
    return root


def names(image_set):
    return {path.name for path in image_set.paths}


def test_a_tenth_of_the_training_files_is_set_aside_spread_over_the_names(tmp_path):
    split = UnpairedImages(make_folder(tmp_path, 25), 16)["A"]
    assert [path.name for path in split.validation.paths] == ["trainA-000.png", "trainA-012.png"]
    assert len(split.train) == 23 and not names(split.train) & names(split.validation)
    assert names(split.test) == {"testA-000.png"}


def test_at_most_a_hundred_are_set_aside(tmp_path):
    for folder in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / folder).mkdir()
        for index in range(1100 if folder == "trainB" else 10):
            (tmp_path / folder / f"{index:04d}.png").touch()  # never decoded
    counts = UnpairedImages(tmp_path, 16).counts()
    assert (counts["trainB"], counts["validationB"]) == (1000, 100)
    assert (counts["trainA"], counts["validationA"]) == (9, 1)


def test_validation_folders_are_used_where_they_exist(tmp_path):
    images = UnpairedImages(make_folder(tmp_path, 10, valB=2), 16)
    assert (len(images["A"].train), len(images["A"].validation)) == (9, 1)
    assert (len(images["B"].train), names(images["B"].validation)) == (10, {"valB-000.png", "valB-001.png"})


def test_too_few_training_images_need_a_validation_folder(tmp_path):
    with pytest.raises(
        UserError, match=r"trainA: got 9 images; expected at least 10, or a val folder. Add images, or a folder valA"
    ):
        UnpairedImages(make_folder(tmp_path / "few", 9), 16)
    assert len(UnpairedImages(make_folder(tmp_path / "enough", 9, valA=1, valB=1), 16)["A"].train) == 9


@pytest.mark.parametrize(
    ("asked", "multiple", "size"),
    [(16, 4, (16, 16)), (17, 4, (20, 20)), ((18, 22), 4, (20, 24)), ((17, 33), 1, (17, 33)), ((20, 40), 16, (32, 48))],
)
def test_images_of_any_size_are_mirrored_up_to_a_multiple_and_cut_back(image_folder, asked, multiple, size):
    images = UnpairedImages(image_folder, asked, multiple=multiple)
    frame = (asked, asked) if isinstance(asked, int) else asked
    assert (images.frame, images.size) == (frame, size)
    batch = images["A"].train.tensor([0, 1])
    plain = to_float(torch.stack([read_image(path, frame) for path in images["A"].train.paths[:2]]))
    assert batch.shape == (2, 3, *size) and torch.equal(images.cut(batch), plain)
    for line in range(frame[0], size[0]):
        assert torch.equal(batch[:, :, line, : frame[1]], plain[:, :, 2 * (frame[0] - 1) - line])
    for column in range(frame[1], size[1]):
        assert torch.equal(batch[:, :, : frame[0], column], plain[..., 2 * (frame[1] - 1) - column])
    assert (images.size_note is None) == (frame == size)


def test_what_is_mirrored_is_said(image_folder):
    note = "image size 18x22 is no multiple of 4: mirrored up to 20x24, results are cut back"
    assert UnpairedImages(image_folder, (18, 22)).size_note == note


def test_mirroring_goes_back_and_forth_where_there_is_little_to_mirror():
    line = torch.tensor([[1, 2, 3]], dtype=torch.uint8)
    assert mirror_up(line, (1, 8)).tolist() == [[1, 2, 3, 2, 1, 2, 3, 2]]
    assert mirror_up(line, (2, 3)).tolist() == [[1, 2, 3], [1, 2, 3]]
    assert torch.equal(cut(mirror_up(line, (5, 9)), (1, 3)), line)


def test_small_sizes_are_refused(image_folder):
    for size in (15, (64, 8)):
        with pytest.raises(UserError, match=r"expected at least 16 pixels a side. Choose a larger --size"):
            UnpairedImages(image_folder, size)


def test_size_defaults_to_the_first_images_shorter_side_up_to_256(image_folder, tmp_path):
    assert UnpairedImages(image_folder).frame == (18, 18)  # 20 x 18 files
    make_folder(tmp_path, 10)
    Image.new("RGB", (400, 300)).save(tmp_path / "trainA" / "trainA-000.png")
    assert UnpairedImages(tmp_path).size == (256, 256)


def draw(seed):
    return torch.Generator().manual_seed(seed)


def places(whole, parts):
    """Where each part lies in its image; parts that lie nowhere are left out."""
    found = []
    for image, part in zip(whole, parts, strict=True):
        height, width = part.shape[-2:]
        lines, columns = (have - want + 1 for have, want in zip(image.shape[-2:], part.shape[-2:], strict=True))
        found += [
            (top, left)
            for top in range(lines)
            for left in range(columns)
            if torch.equal(image[:, top : top + height, left : left + width], part)
        ]
    return found


@pytest.mark.parametrize("load", [OWN, (24, 22)])
def test_a_crop_is_the_middle_when_scored_and_anywhere_in_training(image_folder, load):
    images = UnpairedImages(image_folder, Framing((16, 17), load))
    train = images["A"].train
    whole = [to_float(read_image(path, None if load == OWN else load)) for path in train.paths]
    height, width = whole[0].shape[-2:]
    fixed = images.cut(train.tensor())
    assert train.tensor().shape == (13, 3, 16, 20)  # mirrored up: 17 is no multiple of 4
    assert places(whole, fixed) == [((height - 16) // 2, (width - 17) // 2)] * 13
    drawn = [train.training_tensor(range(13), draw(seed)) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    found = places(whole, images.cut(drawn[0]))
    assert len(found) == 13 and len(set(found)) > 4


def test_without_a_crop_training_draws_nothing(images):
    generator = draw(1)
    before = generator.get_state()
    assert torch.equal(images["A"].train.training_tensor([0, 2], generator), images["A"].train.tensor([0, 2]))
    assert torch.equal(generator.get_state(), before)


def test_an_image_smaller_than_the_crop_is_named(image_folder):
    images = UnpairedImages(image_folder, Framing((18, 24), OWN))
    message = r"image: got .*01\.png \(18x20\); expected at least the crop, 18x24. Lower --crop, or give --load-size"
    with pytest.raises(UserError, match=message):
        images.read_all()


def test_files_of_one_name_are_pairs_in_every_role(image_folder, tmp_path):
    images = UnpairedImages(image_folder, 16)  # testA: 01 02 03 04; testB: 00 01 02 03 other
    assert images.pairs("test") == [(0, 1), (1, 2), (2, 3)]
    for domain, files in (("A", ["1_A", "2_A", "b"]), ("B", ["2_B", "a", "b", "1_A"])):
        for role in ("train", "test", "val"):
            write_images(tmp_path / (role + domain), files)
    images = UnpairedImages(tmp_path, 16)  # sorted: 1_A 2_A b, and 1_A 2_B a b
    assert images.pairs("validation") == [(1, 1), (2, 3)]


def test_batches_are_floats_in_range(images):
    batch = images["A"].train.tensor([3, 1])
    assert batch.shape == (2, 3, 16, 16) and batch.dtype == torch.float32
    assert -1 <= batch.min() < -0.5 and 0.5 < batch.max() <= 1
    assert torch.equal(batch[1], to_float(images["A"].train[1]))
    assert len(images["A"].test.tensor()) == COUNTS["testA"]


def test_images_are_decoded_once(tmp_path):
    write_images(tmp_path / "folder", ["a"])
    image_set = ImageSet([tmp_path / "folder" / "a.png"], 16)
    first = image_set[0]
    (tmp_path / "folder" / "a.png").unlink()
    assert torch.equal(image_set[0], first)


def test_counts_name_every_role(images):
    assert images.counts() == {
        "trainA": 13, "trainB": 15, "validationA": 1, "validationB": 1, "testA": 4, "testB": 5,
    }  # fmt: skip


def test_calibration_is_the_first_training_images(images):
    assert torch.equal(images.calibration("B", 4), images["B"].train.tensor(range(4)))
    assert len(images.calibration("A")) == 13
    assert not names(images["A"].train) & names(images["A"].validation)


def test_tuning_is_a_seeded_tenth_outside_calibration_and_validation(tmp_path):
    for folder in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / folder).mkdir()
        for index in range(200):
            (tmp_path / folder / f"{index:03d}.png").touch()
    images = UnpairedImages(tmp_path, 16)
    chosen = images.tuning("A", 1)
    assert len(chosen) == 18  # of 180 training images
    assert names(chosen) <= names(images["A"].train) - {path.name for path in images["A"].train.paths[:32]}
    assert names(chosen) == names(images.tuning("A", 1))
    assert names(chosen) != names(images.tuning("A", 2)) and names(chosen) != names(images.tuning("B", 1))
    state = random.getstate()
    images.tuning("A", 3)
    assert random.getstate() == state


def test_the_shipped_images_pair_their_test_drawings_and_nothing_else():
    images = UnpairedImages(Path(ganprune.__file__).parent / "assets" / "colour_ink")
    counts = images.counts()
    assert (
        images.frame == images.size == (64, 64)
        and counts["testA"] == counts["testB"] == len(images.pairs("test")) == 200
    )
    train = {domain: names(images[domain].train) for domain in "AB"}
    others = {domain: names(images[domain].validation) | names(images[domain].test) for domain in "AB"}
    assert not train["A"] & train["B"]
    assert not (train["A"] | train["B"]) & (others["A"] | others["B"])
    ink = images["B"].test[0]
    assert torch.equal(ink[0], ink[1]) and ink.max() == 255, "ink on white"
