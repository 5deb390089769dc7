"""What the descriptions of all architectures share: fields that are checked one by one, and their JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from ganprune.errors import UserError, did_you_mean

NORMS = ("instance", "batch")
MOST = 4096  # filters, blocks or channels: no network is meant that has more


@dataclass(frozen=True)
class Architecture:
    """The description of a network; it may come from a file, so every field is checked.

    The default of a field says what it is: a number from 1 to :data:`MOST`, true or false, a name out of ``choices``,
    or None for "true, false or the usual".

    Attributes:
        kind: the name in files and on the command line.
        part: "generator" or "discriminator".
        choices: field -> the names that it may be.
        least: field -> the lowest number, where that is not 1.

    Raises:
        UserError: a field is none of these.
    """

    kind: ClassVar[str]
    part: ClassVar[str] = "generator"
    choices: ClassVar[Mapping[str, Sequence[str]]] = {"norm": NORMS}
    least: ClassVar[Mapping[str, int]] = {}

    def __post_init__(self) -> None:
        for field in fields(self):
            value, shown, remedy = getattr(self, field.name), f"{self.part} {field.name}", "Correct the architecture."
            if field.name in self.choices:
                names = self.choices[field.name]
                if value not in names:
                    shown = shown.replace("_", " ")
                    raise UserError(shown, value, " or ".join(names), did_you_mean(str(value), names))
            elif field.default is None or isinstance(field.default, bool):
                if not isinstance(value, bool) and (value is not None or field.default is not None):
                    raise UserError(shown, value, "true or false", remedy)
            else:
                low = self.least.get(field.name, 1)
                if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= MOST:
                    raise UserError(shown, value, f"a whole number from {low} to {MOST}", remedy)

    @property
    def biased(self) -> bool:
        """Whether convolutions before a norm have a bias; in the public implementations, before an instance norm."""
        return self.norm == "instance" if self.bias is None else self.bias  # type: ignore[attr-defined]

    def to_json(self) -> dict[str, Any]:
        """Return the architecture as a saved JSON file holds it."""
        return {"kind": self.kind, **asdict(self)}
