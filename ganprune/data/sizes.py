"""Image sizes: pairs of height and width, read from what users write, and the sizes that networks can be given.

And :class:`Framing`: all that a user or a run says of how files become images.

A square size is written as one number, in files too: ``256`` is ``256x256``. Any other is ``HEIGHTxWIDTH``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ganprune.data.values import EACH, Range, Values, read_background
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
    """How the files of a data set become images: of one size, on one scale. None always stands for "not said".

    Attributes:
        size: (height, width) of what is translated, scored and shown; None for the first training image's shorter side,
            both ways, at most 256.
        load: None: images are resized to ``size``. A size: they are resized to that, and ``size`` is cut out of them,
            at a random place in training, else in the middle. "own": it is cut out of them as they are.
        values: what is black and white in files of more than 8 bits; None to find it out; "each" for each file by
            itself, as runs were made before they recorded it.
        background: what transparent images are put on: "white", "black" or "#rrggbb"; None for white.
        pairs: False where files of equal names are no pairs.

    Raises:
        UserError: there is nothing to cut, or it is larger than what it is cut out of.
    """

    size: Size | None = None
    load: Size | str | None = None
    values: Values | str | None = None
    background: str | None = None
    pairs: bool | None = None

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

    def range_of(self, domain: str) -> Range | str | None:
        """Return what is black and white in files of more than 8 bits of a domain, or "each"; None if nothing says."""
        return self.values[domain] if isinstance(self.values, Values) else self.values

    def over(self, saved: Framing | None) -> Framing:
        """Return this framing with what it does not say taken from another."""
        if saved is None:
            return self
        sized = self if self.size is not None else saved
        return Framing(
            sized.size, sized.load, *(
                getattr(saved, name) if getattr(self, name) is None else getattr(self, name)
                for name in ("values", "background", "pairs")
            ),
        )  # fmt: skip

    def without_size(self) -> Framing:
        """Return what it says of values, background and pairs only."""
        return replace(self, size=None, load=None)

    def to_json(self) -> dict[str, Any]:
        """Return what is said, as :meth:`from_json` reads it; ``load_size`` only where images are cut."""
        data: dict[str, Any] = {}
        if self.size is not None:
            data["size"] = size_json(self.size)
        if self.load is not None:
            data["load_size"] = self.load if isinstance(self.load, str) else size_json(self.load)
        if isinstance(self.values, Values):
            data["values"] = self.values.to_json()
        if self.background is not None:
            data["background"] = self.background
        if self.pairs is not None:
            data["pairs"] = self.pairs
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Framing:
        """Return the framing that a file's ``size``, ``load_size``, ``values``, ``background`` and ``pairs`` say.

        Raises:
            UserError: they can't be.
        """
        load, background, pairs = (data.get(name) for name in ("load_size", "background", "pairs"))
        if pairs not in (None, True, False):
            raise UserError("pairs", str(pairs), "true or false", "Restore the file.")
        return cls(
            read_size(data["size"]),
            load if load in (None, OWN) else read_size(load, "load size"),
            Values.from_json(data["values"]) if "values" in data else EACH,
            None if background is None else read_background(background),
            pairs,
        )

    @classmethod
    def of(cls, size: int | Size | Framing | None) -> Framing:
        """Return a framing of what a caller gives as a size."""
        return size if isinstance(size, Framing) else cls(None if size is None else read_size(size))

    @classmethod
    def from_options(
        cls,
        size: Size | None,
        load_size: Size | None,
        crop: Size | None,
        values: Values | None = None,
        background: str | None = None,
        pairs: bool | None = None,
    ) -> Framing:
        """Return the framing that the options --size, --load-size, --crop and those of values ask for.

        Raises:
            UserError: --size is given with one of the others, or --load-size without --crop.
        """
        for option, value in (("load-size", load_size), ("crop", crop)):
            if size is not None and value is not None:
                remedy = f"--size resizes; to cut out of larger images say --load-size and --crop {size_text(size)}."
                raise UserError(f"--{option}", f"{size_text(value)} with --size", "one of the two", remedy)
        load = load_size or OWN if crop else load_size
        return cls(crop or size, load, values, background, pairs)
