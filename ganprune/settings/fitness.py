"""The terms of the fitness (Eq. 11 and 13) and their weights."""

from __future__ import annotations

from dataclasses import dataclass

from ganprune.settings.fields import Settings, setting

COSTS = {"params": "n", "macs": "macs", "latency": "latency"}  # and the term of each


@dataclass(frozen=True)
class FitnessSettings(Settings):
    """The terms of the fitness and their weights: what the help of each says, and this.

    Attributes:
        lam, identity: weights inside gamma(...); the paper applies an identity of 0.5.
        loss: "gena" is the paper's ablation.
        cost: "macs" and "latency" are shares of the original's.
        discriminator_output: "map" compares the patch map, "mean" its average.
    """

    gamma: float = setting(10.0, "Weight of quality against size (Eq. 11).", low=0, common=True)
    lam: float = setting(10.0, "Weight of the cycle term (Eq. 11).", low=0)
    identity: float = setting(0.0, "Weight of the identity term, times --lam.", low=0)
    loss: str = setting("disa", "disa (Eq. 5) or gena (Eq. 4).", choices=("disa", "gena"))
    cost: str = setting(
        "params", "Size term: params (Eq. 10), macs, or latency (predicted for one image).", choices=tuple(COSTS)
    )
    discriminator_output: str = setting("map", "map, or mean as in the authors' code.", choices=("map", "mean"))
    cycle_norm: str = setting("l2", "l2 (Eq. 6) or l1.", choices=("l2", "l1"))
