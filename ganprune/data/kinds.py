"""Kinds of image files by what their values mean, and files of more than 8 bits brought to one scale.

Most files say themselves what is black and white: those of 8 bits and fewer, colour images of 16 bits a channel (0 and
65535; Pillow keeps the upper 8 bits of them), and PGM with its own white. The others hold whatever was measured.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFile

from ganprune.data.values import Range

SIXTEEN, INTEGER, FLOAT = "16 bits", "32-bit integers", "floating point"
LEVELS = 255.0  # white, on the scale that all images are brought to
FULL: Range = (0.0, 65535.0)
SAMPLES, EXTRA_SAMPLES = 277, 338  # TIFF's tags: how many bands there are, and what those beside the colours mean
ALPHA = {1, 2}  # meanings that are transparency
WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")


def kind_of(image: Image.Image) -> str | None:
    """Return the kind of a file whose values may mean anything; None where the file says what black and white are.

    Only the header has to be read.
    """
    if image.mode.startswith("I;16"):
        return SIXTEEN
    if image.mode == "I" and image.format != "PPM":
        return SIXTEEN if image.format == "PNG" else INTEGER
    return FLOAT if image.mode == "F" else None


def is_deep(image: Image.Image) -> bool:
    """Return whether it is a colour image of 16 bits a channel; only before it is loaded."""
    parts = image.tile if isinstance(image, ImageFile.ImageFile) else []
    return len(image.getbands()) > 1 and any(";16" in str(part[3]) for part in parts)


def is_transparent(image: Image.Image) -> bool:
    """Return whether an image may be transparent somewhere."""
    alpha = image.mode in WITH_ALPHA and not has_further_bands(image)
    return alpha or "transparency" in image.info


def has_further_bands(image: Image.Image) -> bool:
    """Return whether a TIFF has bands beside its colours that it does not call transparency, such as near infrared.

    Pillow leaves them out where the file says that they are something else, and calls them transparency where it says
    nothing.
    """
    tags = getattr(image, "tag_v2", {})
    said = tags.get(EXTRA_SAMPLES, ())
    meanings = set(said if isinstance(said, tuple) else [said])
    colours = len(image.getbands()) - (image.mode in WITH_ALPHA)
    return tags.get(SAMPLES, 1) > colours and not meanings & ALPHA


def has_pages(image: Image.Image) -> bool:
    """Return whether a file holds more than one image; previews in photographs (MPO) don't count."""
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def file_values(image: Image.Image) -> np.ndarray:
    """Return the values of a file of one channel: (H, W), float64.

    Raises:
        ValueError: some are no numbers.
    """
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("values that are no numbers: NaN, or endless")
    return values


def levels(image: Image.Image, values: Range) -> Image.Image:
    """Bring an image of one channel to 0 (black and below) to 255 (white and above), without rounding: mode "F"."""
    low, high = values
    scaled = (file_values(image) - low) * (LEVELS / (high - low))
    return Image.fromarray(np.clip(scaled, 0.0, LEVELS).astype(np.float32))


def levels_by_itself(image: Image.Image) -> Image.Image:
    """Bring an image of one channel to bytes by its own range, as runs were made before they recorded one."""
    values = np.asarray(image, dtype=np.float64)
    sixteen = image.mode.startswith("I;16") or image.format == "PNG" or values.max() > LEVELS
    values = values / 257 if sixteen else values
    return Image.fromarray(np.clip(values.round(), 0, 255).astype(np.uint8))


def as_bytes(image: Image.Image) -> Image.Image:
    """Return what :func:`levels` gave as a picture to look at, in RGB; another image as it is."""
    if image.mode != "F":
        return image
    values = np.clip(np.asarray(image).round(), 0, LEVELS)
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")
