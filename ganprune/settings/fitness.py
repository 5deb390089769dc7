"""The terms of the fitness and their weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ganprune.errors import UserError, did_you_mean

LOSSES = ("disa", "gena")


COSTS = {"params": "n", "macs": "macs", "latency": "latency"}  # and the term of each


OUTPUTS = ("map", "mean")


CYCLE_NORMS = ("l2", "l1")


@dataclass(frozen=True)
class FitnessSettings:
    """The terms of the fitness and their weights.

    Attributes:
        gamma: weight of the quality terms against the size term.
        lam: weight of the cycle term inside gamma(...).
        loss: "disa" (Eq. 5), or "gena" (Eq. 4), the paper's ablation.
        cost: size term: "params" is N(p) of Eq. 10; "macs" the share of multiply-accumulates; "latency" that of the
            predicted milliseconds.
        identity: weight of the identity term inside gamma(...), times ``lam``; the paper applies 0.5.
        discriminator_output: "map" compares the patch map, "mean" its average (the authors' code).
        cycle_norm: "l2" (Eq. 6) or "l1".
    """

    gamma: float = 10.0
    lam: float = 10.0
    loss: str = "disa"
    cost: str = "params"
    identity: float = 0.0
    discriminator_output: str = "map"
    cycle_norm: str = "l2"

    def __post_init__(self) -> None:
        for field in ("gamma", "lam", "identity"):
            value = getattr(self, field)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
                raise UserError(field, value, "a number of 0 or more", f"Correct --{field}.")
        choices = {"loss": LOSSES, "cost": tuple(COSTS), "discriminator_output": OUTPUTS, "cycle_norm": CYCLE_NORMS}
        for field, allowed in choices.items():
            value = getattr(self, field)
            if value not in allowed:
                raise UserError(field.replace("_", " "), value, " or ".join(allowed), did_you_mean(str(value), allowed))
