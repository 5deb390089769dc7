"""What a user or a file says of images' values: which of them are black and white, and what lies behind transparency.

Files of 8 bits need no word: 0 is black and 255 is white. All others hold whatever was measured, so that black and
white are the same two values for all images of a domain, never those of one file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ganprune.errors import UserError

Range = tuple[float, float]  # black, white
EACH = "each"  # each file by a range of its own, as runs were made before they recorded any
WHITE = "white"
NAMED = (WHITE, "black")


@dataclass(frozen=True)
class Values:
    """The file values that are black and white in each domain, of images of more than 8 bits.

    Attributes:
        A, B: of that domain; None where nothing says.

    Raises:
        UserError: a range is empty or endless.
    """

    A: Range | None = None
    B: Range | None = None

    def __post_init__(self) -> None:
        for values in filter(None, (self.A, self.B)):
            if not (all(map(math.isfinite, values)) and values[0] < values[1]):
                _refuse("{:g},{:g}".format(*values))

    def __getitem__(self, domain: str) -> Range | None:
        return {"A": self.A, "B": self.B}[domain]

    def to_json(self) -> dict[str, list[float]]:
        """Return what :meth:`from_json` reads: the domains that have a range."""
        return {domain: list(values) for domain in ("A", "B") if (values := self[domain]) is not None}

    @classmethod
    def from_json(cls, data: Any) -> Values:
        """Return the ranges that a file's ``values`` say.

        Raises:
            UserError: they are none.
        """
        if not isinstance(data, Mapping) or not set(data) <= {"A", "B"}:
            raise UserError("values", str(data), "ranges of domains A and B", "Restore the file.")
        return cls(**{domain: _range(values) for domain, values in data.items()})

    @classmethod
    def from_text(cls, text: str) -> Values:
        """Return the ranges of ``LOW,HIGH`` for both domains, or of A's and B's joined by a slash.

        Raises:
            UserError: it is nothing of the kind.
        """
        parts = text.split("/")
        if len(parts) > 2:
            _refuse(text)
        ranges = [_range(part.split(","), text) for part in parts]
        return cls(ranges[0], ranges[-1])


def _range(values: Any, shown: str | None = None) -> Range:
    numbers = []
    if isinstance(values, Sequence) and len(values) == 2 and not isinstance(values, str):
        for value in values:
            if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                try:
                    numbers.append(float(value))
                except (ValueError, OverflowError):
                    break
    if len(numbers) != 2:
        _refuse(shown or str(values))
    return numbers[0], numbers[1]


def _refuse(shown: str) -> NoReturn:
    expected = "LOW,HIGH, the file values that are black and white, such as 0,4095; A's/B's where they differ"
    raise UserError("values", shown, expected, "Correct --values.")


def range_text(values: Range) -> str:
    """Return it in words: "0 to 4095"."""
    return "{:.6g} to {:.6g}".format(*values)


def read_background(text: Any) -> str:
    """Return the colour behind transparent images, in small letters.

    Raises:
        UserError: it is neither white, black nor #RRGGBB.
    """
    colour = str(text).strip().lower()
    if colour not in NAMED and not re.fullmatch("#[0-9a-f]{6}", colour):
        raise UserError("background", str(text), "white, black or #RRGGBB", "Correct --background.")
    return colour
