"""Unpaired images on disk: trainA/trainB, testA/testB and, if there, valA/valB.

Files are decoded once and kept as bytes; batches are float tensors in [-1, 1]. Scoring uses fixed batches without
augmentation; training draws its crops and flips from (seed, step), so that an interrupted run goes on identically.
"""

from __future__ import annotations

import functools
import hashlib
import os
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ganprune.errors import UserError

EXTENSIONS = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 80_000_000
DOMAINS = ("A", "B")
STRIDE = 4  # the generators halve the size twice; other sizes would not come back at their own size
MIN_SIZE = 16
CHANNELS = (1, 3)  # of the images that files hold
CALIBRATION_IMAGES = 32


def list_images(folder: Path) -> list[Path]:
    """Return the image files directly inside a folder, sorted by name.

    Raises:
        UserError: the folder does not exist or holds no image.
    """
    if not folder.is_dir():
        raise UserError("image folder", str(folder), "an existing folder", "Check --data and its folder names.")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not paths:
        kinds = ", ".join(sorted(extension[1:] for extension in EXTENSIONS))
        raise UserError("image folder", f"{folder} (no images)", f"files ending in {kinds}", "Put images into it.")
    return paths


def read_image(path: Path, size: int | None = None) -> torch.Tensor:
    """Decode one file to RGB: (3, H, W), uint8. Greyscale, palette and transparent images are converted (on white).

    Args:
        path: an image file.
        size: resize to size x size (bicubic, antialiased) unless it has that size already.

    Raises:
        UserError: the file is damaged, truncated, huge or no image; it is named.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that are read none the less
            rgb = _decode(path)
    except Exception as error:  # decoders of damaged files fail in every way there is
        reason = str(error) or type(error).__name__
        raise UserError(
            "image", f"{path} ({reason})", "a readable image file", "Replace or remove the file."
        ) from error
    if size is not None and rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()


def _decode(path: Path) -> Image.Image:
    # Only these formats: the library would have others, such as PostScript, read by other programs.
    with Image.open(path, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:  # before a small file fills the memory
            raise ValueError(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS} in all")
        image.load()
        return _flatten(image)


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits; wider kinds hold 8 or 16 by their own range
        values = np.asarray(image, dtype=np.float64)
        sixteen = image.mode.startswith("I;16") or image.format == "PNG" or values.max() > 255
        values = values / 257 if sixteen else values
        return Image.fromarray(np.clip(values.round(), 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Map uint8 [0, 255] to float32 [-1, 1]."""
    return images.float().div_(127.5).sub_(1.0)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Map float [-1, 1] to uint8 [0, 255], rounding."""
    return images.detach().float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def with_channels(image: torch.Tensor, channels: int) -> torch.Tensor:
    """Return an RGB image, (3, H, W) uint8, with 3 channels or with 1, its luma (ITU-R BT.601)."""
    if channels == 3:
        return image
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    return image.float().mul(weights).sum(0, keepdim=True).round().to(torch.uint8)


def to_rgb(images: torch.Tensor) -> torch.Tensor:
    """Return (N, 3, H, W) images of (N, 3, H, W) or greyscale (N, 1, H, W) ones.

    Raises:
        UserError: another number of channels.
    """
    if images.shape[1] not in CHANNELS:
        found = f"images of {images.shape[1]} channels"
        raise UserError("features", found, "colour or greyscale images", "Leave them out by --features none.")
    return images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1)


def usable_size(size: int) -> int:
    """Round a side length down to a multiple of 4, at least 16.

    Raises:
        UserError: the size is below 16.
    """
    if size < MIN_SIZE:
        raise UserError("size", size, f"at least {MIN_SIZE} pixels", "Choose a larger --size.")
    return size - size % STRIDE


def pair_name(path: Path, domain: str) -> str:
    """Return what the files of one thing have in common in both domains: ``17`` of ``17_A.jpg`` and ``17_B.jpg``."""
    return path.stem.removesuffix(f"_{domain}")


class ImageSet(Sequence[torch.Tensor]):
    """Image files at one square size, decoded on first use and kept as uint8.

    Args:
        paths: image files.
        size: side length in pixels.
        channels: 3, or 1 for greyscale.
    """

    def __init__(self, paths: Sequence[Path], size: int, channels: int = 3):
        self.paths, self.size, self.channels = list(paths), size, channels
        self._decoded: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:  # type: ignore[override]
        """Return image ``index``: (channels, size, size), uint8."""
        if index not in self._decoded:
            self._decoded[index] = with_channels(read_image(self.paths[index], self.size), self.channels)
        return self._decoded[index]

    def tensor(self, indices: Sequence[int] | None = None) -> torch.Tensor:
        """Return those images (default: all) as (N, channels, size, size) float32 in [-1, 1]."""
        indices = range(len(self)) if indices is None else indices
        return to_float(torch.stack([self[index] for index in indices]))

    def read_all(self) -> None:
        """Decode every image now."""
        for index in range(len(self)):
            self[index]

    def subset(self, indices: Sequence[int]) -> ImageSet:
        return ImageSet([self.paths[index] for index in indices], self.size, self.channels)


@dataclass(frozen=True)
class Split:
    """The images of one domain by role; see design: calibration is inside training, validation never is."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet


