"""Image files and tensors: decoding, resizing, value ranges, and sizes that networks can take.

Images are kept at levels from 0 (black) to 255 (white): bytes, or float32 with fractions where a file holds more.

Pillow decodes and resizes, since torchvision's ``resize`` of a Pillow image calls the same function, and importing it
takes a second that each process would pay. Where torchvision's results differ, the functions here are our own: its
greyscale truncates (up to 1 of 255 off), its conversion to bytes does not round (the same), its normalisation to
[-1, 1] is up to 1.2e-7 off, ``center_crop`` rounds the other way where 3, 7, ... lines are cut, ``decode_image`` drops
transparency in place of putting white behind it, and its reflection can't go beyond one image's width.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, PngImagePlugin

from ganprune.data.kinds import FULL, LEVELS, has_further_bands, is_transparent, kind_of, levels, levels_by_itself
from ganprune.data.sizes import Size, read_size
from ganprune.data.values import EACH, WHITE, Range
from ganprune.errors import UserError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 80_000_000
CHANNELS = (1, 3)  # of the images that files hold
# How an image is turned upright, by what its EXIF data say of it.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
# Texts and colour profiles in PNGs are not used; Pillow refuses images with more than 1 MB of one. It is a bound still.
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, 64 * 2**20)


def read_image(
    path: Path, size: int | Size | None = None, *, values: Range | str | None = None, background: str = WHITE
) -> torch.Tensor:
    """Decode one file to RGB: (3, H, W), levels from 0 to 255, turned upright as its EXIF data say.

    Greyscale and palette images are converted, and transparent ones are put on the background. Of a file of several
    images it is the first. They are uint8, but float32 where the file holds more than 8 bits of grey.

    Args:
        path: an image file.
        size: resize to (height, width) (bicubic, antialiased) unless it has that size already.
        values: what is black and white in files of more than 8 bits; "each" for each by its own range; None to refuse
            them, unless they say it themselves.
        background: "white", "black" or "#rrggbb".

    Raises:
        UserError: the file is damaged, truncated, huge or no image, or nothing says what its values mean; it is named.
    """
    image = open_image(path, values=values, background=background)
    return to_pixels(image if size is None else resize(image, read_size(size)))


def open_image(path: Path, *, values: Range | str | None = None, background: str = WHITE) -> Image.Image:
    """Decode one file as :func:`read_image` does, at its own size, to a PIL image; raises the same.

    It is in RGB, or of levels from 0 to 255 in mode "F" where the file holds more than 8 bits of grey.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that are read none the less
            with opened(path) as image:
                kind = kind_of(image)
                if kind is None or values is not None:
                    known = values if kind or values == EACH else FULL  # Pillow gives a PGM's own white as 65535
                    upright = _upright(image)
                    if has_further_bands(image):
                        upright = upright.convert(upright.mode.removesuffix("A"))
                    return _flatten(upright, known, background)
    except Exception as error:  # decoders of damaged files fail in every way there is
        reason = str(error) or type(error).__name__
        raise UserError(
            "image", f"{path} ({reason})", "a readable image file", "Replace or remove the file."
        ) from error
    raise unknown_values([path], kind)


def unknown_values(paths: Sequence[Path], kind: str) -> UserError:
    """Return the message for files of which nothing says what is black and white."""
    others = f" and {len(paths) - 1} more" * (len(paths) > 1)
    remedy = "Give --values LOW,HIGH, the values that are black and white in all of them, such as 0,4095 or -1,1."
    return UserError("image", f"{paths[0]}{others} ({kind})", "images whose black and white are known", remedy)


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
    """Return a PIL image in RGB as (3, H, W), uint8; one of levels in mode "F" as (3, H, W), float32."""
    if image.mode == "F":
        grey = torch.from_numpy(np.array(image)).clamp_(0, LEVELS)  # resizing goes beyond
        return grey.expand(3, -1, -1).contiguous()
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def with_channels(image: torch.Tensor, channels: int) -> torch.Tensor:
    """Return an RGB image, (3, H, W), with 3 channels or with 1, its luma (ITU-R BT.601)."""
    if channels == 3:
        return image
    if image.is_floating_point():
        return image[:1].clone()  # those are grey
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


def _upright(image: Image.Image) -> Image.Image:
    """Return an image turned as its EXIF data say, as far as they can be read."""
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken ones, in every way there is, of an image that is sound
        turn = None
    return image.copy() if turn is None else image.transpose(turn)


def _flatten(image: Image.Image, values: Range | str | None, background: str) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return levels(image, values) if isinstance(values, tuple) else levels_by_itself(image).convert("RGB")
    if is_transparent(image):
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")
    return image.convert("RGB")


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Map levels [0, 255], uint8 or float32, to float32 [-1, 1]."""
    return images.to(torch.float32, copy=True).div_(127.5).sub_(1.0)


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
