"""Known damage to images, in rising doses, that a judge of pictures has to rank.

``python scripts/damage.py sheet.png`` draws the doses. Which of them a person notices first, and which look equally
bad, was settled by looking at that sheet, before any judge was asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torchvision.transforms.v2 import functional as F

from ganprune.assets import default_images
from ganprune.data.images import UnpairedImages
from ganprune.data.pixels import to_uint8

Damaging = Callable[[torch.Tensor, float, np.random.Generator], torch.Tensor]
LEVELS = ("noticed", "plain", "bad")


@dataclass(frozen=True)
class Damage:
    """One kind of damage.

    Attributes:
        apply: maps (N, 3, H, W) images in [-1, 1], a dose and a source of random numbers to damaged ones.
        doses: rising.
        looks: the doses at which a person, with the undamaged images beside, notices it, finds it plain, and finds it
            bad. Those of different kinds at one of these :data:`LEVELS` look equally bad.
        domains: of whose images it is shown.
    """

    apply: Damaging
    doses: Sequence[float]
    looks: tuple[float, float, float]
    domains: str = "AB"


def blur(images: torch.Tensor, sigma: float, draw: np.random.Generator) -> torch.Tensor:
    """Gaussian blur, deviation in pixels."""
    return F.gaussian_blur(images, [2 * int(np.ceil(3 * sigma)) + 1] * 2, [sigma, sigma])


def hatching(images: torch.Tensor, levels: float, draw: np.random.Generator) -> torch.Tensor:
    """A checkerboard of single pixels, brighter and darker by so many of 255 grey levels."""
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in images.shape[-2:]), indexing="ij")
    return (images + ((rows + columns) % 2 * 2 - 1) * levels / 127.5).clamp(-1, 1)


def noise(images: torch.Tensor, levels: float, draw: np.random.Generator) -> torch.Tensor:
    """Independent normal noise of every value, deviation in grey levels of 255."""
    values = draw.standard_normal(tuple(images.shape)).astype(np.float32)
    return (images + torch.from_numpy(values) * levels / 127.5).clamp(-1, 1)


def desaturation(images: torch.Tensor, share: float, draw: np.random.Generator) -> torch.Tensor:
    """The share of colour that is lost."""
    return torch.lerp(images, F.rgb_to_grayscale(images, 3), share)


def hue(images: torch.Tensor, turn: float, draw: np.random.Generator) -> torch.Tensor:
    """The hue turned, by so many of 255."""
    shift = (turn / 255 + 0.5) % 1 - 0.5
    return F.adjust_hue((images + 1) / 2, shift) * 2 - 1


def fewer(images: torch.Tensor, lost: float, draw: np.random.Generator) -> torch.Tensor:
    """The share of the different images that are lost; the others are repeated in their place."""
    kept = max(1, round(len(images) * (1 - lost)))
    return images[draw.permutation(len(images))[np.arange(len(images)) % kept]]


def missing(images: torch.Tensor, patches: float, draw: np.random.Generator) -> torch.Tensor:
    """So many squares of an eighth of the side take the colour of their brightest pixel: lines end within them."""
    images, side = images.clone(), images.shape[-1] // 8
    for image in images:
        inked = (image.mean(0) < 0.6).nonzero()
        for _ in range(int(patches) if len(inked) else 0):
            top, left = (int(place) for place in inked[draw.integers(len(inked))])
            top, left = max(0, top - side // 2), max(0, left - side // 2)
            patch = image[:, top : top + side, left : left + side]
            brightest = patch.mean(0).flatten().argmax()
            patch[:] = patch.flatten(1)[:, brightest, None, None]
    return images


def wrong(images: torch.Tensor, lines: float, draw: np.random.Generator) -> torch.Tensor:
    """So many black lines of a pixel's width, a quarter of the side long, where none belong."""
    size, found = images.shape[-1], []
    for pixels in to_uint8(images).permute(0, 2, 3, 1).numpy():
        picture = Image.fromarray(pixels)
        for _ in range(int(lines)):
            x, y, angle = *draw.uniform(0.15, 0.85, 2) * size, draw.uniform(0, np.pi)
            reach = size / 8 * np.array([np.cos(angle), np.sin(angle)])
            ImageDraw.Draw(picture).line([x - reach[0], y - reach[1], x + reach[0], y + reach[1]], (0, 0, 0), 1)
        found.append(torch.from_numpy(np.array(picture)))
    return torch.stack(found).permute(0, 3, 1, 2).float() / 127.5 - 1


DAMAGES = {
    "blur": Damage(blur, (0.3, 0.6, 1.0, 1.5, 2.5), (0.6, 1.0, 1.5)),
    "hatching": Damage(hatching, (5, 10, 20, 40, 60), (10, 20, 60)),
    "noise": Damage(noise, (5, 10, 20, 40, 60), (10, 20, 40)),
    "desaturation": Damage(desaturation, (0.1, 0.25, 0.5, 0.75, 1.0), (0.25, 0.5, 1.0), "A"),
    "hue": Damage(hue, (8, 16, 32, 64, 100), (8, 16, 32), "A"),
    "missing lines": Damage(missing, (1, 2, 4, 8, 16), (1, 2, 8)),
    "wrong lines": Damage(wrong, (1, 2, 4, 8, 16), (1, 2, 4)),
    "fewer images": Damage(fewer, (0.25, 0.5, 0.75, 0.9, 0.975), (0.75, 0.9, 0.975)),
}


def sheet(path: Path, shown: int = 4, zoom: int = 2) -> None:
    """Draw every dose on a few validation images of each domain."""
    images = UnpairedImages(default_images(), 64)
    rows = []
    for damage in DAMAGES.values():
        for domain in damage.domains:
            real = images[domain].validation.tensor(range(5, 5 + 7 * shown, 7))
            cells = [real, *(damage.apply(real, dose, np.random.default_rng(0)) for dose in damage.doses)]
            rows.append(torch.cat([torch.cat(list(cell), -1) for cell in cells], -1))
    pixels = to_uint8(torch.cat(rows, -2)).permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels)
    picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    sheet(Path(sys.argv[1]))