class UnpairedImages:
    """Two domains of images: folders trainA, trainB, testA, testB, and valA, valB where they exist.

    Without validation folders, min(100, 10 %) of the sorted training files of each domain are set aside for it. Test
    images are never used to choose anything.

    Args:
        root: the folder that holds those folders.
        size: side length in pixels; rounded down to a multiple of 4 (``rounded_from`` then says from what). Default:
            the first training image's shorter side, at most 256.
        channels: of each domain's images, 3 or 1; see ``image_channels``. Default: 3 for both.
        needed: the domains that have to be there; another one is left out where its folders are missing, or its images
            would have other channels than files can hold.

    Raises:
        UserError: a folder is missing or empty.
    """

    def __init__(
        self,
        root: str | Path,
        size: int | None = None,
        *,
        channels: Mapping[str, int] | None = None,
        needed: Sequence[str] = DOMAINS,
    ):
        self.root = Path(root)
        self.channels = {domain: (channels or {}).get(domain, 3) for domain in DOMAINS}
        domains = [domain for domain in DOMAINS if domain in needed or self._complete(domain)]
        if not self.root.is_dir():
            raise UserError("data", str(root), "a folder with trainA, trainB, testA, testB", "Check --data.")
        for domain in domains:
            if self.channels[domain] not in CHANNELS:
                found = f"domain {domain} with {self.channels[domain]} channels"
                raise UserError("images", found, "1 or 3", "Images of files have no others: use another generator.")
        files = {
            role + domain: list_images(self.root / (role + domain)) for role in ("train", "test") for domain in domains
        }
        asked = size if size is not None else self._native_size(files["train" + domains[0]][0])
        self.size = usable_size(asked)
        self.rounded_from = asked if asked != self.size else None
        self.domains = {domain: self._split(domain, files) for domain in domains}

    def _complete(self, domain: str) -> bool:
        """Whether a domain that need not be there is."""
        folders = [self.root / (role + domain) for role in ("train", "test")]
        return self.channels[domain] in CHANNELS and all(folder.is_dir() for folder in folders)

    @staticmethod
    def _native_size(path: Path) -> int:
        return min(*read_image(path).shape[1:], 256)

    def _split(self, domain: str, files: dict[str, list[Path]]) -> Split:
        train = files["train" + domain]
        folder = self.root / ("val" + domain)
        if folder.is_dir():
            validation = list_images(folder)
        else:
            count = min(100, len(train) // 10)
            if count < 1:
                raise UserError(
                    f"train{domain}", f"{len(train)} images", "at least 10, or a val folder",
                    f"Add images, or a folder val{domain}.",
                )  # fmt: skip
            step = len(train) / count
            chosen = {int(index * step) for index in range(count)}  # spread over the sorted names
            validation = [path for index, path in enumerate(train) if index in chosen]
            train = [path for index, path in enumerate(train) if index not in chosen]
        roles = (train, validation, files["test" + domain])
        return Split(*(ImageSet(paths, self.size, self.channels[domain]) for paths in roles))

    def __getitem__(self, domain: str) -> Split:
        return self.domains[domain]

    @property
    def size_note(self) -> str | None:
        """What to tell a user whose image size was rounded; None if it was not."""
        if self.rounded_from is None:
            return None
        asked, used = self.rounded_from, self.size
        return f"image size {asked} is no multiple of {STRIDE}: images are resized to {used}x{used}"

    def read_all(self) -> None:
        """Decode every image now, so that a damaged one is found before long work begins.

        Raises:
            UserError: an image is damaged or truncated; it is named.
        """
        for split in self.domains.values():
            for images in (split.train, split.validation, split.test):
                images.read_all()

    def whole_training(self) -> dict[str, Split]:
        """Return the splits with set-aside validation images put back into training, for a final fine-tune."""
        whole = {}
        for domain, split in self.domains.items():
            own_folder = (self.root / ("val" + domain)).is_dir()
            paths = split.train.paths if own_folder else sorted(split.train.paths + split.validation.paths)
            train = split.train if own_folder else ImageSet(paths, self.size, self.channels[domain])
            whole[domain] = Split(train, split.validation, split.test)
        return whole

    def calibration(self, domain: str, count: int = CALIBRATION_IMAGES) -> torch.Tensor:
        """Return the first ``count`` training images: (N, channels, size, size) in [-1, 1]."""
        train = self[domain].train
        return train.tensor(range(min(count, len(train))))

    def tuning(self, domain: str, seed: int, share: float = 0.1) -> ImageSet:
        """Return the seeded ``share`` of the training images after the calibration ones (the paper's 10 %)."""
        train = self[domain].train
        rest = list(range(min(CALIBRATION_IMAGES, len(train) // 2), len(train)))
        count = max(1, round(share * len(train)))
        return train.subset(sorted(random.Random(f"{seed}:{domain}").sample(rest, min(count, len(rest)))))

    @cached_property
    def paired_test(self) -> list[tuple[int, int]]:
        """Indices (in testA, in testB) of test images whose truth is known; see :meth:`pairs`."""
        return self.pairs("test")

    def pairs(self, role: str) -> list[tuple[int, int]]:
        """Return indices (in A, in B) of images of the same thing: files of the same name in both domains.

        Names are compared without their ending and without ``_A`` or ``_B`` before it.

        Args:
            role: "train", "validation" or "test".
        """
        if len(self.domains) < len(DOMAINS):
            return []
        names = {domain: [pair_name(path, domain) for path in getattr(self[domain], role).paths] for domain in DOMAINS}
        other = {name: index for index, name in enumerate(names["B"])}
        return [(index, other[name]) for index, name in enumerate(names["A"]) if name in other]

    def digest(self) -> str:
        """Return a SHA-256 over all images as they are used, and their names: other data give another one."""
        digest = hashlib.sha256()
        for split in self.domains.values():
            for images in (split.train, split.validation, split.test):
                for index, path in enumerate(images.paths):
                    digest.update(os.fsencode(path.name))
                    digest.update(images[index].numpy().tobytes())
        return digest.hexdigest()

    def counts(self) -> dict[str, int]:
        """Number of images by role and domain, for a run's summary."""
        roles = ("train", "validation", "test")
        return {f"{role}{domain}": len(getattr(self[domain], role)) for role in roles for domain in self.domains}


@dataclass(frozen=True)
class Augmentation:
    """Random resize-crop and flip of training images, as CycleGAN does (286 -> 256 there).

    Attributes:
        load_scale: images are enlarged by this factor, then cropped back at a random place; 1 turns it off.
        flip: whether half of the images are mirrored.
    """

    load_scale: float = 286 / 256
    flip: bool = True

    def __call__(self, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Augment (B, C, S, S); every image draws its own place and mirroring from ``generator``."""
        size = batch.shape[-1]
        loaded = max(size, round(size * self.load_scale))
        out = []
        for image in batch:
            if self.flip and torch.rand((), generator=generator) < 0.5:
                image = image.flip(-1)
            if loaded > size:
                top, left = torch.randint(0, loaded - size + 1, (2,), generator=generator).tolist()
                large = torch.nn.functional.interpolate(
                    image[None], (loaded, loaded), mode="bicubic", antialias=True, align_corners=False
                )[0]
                image = large[:, top : top + size, left : left + size].clamp(-1, 1)
            out.append(image)
        return torch.stack(out)


def epoch_indices(count: int, batch: int, step: int, seed: int | str) -> list[int]:
    """Return the ``batch`` image indices of training step ``step``: shuffled epochs, derived from (seed, step)."""
    indices = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, offset = divmod(position, count)
        indices.append(_epoch_order(count, f"{seed}:{epoch}")[offset])
    return indices


@functools.lru_cache(maxsize=8)
def _epoch_order(count: int, seed: str) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order
