"""One exception for everything that a user can put right.

Each message names the field, the value received, what was expected, and the remedy. The command line prints it
without a traceback and exits with status 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Input that cannot be used, said in one message.

    Args:
        field: what was wrong, in the user's terms (an option, a file, a tensor).
        value: what was received; shown with ``repr`` unless it is a string.
        expected: what would have been accepted.
        remedy: what to do about it.
    """

    def __init__(self, field: str, value: object, expected: str, remedy: str):
        self.field, self.value, self.expected, self.remedy = field, value, expected, remedy
        shown = value if isinstance(value, str) else repr(value)
        super().__init__(printable(f"{field}: got {shown!s}; expected {expected}. {remedy}"))

    def __reduce__(self):
        return type(self), (self.field, self.value, self.expected, self.remedy)


def printable(text: str) -> str:
    """Return the text on one line, with what a terminal would obey or can't show (control characters, bytes of file
    names that are no text) as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def reason(error: BaseException, most: int = 160) -> str:
    """Return the first line of what another library's error says, or its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:most]


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return ``"Did you mean 'x'?"`` for the closest choice, else a list of all choices."""
    choices = list(choices)
    lowered = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {lowered[close[0]]!r}?"
    return "Choose one of: " + ", ".join(choices) + "."
