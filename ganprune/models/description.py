"""What the descriptions of all architectures share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ganprune.settings.fields import Settings

NORMS = ("instance", "batch")
MOST = 4096  # filters, blocks or channels: no network is meant that has more


@dataclass(frozen=True)
class Architecture(Settings):
    """The description of a network; it may come from a file, so every field is checked.

    Attributes:
        kind: the name in files and on the command line.
    """

    kind: ClassVar[str]
    whose: ClassVar[str] = "generator"

    @property
    def biased(self) -> bool:
        """Whether convolutions before a norm have a bias; in the public implementations, before an instance norm."""
        return self.norm == "instance" if self.bias is None else self.bias  # type: ignore[attr-defined]

    def to_json(self) -> dict[str, Any]:
        """Return the architecture as a saved JSON file holds it."""
        return {"kind": self.kind, **super().to_json()}
