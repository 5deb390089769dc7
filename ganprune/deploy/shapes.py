"""Which dimensions of an exported generator's images are free."""

from __future__ import annotations

from typing import Any

from torch.export import Dim

from ganprune.data.sizes import LEAST
from ganprune.deploy.facts import Facts


def dynamic_shapes(facts: Facts) -> tuple[dict[int, Any]]:
    """Return the free dimensions of the one input, as ``torch.export`` takes them."""
    free: dict[int, Any] = {0: Dim("batch")}
    if facts.multiple is not None:
        least = -(-LEAST // facts.multiple)
        for dim, name in ((2, "height"), (3, "width")):
            if facts.multiple == 1:
                free[dim] = Dim(name, min=least)
            else:
                free[dim] = facts.multiple * Dim(f"{name}_{facts.multiple}", min=least)
    return (free,)
