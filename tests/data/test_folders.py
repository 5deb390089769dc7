"""Which files of a folder are images, what is left out, pairs, and folders under other names."""

import shutil

import pytest
from conftest import write_images
from PIL import Image
from toytask import copy_images

from ganprune.data.files import list_images, pair_name, scan
from ganprune.data.images import UnpairedImages
from ganprune.data.pixels import read_image
from ganprune.data.sizes import Framing
from ganprune.errors import UserError


def names(folder):
    return [path.relative_to(folder).as_posix() for path in list_images(folder)]


def notes(folder):
    return scan(folder).notes(folder.name)


def test_what_file_systems_and_notebooks_leave_is_no_image(tmp_path):
    write_images(tmp_path / "trainA", ["001", ".hidden"])
    for name in ("._001.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "trainA" / name).write_bytes(b"\0\5\x16\7")
    write_images(tmp_path / "trainA" / ".ipynb_checkpoints", ["001-checkpoint"])
    write_images(tmp_path / "trainA" / "__MACOSX", ["001"])
    assert names(tmp_path / "trainA") == [".hidden.png", "001.png"] and notes(tmp_path / "trainA") == []


def test_other_files_and_subfolders_beside_images_are_counted(tmp_path):
    write_images(tmp_path / "trainA", ["a"])
    write_images(tmp_path / "trainA" / "rejected", ["b", "c"])
    write_images(tmp_path / "elsewhere", ["d"])
    (tmp_path / "trainA" / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("notes.txt", "a.heic", "b.heic", "README"):
        (tmp_path / "trainA" / name).touch()
    assert names(tmp_path / "trainA") == ["a.png"]
    assert notes(tmp_path / "trainA") == [
        "trainA: 4 files left out for their ending (.heic, no ending, .txt)",
        "trainA: 2 images in subfolders left out, since others lie beside these",
    ]


def test_a_folder_of_folders_is_read_through_in_order(tmp_path):
    for folder in ("n02", "n01/deep"):
        write_images(tmp_path / "trainA" / folder, ["b", "a"])
    (tmp_path / "trainA" / "n02" / "labels.csv").touch()
    (tmp_path / "trainA" / "n02" / "again").symlink_to(tmp_path / "trainA")
    assert names(tmp_path / "trainA") == ["n01/deep/a.png", "n01/deep/b.png", "n02/a.png", "n02/b.png"]
    assert notes(tmp_path / "trainA") == ["trainA: 1 file left out for their ending (.csv)"]


def test_pairs_and_digest_know_subfolders(image_folder, tmp_path):
    flat = UnpairedImages(image_folder, 16)
    for folder in ("trainA", "trainB", "testA", "testB"):
        for index, path in enumerate(sorted((image_folder / folder).iterdir())):
            place = tmp_path / folder / ("even" if index % 2 == 0 else "odd")
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    images = UnpairedImages(tmp_path, 16)
    assert images.counts() == flat.counts() and images.digest() != flat.digest()
    # testA: 01 03 even, 02 04 odd; testB: 00 02 other even, 01 03 odd
    assert images.pairs("test") == [] and len(flat.pairs("test")) == 3
    shutil.move(tmp_path / "testB" / "even" / "02.png", tmp_path / "testB" / "odd" / "02.jpg")
    assert UnpairedImages(tmp_path, 16).pairs("test") == [(2, 3)]


@pytest.mark.parametrize(
    ("name", "pair"), [("17_A.jpg", "17"), ("n/17.png", "n/17"), ("n_A/17_B.png", "n_A/17_B"), ("a.b.png", "a.b")]
)
def test_the_name_of_a_pair(name, pair):
    assert pair_name(name, "A") == pair


def test_pairs_are_told_and_switched_off(image_folder):
    images = UnpairedImages(image_folder, 16)
    assert images.taken_for == ["pairs, by equal names: 3 of test, 1 of validation (--no-pairs)"]
    off = UnpairedImages(image_folder, Framing((16, 16), pairs=False))
    assert off.taken_for == [] and off.pairs("test") == off.pairs("validation") == []
    assert Framing.from_json(off.framing.to_json()).pairs is False


def test_files_of_several_pages_are_read_with_a_word(image_folder, tmp_path):
    folder = copy_images(image_folder, tmp_path / "data")
    first, second = Image.new("RGB", (20, 20), "red"), Image.new("RGB", (20, 20), "blue")
    for domain, suffix in (("A", "gif"), ("A", "tif"), ("B", "webp")):
        first.save(folder / f"train{domain}" / f"pages.{suffix}", save_all=True, append_images=[second], lossless=True)
        assert read_image(folder / f"train{domain}" / f"pages.{suffix}")[:, 0, 0].tolist() == [255, 0, 0]
    first.save(folder / "trainB" / "one.gif")
    assert UnpairedImages(folder, 16).notes == ["files of several pages or frames, of which the first is read: 3"]


def test_a_file_is_what_it_holds_whatever_its_ending(tmp_path):
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "image.jpg", format="PNG")
    assert read_image(tmp_path / "image.jpg")[:, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (
            ["A/train", "B/train", "A/test", "B/test"],
            r"trainA \(missing; there is A/train\); .* move A/train to trainA, ",
        ),
        (["train/A", "train/B"], r"trainA \(missing; there is train/A\)"),
        (["TrainA_", "Train_A"], r"trainA \(missing; there is Train_A\)"),
        (["A", "B"], r"trainA \(missing; there is A\)"),
        (["horse2zebra/trainA"], r"trainA \(missing; there is horse2zebra/trainA\); .* Give --data .*horse2zebra, if"),
        (["photos"], r"image folder: got .*trainA; expected an existing folder. Check --data"),
        (["trainA", "trainB"], r"testA; expected an existing folder. Move some images of trainA there"),
    ],
)
def test_folders_under_other_names_are_named_and_not_read(tmp_path, folders, message):
    for folder in folders:
        write_images(tmp_path / folder, ["a"])
    with pytest.raises(UserError, match=message):
        UnpairedImages(tmp_path)
