"""Fixtures: toy CycleGANs and a small folder of images."""

import signal

import numpy as np
import pytest
import torch
from networks import toy_cyclegan
from PIL import Image
from toytask import make_checkpoint, toy_run

from ganprune.data.images import UnpairedImages

torch.set_num_threads(1)

COUNTS = {"trainA": 14, "trainB": 16, "testA": 4, "testB": 5}


@pytest.fixture
def cyclegan():
    """Two lively toy sides, float32, instance norm."""
    return toy_cyclegan()


@pytest.fixture
def cyclegan64():
    """Two lively toy sides, float64, instance norm."""
    return toy_cyclegan(torch.float64)


def write_images(folder, names, seed=0, size=(20, 18)):
    """Write one noise image of ``size`` (width, height) per name."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    for name in names:
        Image.fromarray(draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(folder / f"{name}.png")


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """trainA (14), trainB (16), testA (4) and testB (5), three of whose names match; no validation folders."""
    root = tmp_path_factory.mktemp("images")
    for seed, (folder, count) in enumerate(COUNTS.items()):
        first = 1 if folder == "testA" else 0  # testA: 1 2 3 4; testB: 0 1 2 3 and "other"
        names = [f"{index:02d}" for index in range(first, first + count)]
        write_images(root / folder, [*names[:-1], "other"] if folder == "testB" else names, seed)
    return root


@pytest.fixture
def images(image_folder):
    """The image folder at 16x16."""
    return UnpairedImages(image_folder, 16)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A saved toy CycleGAN, one for each test module."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def run(checkpoint, image_folder, tmp_path_factory):
    """A finished toy run, one for each test module."""
    return toy_run(checkpoint, image_folder, tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(autouse=True)
def ctrl_c_works():
    """Python's own answer to Ctrl-C, also where the tests were started by something that ignores it (nohup, "&")."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
