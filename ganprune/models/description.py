"""What the descriptions of all architectures share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from ganprune.errors import UserError
from ganprune.settings.fields import Settings

NORMS = ("instance", "batch", "none")
RUNNING, BATCH = STATISTICS = ("running", "batch")
MOST = 4096  # filters, blocks or channels: no network is meant that has more
Some = TypeVar("Some", bound="Architecture")


@dataclass(frozen=True)
class Architecture(Settings):
    """The description of a network; it may come from a file, so every field is checked.

    Attributes:
        kind: the name in files and on the command line.
    """

    kind: ClassVar[str]
    whose: ClassVar[str] = "generator"

    def __post_init__(self) -> None:
        super().__post_init__()
        norm, statistics = self.norm, self.statistics  # type: ignore[attr-defined]
        if statistics != RUNNING and norm != "batch":
            found = f"{statistics} with norm={norm}"
            raise UserError(f"{self.whose} statistics", found, "running, but for norm=batch", "Leave it out.")

    @property
    def biased(self) -> bool:
        """Whether convolutions before a norm have a bias; in the public ones, before an instance norm only."""
        return self.norm == "instance" if self.bias is None else self.bias  # type: ignore[attr-defined]

    def said(self: Some, **given: Any) -> Some:
        """Return this architecture with what a user says of it; the rest, biases too, stays as the tensors have it."""
        biased = given.get("bias", self.biased)
        changed = replace(self, **{**given, "bias": None})
        return changed if changed.biased == biased else replace(changed, bias=biased)  # type: ignore[call-arg]

    def to_json(self) -> dict[str, Any]:
        """Return the architecture as a saved JSON file holds it."""
        return {"kind": self.kind, **super().to_json()}
