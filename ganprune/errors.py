"""One exception for everything that a user can put right.

Each message names the field, the value received, what was expected, and the remedy. The command line prints it
without a traceback and exits with status 2.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

MOST = 600  # characters of each part of a message: all of it is one screen
TERMINAL = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-_])")  # ECMA-48 sequences


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
        got, wanted, help_ = (_shortened(printable(text)) for text in (shown, expected, remedy))
        super().__init__(f"{printable(field)}: got {got}; expected {wanted}. {help_}")

    def __reduce__(self):
        return type(self), (self.field, self.value, self.expected, self.remedy)


def printable(text: str) -> str:
    """Return the text on one line, with what a terminal would obey or can't show (control characters, bytes of file
    names that are no text) as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def _shortened(text: str) -> str:
    """Return a text without its middle where it is too long."""
    return text if len(text) <= MOST else f"{text[: MOST // 2]} [...] {text[-MOST // 2 :]}"


def reason(error: BaseException | str, most: int = 160) -> str:
    """Return the first line of what another library's error says, or its kind where it says nothing.

    Args:
        error: the error, or its text.
        most: characters; a longer line ends after a whole word.
    """
    lines = TERMINAL.sub("", str(error)).strip().splitlines()
    line = lines[0].strip() if lines else type(error).__name__
    return line if len(line) <= most else f"{line[:most].rpartition(' ')[0] or line[:most]} ..."


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return ``"Did you mean 'x'?"`` for the closest choice, else a list of all choices."""
    choices = list(choices)
    lowered = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {lowered[close[0]]!r}?"
    return "Choose one of: " + ", ".join(choices) + "."
