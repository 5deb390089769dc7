"""Which point of a Pareto front ``ganprune pick`` is to take."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ganprune.errors import UserError
from ganprune.settings.fields import Settings, setting


@dataclass(frozen=True, kw_only=True)
class Criterion(Settings):
    """Which point of each side's front is wanted: exactly one of these.

    Attributes:
        max_macs, max_params, target_ratio, min_quality: as their help says; "quality" in the files is a loss, here it
            is 1 / loss.
        knee: the point with the most to lose either way.
        index: the number of the point on A2B's and on B2A's front, from 0; 0 for a side without one.

    Raises:
        UserError: none or several are given, or a value can't be.
    """

    max_macs: float | None = setting(None, "Best quality within this many MACs per image (input size).", above=0)
    max_params: float | None = setting(None, "Best quality within this many parameters.", above=0)
    target_ratio: float | None = setting(None, "Best quality with this many times fewer parameters, or more.", above=0)
    min_quality: float | None = setting(
        None, "Smallest point that keeps this share of its front's best quality: 1 is the point of lowest loss, 0.8 "
        "allows 1 / 0.8 = 1.25 times that loss.", above=0, high=1,
    )  # fmt: skip
    knee: bool = False
    index: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ["--" + field.name.replace("_", "-") for field in fields(self)]
        given = ["--" + name.replace("_", "-") for name in self.to_json()]
        if len(given) != 1:
            expected = f"exactly one of {', '.join(names)}"
            raise UserError("criterion", " and ".join(given) or "none", expected, "Say which point is wanted.")

    def to_json(self) -> dict[str, Any]:
        """Return what is given."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None and value is not False}
