"""Image sizes: pairs of height and width, read from what users write, and the sizes that networks can be given.

A square size is written as one number, in files too: ``256`` is ``256x256``. Any other is ``HEIGHTxWIDTH``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganprune.errors import UserError

Size = tuple[int, int]  # height, width

STRIDE = 4  # CycleGAN's generators halve the size twice and double it again
LEAST, MOST = 16, 16384
OWN = "own"  # a load size: images stay as large as they are


def read_size(value: int | str | Sequence[int], field: str = "size") -> Size:
    """Return (height, width) of a number, of "HEIGHTxWIDTH" or of a pair.

    Args:
        value: what a user or a file gives.
        field: what the message calls it.

    Raises:
        UserError: it is none of these, or a side is below 16 or above 16384 pixels.
    """
    sides = _sides(value)
    option = f"--{field.replace(' ', '-')}"
    if sides is None:
        expected = "a side length such as 256, or HEIGHTxWIDTH such as 192x256"
        raise UserError(field, repr(value), expected, f"Correct {option}.")
    if min(sides) < LEAST:
        raise UserError(field, value, f"at least {LEAST} pixels a side", f"Choose a larger {option}.")
    if max(sides) > MOST:
        raise UserError(field, value, f"at most {MOST} pixels a side", f"Choose a smaller {option}.")
    return sides


def _sides(value: Any) -> Size | None:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)(?:\s*[xX]\s*(\d+))?\s*", value, re.ASCII)
        return (int(match[1]), int(match[2] or match[1])) if match else None
    pair = [value, value] if isinstance(value, int) else value
    whole = isinstance(pair, Sequence) and all(isinstance(side, int) and not isinstance(side, bool) for side in pair)
    return (pair[0], pair[1]) if whole and len(pair) == 2 else None


def size_text(size: Size) -> str:
    """Return it as users write it: "64x48", height first."""
    return "{}x{}".format(*size)


def size_json(size: Size) -> int | list[int]:
    """Return it as files hold it: one number where it is square."""
    return size[0] if size[0] == size[1] else list(size)


def round_up(size: Size, multiple: int = STRIDE) -> Size:
    """Return the smallest size of such multiples that holds ``size``."""
    height, width = (-(-side // multiple) * multiple for side in size)
    return height, width


@dataclass(frozen=True)
class Framing:
    """How images of any size come to one size.

    Attributes:
        size: (height, width) of what is translated, scored and shown; None for the first training image's shorter side,
            both ways, at most 256.
        load: None: images are resized to ``size``. A size: they are resized to that, and ``size`` is cut out of them,
            at a random place in training, else in the middle. "own": it is cut out of them as they are.

    Raises:
        UserError: there is nothing to cut, or it is larger than what it is cut out of.
    """

    size: Size | None = None
    load: Size | str | None = None

    def __post_init__(self) -> None:
        if self.load is None:
            return
        if self.size is None:
            shown = self.load if isinstance(self.load, str) else size_text(self.load)
            raise UserError("load size", shown, "a --crop to go with it", "Add --crop, or use --size instead.")
        if isinstance(self.load, str):
            if self.load != OWN:
                raise UserError("load size", self.load, f"a size, or {OWN!r}", "Correct it.")
        elif any(load < side for load, side in zip(self.load, self.size, strict=True)):
            found, most = size_text(self.size), size_text(self.load)
            raise UserError("crop", found, f"at most the load size, {most}", "Lower --crop, or raise --load-size.")

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads; ``load_size`` only where images are cut."""
        assert self.size is not None
        if self.load is None:
            return {"size": size_json(self.size)}
        load = self.load if isinstance(self.load, str) else size_json(self.load)
        return {"size": size_json(self.size), "load_size": load}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Framing:
        """Return the framing that a file's ``size`` and ``load_size`` say.

        Raises:
            UserError: they are no sizes.
        """
        load = data.get("load_size")
        return cls(read_size(data["size"]), load if load in (None, OWN) else read_size(load, "load size"))

    @classmethod
    def from_options(cls, size: Size | None, load_size: Size | None, crop: Size | None) -> Framing:
        """Return the framing that the options --size, --load-size and --crop ask for.

        Raises:
            UserError: --size is given with one of the others, or --load-size without --crop.
        """
        for option, value in (("load-size", load_size), ("crop", crop)):
            if size is not None and value is not None:
                remedy = f"--size resizes; to cut out of larger images say --load-size and --crop {size_text(size)}."
                raise UserError(f"--{option}", f"{size_text(value)} with --size", "one of the two", remedy)
        return cls(crop, load_size or OWN) if crop else cls(size, load_size)
