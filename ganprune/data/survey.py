"""What the files of a domain are, and which of their values are black and white where nobody says it.

One range serves a whole domain, and it is found on its training images: a range of each file would give two slices of
one body different scales.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ganprune.data.kinds import file_values, has_further_bands, has_pages, is_deep, is_transparent, kind_of
from ganprune.data.pixels import FORMATS, opened
from ganprune.data.values import Range, range_text
from ganprune.errors import UserError, reason

# Ranges that files are written in. One of them is meant if all values lie inside and some are nearly white.
USUAL: tuple[Range, ...] = ((0, 1), (-1, 1), (0, 255), (0, 1023), (0, 4095), (0, 16383), (0, 65535))
NEARLY = 15 / 16  # of white
FOURTEEN_BITS = 64  # of what 16 bits hold, in the upper 8


@dataclass
class Survey:
    """What the headers of files say; those that can't be read are left to whoever reads them.

    Attributes:
        kinds: how many files are of each kind of :func:`ganprune.data.kinds.kind_of`.
        measured: files that say nothing of what is black and white.
        deep: colour images of 16 bits a channel.
        transparent: how many may be transparent.
        pages: files of several images.
        banded: files with bands that are not read.
    """

    kinds: Counter[str | None] = field(default_factory=Counter)
    measured: list[Path] = field(default_factory=list)
    deep: list[Path] = field(default_factory=list)
    transparent: int = 0
    pages: int = 0
    banded: int = 0

    @property
    def kind(self) -> str | None:
        """The one kind of files whose values may mean anything; None where all say it themselves."""
        return next((kind for kind in self.kinds if kind is not None), None)

    @property
    def mixed(self) -> str | None:
        """The kinds in words, where there are several and one at least says nothing of its values."""
        if self.kind is None or len(self.kinds) < 2:
            return None
        return " and ".join(f"{count} of {kind or '8 bits'}" for kind, count in self.kinds.items())

    @property
    def notes(self) -> list[str]:
        """What a user has to be told of files that are read in part."""
        counts = {
            "files of several pages or frames, of which the first is read": self.pages,
            "files with bands beside their colours, which are not read": self.banded,
        }
        return [f"{text}: {count}" for text, count in counts.items() if count]


def survey(paths: Iterable[Path]) -> Survey:
    """Read the headers of image files."""
    found = Survey()
    for path in paths:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(path, formats=FORMATS) as image:
                    found.kinds[kind := kind_of(image)] += 1
                    if kind is not None:
                        found.measured.append(path)
                    found.transparent += is_transparent(image)
                    found.pages += has_pages(image)
                    found.banded += has_further_bands(image)
                    if is_deep(image):
                        found.deep.append(path)
        except Exception:  # decoders of damaged files fail in every way there is
            continue
    return found


@dataclass(frozen=True)
class Found:
    """The range that a domain's values were taken to have.

    Attributes:
        values: black and white; None where the files say it themselves.
        text: of it, for whoever might know better.
    """

    values: Range | None = None
    text: str = ""


def find_range(domain: str, surveyed: Survey, train: Sequence[Path]) -> Found:
    """Find what is black and white in a domain: a usual range that its training images fill, or from least to most.

    Args:
        domain: "A" or "B", for the messages.
        surveyed: of all its files.
        train: all its training images.

    Raises:
        UserError: the files are of several kinds, or hold one value only, or 16 bits of colour in which Pillow keeps
            next to nothing.
    """
    if surveyed.mixed:
        expected = "images of one kind, or --values"
        remedy = "Convert them to one kind; or give --values LOW,HIGH: what is black and white in those above 8 bits."
        raise UserError(f"images of domain {domain}", surveyed.mixed, expected, remedy)
    deep = set(surveyed.deep)
    _check_deep(domain, [path for path in train if path in deep])
    if surveyed.kind is None:
        return Found()
    low, high = extremes(train)
    if low == high:
        found, expected = f"nothing but the value {low:g}", "images of more than one value"
        raise UserError(f"images of domain {domain}", found, expected, "Check them, or give --values LOW,HIGH.")
    values = usual(low, high) or (low, high)
    return Found(values, f"{range_text(values)}, since training images hold {range_text((low, high))}")


def usual(low: float, high: float) -> Range | None:
    """Return the usual range that values from ``low`` to ``high`` fill, if they do one."""
    for black, white in USUAL:
        if black <= low and white * NEARLY <= high <= white:
            return black, white
    return None


def extremes(paths: Sequence[Path]) -> Range:
    """Return the least and the greatest value of files of one channel.

    Raises:
        UserError: one can't be read, or holds what are no numbers; it is named.
    """
    low, high = np.inf, -np.inf
    for path in paths:
        values = _read(path)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high


def _read(path: Path) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with opened(path) as image:
                return file_values(image) if len(image.getbands()) == 1 else np.asarray(image.convert("RGB"))
    except Exception as error:
        raise UserError(
            "image", f"{path} ({reason(error)})", "a readable image file", "Replace or remove the file."
        ) from error


def _check_deep(domain: str, paths: Sequence[Path]) -> None:
    """Check that colours of 16 bits fill their range: of 14 bits or less Pillow, which keeps the upper 8, keeps few."""
    if paths and (highest := extremes(paths)[1]) < FOURTEEN_BITS:
        found = f"16 bits a channel that reach up to {(highest + 1) * 256:.0f} only, as in {paths[0]}"
        remedy = "Convert them to 8 bits, their white to 255; or if they are as dark as that, give --values 0,65535."
        raise UserError(f"images of domain {domain}", found, "colours from 0 to 65535", remedy)
