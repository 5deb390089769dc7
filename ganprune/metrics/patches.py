"""Distance between two sets of images by the patches that they are made of, from fine texture to large colour areas.

The sliced Wasserstein distance of the patches of a Laplacian pyramid: T. Karras et al., "Progressive growing of GANs",
ICLR 2018, section 5; J. Rabin et al., SSVM 2011. No network is asked, so it serves images of every kind, and rises in
proportion to blur, hatching, noise and wrong colours alike (docs/metrics.md). What is drawn it doesn't know.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from ganprune.data.pixels import to_float, to_rgb, to_uint8
from ganprune.errors import UserError

PATCH = 5  # pixels of a side, at every scale
COARSEST = 8  # pixels: the pyramid ends before an image's shorter side would be smaller
PLACES, DIRECTIONS, QUANTILES = 64, 64, 1001  # per image; per scale; of each direction
CHROMA = 2.0  # how much more than luminance a difference of chroma counts: without it lost colour goes unseen
SEED = 2018
FEWEST = 4  # images
DRAWS = 4  # of real images, to see how far apart sets of them are

Images = torch.Tensor


class PatchDistance:
    """How far sets of images are from the real ones of a domain.

    Args:
        real: (M, C, H, W) in [-1, 1], M at least 4, H and W at least 8; grey images count as coloured ones.

    Raises:
        UserError: too few, or too small.
    """

    def __init__(self, real: Images):
        if len(real) < FEWEST or min(real.shape[-2:]) < COARSEST:
            found = f"{len(real)} images of {real.shape[-2]}x{real.shape[-1]}"
            expected = f"{FEWEST} or more of at least {COARSEST}x{COARSEST}"
            raise UserError("images for the patch distance", found, expected, "Give more images.")
        self.real = patches_of(real)
        self.quantiles = [_quantiles(level) for level in self.real]
        self._floors: dict[int, list[float]] = {}

    def __call__(self, images: Images) -> float:
        """Return the distance of (N, C, H, W) images in [-1, 1], N at least 4.

        Returns:
            The root of the summed squared distances of all scales, each in units of the deviation of the real patches
            at that scale; what as many real images would have is taken off first. 0: no further than these.
        """
        return self.of_patches(patches_of(images))

    def of_patches(self, patches: list[torch.Tensor]) -> float:
        """Return the distance of images whose patches are known; see :func:`patches_of`."""
        squares = self._squares(patches)
        floors = self._floor(min(len(patches[0]), len(self.real[0]) // 2))
        return sum(max(0.0, square - floor) for square, floor in zip(squares, floors, strict=True)) ** 0.5

    def _floor(self, count: int) -> list[float]:
        """Return what the squares are for so many real images against the other ones: their number alone makes it."""
        if count not in self._floors:
            draw, found = np.random.RandomState(SEED), []
            for _ in range(DRAWS):
                order = torch.from_numpy(draw.permutation(len(self.real[0])))
                rest = [_quantiles(level[order[count:]]) for level in self.real]
                found.append(self._squares([level[order[:count]] for level in self.real], rest))
            self._floors[count] = np.mean(found, 0).tolist()
        return self._floors[count]

    def _squares(self, patches: list[torch.Tensor], to: list[torch.Tensor] | None = None) -> list[float]:
        """Return each scale's squared distance."""
        pairs = zip(patches, to or self.quantiles, strict=True)
        return [float((_quantiles(level) - real).square().mean() / real.var(1).mean()) for level, real in pairs]


def patches_of(images: Images) -> list[torch.Tensor]:
    """Return, per scale, random patches of every image along random directions: (N, places, directions).

    The same places in the same directions for the same number of images.

    Args:
        images: (N, C, H, W) in [-1, 1].
    """
    found = []
    for level in _pyramid(_opponent(to_float(to_uint8(to_rgb(images))))):  # the pictures that would be saved
        draw = np.random.RandomState(SEED)  # its stream is the same in every version of NumPy
        directions = draw.standard_normal((level.shape[1] * PATCH**2, DIRECTIONS)).astype(np.float32)
        rows, columns = (draw.randint(0, side - PATCH + 1, (len(images), PLACES)) for side in level.shape[-2:])
        windows = level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # (N, C, H - 4, W - 4, 5, 5)
        patches = windows[torch.arange(len(images))[:, None], :, rows, columns].flatten(2)
        found.append(patches @ torch.from_numpy(directions / np.linalg.norm(directions, axis=0)))
    return found


def _quantiles(patches: torch.Tensor) -> torch.Tensor:
    """Return (directions, quantiles) of (N, places, directions)."""
    ordered = patches.flatten(0, 1).T.contiguous().sort(1).values
    places = torch.linspace(0, ordered.shape[1] - 1, QUANTILES)
    return ordered[:, places.round().long()]


def _opponent(images: Images) -> Images:
    """Return luminance and the two differences of colour (ITU-R BT.601), the latter enlarged."""
    red, green, blue = images.unbind(1)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([grey, CHROMA * 0.564 * (blue - grey), CHROMA * 0.713 * (red - grey)], 1)


def _pyramid(images: Images) -> list[Images]:
    """Return what each halving of the size loses, finest first, and what is left."""
    levels = []
    while min(images.shape[-2:]) >= 2 * COARSEST:
        smaller = F.avg_pool2d(images, 2, ceil_mode=True)
        levels.append(images - F.interpolate(smaller, images.shape[-2:], mode="bilinear", align_corners=False))
        images = smaller
    return [*levels, images]
