"""Image files and tensors: decoding, resizing, value ranges, and sizes that networks can take.

Pillow decodes and resizes, since torchvision's ``resize`` of a Pillow image calls the same function, and importing it
takes a second that each process would pay. Where torchvision's results differ, the functions here are our own: its
greyscale truncates (up to 1 of 255 off), its conversion to bytes does not round (the same), its normalisation to
[-1, 1] is up to 1.2e-7 off, ``center_crop`` rounds the other way where 3, 7, ... lines are cut, ``decode_image`` drops
transparency in place of putting white behind it, and its reflection can't go beyond one image's width.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from ganprune.data.sizes import Size, read_size
from ganprune.errors import UserError

EXTENSIONS = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 80_000_000
CHANNELS = (1, 3)  # of the images that files hold


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


def read_image(path: Path, size: int | Size | None = None) -> torch.Tensor:
    """Decode one file to RGB: (3, H, W), uint8, turned upright as its EXIF data say.

    Greyscale, palette and transparent images are converted (on white).

    Args:
        path: an image file.
        size: resize to (height, width) (bicubic, antialiased) unless it has that size already.

    Raises:
        UserError: the file is damaged, truncated, huge or no image; it is named.
    """
    image = open_image(path)
    return to_pixels(image if size is None else resize(image, read_size(size)))


def open_image(path: Path) -> Image.Image:
    """Decode one file as :func:`read_image` does, at its own size, to a PIL image in RGB; raises the same."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that are read none the less
            with opened(path) as image:
                return _flatten(ImageOps.exif_transpose(image))
    except Exception as error:  # decoders of damaged files fail in every way there is
        reason = str(error) or type(error).__name__
        raise UserError(
            "image", f"{path} ({reason})", "a readable image file", "Replace or remove the file."
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Decode an image file as it is: one of :data:`FORMATS`, of at most :data:`MAX_PIXELS`.

    Raises:
        Exception: of any kind, as decoders of damaged files do; the caller words it.
    """
    # Only these formats: the library would have others, such as PostScript, read by other programs.
    with Image.open(path, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:  # before a small file fills the memory
            raise ValueError(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS} in all")
        image.load()
        yield image


def to_pixels(image: Image.Image) -> torch.Tensor:
    """Return a PIL image in RGB as (3, H, W), uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


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


def to_pil(image: torch.Tensor) -> Image.Image:
    """Convert one (C, H, W) image in [-1, 1] to a PIL image in RGB, as :func:`to_rgb_bytes` does."""
    return Image.fromarray(to_rgb_bytes(image).cpu().permute(1, 2, 0).contiguous().numpy())


def to_rgb_bytes(images: torch.Tensor) -> torch.Tensor:
    """Map (..., C, H, W) in [-1, 1] to (..., 3, H, W) uint8; other than 1 or 3 channels as their mean."""
    images = images if images.shape[-3] in CHANNELS else images.mean(-3, keepdim=True)
    return to_uint8(images).expand(*images.shape[:-3], 3, *images.shape[-2:])


def resize(image: Image.Image, size: Size) -> Image.Image:
    """Return an image of that (height, width), bicubic and antialiased; the same one if it has it already."""
    return image if image.size == size[::-1] else image.resize(size[::-1], Image.Resampling.BICUBIC)


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


def mirror_up(images: torch.Tensor, size: Size) -> torch.Tensor:
    """Extend (..., H, W) to a larger (height, width) by mirroring it at the right and at the bottom."""
    for dim, side in ((-2, size[0]), (-1, size[1])):
        own = images.shape[dim]
        if own < side:
            period = max(1, 2 * (own - 1))
            places = torch.arange(side, device=images.device) % period
            images = images.index_select(dim, torch.minimum(places, period - places))
    return images


def cut(images: torch.Tensor, size: Size) -> torch.Tensor:
    """Return the upper left (height, width) of (..., H, W): what :func:`mirror_up` extended."""
    return images[..., : size[0], : size[1]]
