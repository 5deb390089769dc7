"""Made-up inputs for what has structure that changed bytes hardly reach: what ``fuzzing`` gives to loaders.

State dicts inside other things, images of every mode and range, and what discriminators return.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ganprune.data.images import UnpairedImages
from ganprune.data.sizes import Framing
from ganprune.data.values import Values
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.cyclegan import CycleGAN
from ganprune.models.scores import judged

KEYS = (
    "state_dict", "model", "params", "params_ema", "net", "generator", "G_A", "G_B", "genA2B", "genB2A", "disA", "D_B",
    "netG_A2B", "optimizer", "epoch", "", "0", "weights", "ema", "A2B", "loss",
)  # fmt: skip
PREFIXES = ("", "", "netG_A.", "netG_B.", "module.", "model.", "A2B.generator.", "D_A.", "generator.")
JUNK: tuple[Any, ...] = (
    None, 3, 1.5, float("nan"), "text", b"bytes", True, [], {}, (1, 2), [torch.ones(2)], torch.tensor(3), torch.ones(0),
    torch.ones(2, dtype=torch.complex64), torch.ones(3, dtype=torch.bool), torch.full((2, 2), float("inf")),
)  # fmt: skip
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16")
ENDINGS = (".png", ".tif", ".jpg", ".webp", ".bmp", ".gif", ".ppm", ".jfif", ".PNG", ".txt")
FORMATS = ("PNG", "TIFF", "JPEG", "WEBP", "BMP", "GIF", "PPM")
SIZE = 16


def wrapping(cyclegan: CycleGAN) -> Callable[[Path, random.Random], None]:
    """Return what writes state dicts inside other things into a new folder."""
    states = [network.state_dict() for network in cyclegan.networks().values()]

    def content(draw: random.Random, depth: int = 0) -> Any:
        kind = draw.random()
        if kind < 0.45 or depth > 3:
            prefix = draw.choice(PREFIXES)
            state: dict[str, Any] = {prefix + key: value for key, value in draw.choice(states).items()}
            if draw.random() < 0.3:
                state[draw.choice(KEYS)] = draw.choice(JUNK)
            if draw.random() < 0.2:
                del state[draw.choice(list(state))]
            return state
        if kind < 0.9:
            return {draw.choice(KEYS): content(draw, depth + 1) for _ in range(draw.randint(1, 4))}
        return draw.choice(JUNK) if kind < 0.97 else [content(draw, depth + 1)]

    def write(folder: Path, draw: random.Random) -> None:
        folder.mkdir()
        for number in range(draw.randint(1, 3)):
            name = draw.choice((*KEYS[6:13], "latest_net_G", "100_net_G_A", f"file{number}")) or "file"
            ending = draw.choice((".pth", ".pt", ".ckpt", ".pth.tar", ".bin"))
            torch.save(content(draw), folder / (name.replace("/", "-") + ending))

    return write


def load_wrapped(folder: Path) -> None:
    """Read such a folder."""
    load_cyclegan(folder)


def write_images(folder: Path, draw: random.Random) -> None:
    """Write a data set whose files have some mode, kind and range of values, or not all the same."""
    numbers = np.random.default_rng(draw.getrandbits(32))
    usual = draw.choice(MODES), draw.choice(FORMATS)
    for role, count in {"trainA": 10, "trainB": 10, "testA": 2, "testB": 1}.items():
        place = folder / role / draw.choice(("", "", "", "sub", ".hidden"))
        place.mkdir(parents=True)
        for number in range(count):
            mode, kind = usual if draw.random() < 0.9 else (draw.choice(MODES), draw.choice(FORMATS))
            ending = draw.choice(ENDINGS) if draw.random() < 0.1 else "." + kind.lower()
            try:
                _picture(mode, numbers, draw).save(place / f"{number}{ending}", kind)
            except (OSError, ValueError, KeyError, SystemError):  # this kind of file holds no such mode
                Image.new("L", (SIZE, SIZE), 9).save(place / f"{number}.png")


def _picture(mode: str, numbers: np.random.Generator, draw: random.Random) -> Image.Image:
    shape = tuple(draw.choice(((SIZE, SIZE), (20, 12), (1, 1), (SIZE, 40))))
    high = draw.choice((1, 100, 255, 1023, 4095, 65535))
    if mode == "F":
        values = numbers.uniform(draw.choice((0, -1, -1000)), high, shape).astype(np.float32)
        if draw.random() < 0.1:
            values[0, 0] = draw.choice((np.nan, np.inf, 1e30))
        return Image.fromarray(values)
    if mode == "I":
        return Image.fromarray(numbers.integers(draw.choice((0, -1000)), high + 1, shape).astype(np.int32))
    if mode == "I;16":
        return Image.fromarray(numbers.integers(0, high + 1, shape).astype(np.uint16))
    colours = Image.fromarray(numbers.integers(0, min(high, 255) + 1, (*shape, 3), dtype=np.uint8))
    if mode in ("LA", "PA", "RGBA"):
        colours.putalpha(draw.randrange(256))
    return colours.convert(mode) if mode != "PA" else colours.convert("P").convert("PA")


def read_images(folder: Path) -> None:
    """Read such a data set, as it is and with what a user may say of it."""
    said = Values.from_text(random.Random(len(list(folder.rglob("*")))).choice(("0,1", "-1000,1000", "0,65535")))
    for framing in (Framing((SIZE, SIZE)), Framing((SIZE, SIZE), values=said, background="black", pairs=False)):
        images = UnpairedImages(folder, framing)
        images.read_all()
        assert len(images.taken_for) < 20 and all(len(line) < 400 for line in images.taken_for)
        for each in images.sets().values():
            values = each.tensor()
            assert torch.isfinite(values).all() and values.abs().max() <= 1


def write_output(folder: Path, draw: random.Random) -> None:
    """Write what decides on an output of a discriminator: a number."""
    folder.mkdir()
    (folder / "seed.txt").write_text(str(draw.getrandbits(32)))


def read_output(folder: Path) -> None:
    """Ask for the scores in a made-up output."""
    draw = random.Random((folder / "seed.txt").read_text())
    count = draw.choice((1, 2, 3))
    found = judged(lambda images: _output(draw, count), torch.zeros(count, 3, SIZE, SIZE))
    assert len(found) == count and found.numel() and bool(torch.isfinite(found.float().mean()))


def _output(draw: random.Random, count: int, depth: int = 0) -> Any:
    kind = draw.random()
    if kind < 0.55 or depth > 2:
        side = draw.choice((0, 1, 2, 5))
        shapes: tuple[tuple[int, ...], ...] = (
            (count, 1, side, side), (count, 4, 3, 3), (count,), (count, 1), (side, side), (), (1, count, 2)
        )  # fmt: skip
        return torch.ones(draw.choice(shapes), dtype=draw.choice((torch.float32, torch.float32, torch.int64)))
    if kind < 0.9:
        several = [_output(draw, count, depth + 1) for _ in range(draw.randint(0, 3))]
        return several if draw.random() < 0.7 else tuple(several)
    return draw.choice((*JUNK[:10], {"scores": torch.ones(count, 1)}))
