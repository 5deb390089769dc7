"""The terms of the fitness (Eq. 11 and 13) and their weights."""

from __future__ import annotations

from dataclasses import dataclass

from ganprune.settings.fields import Settings, setting

COSTS = {"params": "n", "macs": "macs", "latency": "latency"}  # and the term of each

TARGETS = ("pytorch", "onnxruntime")


@dataclass(frozen=True)
class FitnessSettings(Settings):
    """The terms of the fitness and their weights: what the help of each says, and this.

    Attributes:
        lam, identity: weights inside gamma(...); the paper applies an identity of 0.5.
        loss: "gena" is the paper's ablation.
        cost: "macs" and "latency" are shares of the original's.
        target: "pytorch" runs the compact network as it is, with the run's device and threads; "onnxruntime" what
            ``ganprune export`` writes of it, on this machine's CPU.
        discriminator_output: "map" compares the patch map, "mean" its average.
    """

    gamma: float = setting(10.0, "Weight of quality against size (Eq. 11).", low=0, common=True)
    lam: float = setting(10.0, "Weight of the cycle term (Eq. 11).", low=0)
    identity: float = setting(0.0, "Weight of the identity term, times --lam.", low=0)
    loss: str = setting("disa", "disa (Eq. 5) or gena (Eq. 4).", choices=("disa", "gena"))
    cost: str = setting(
        "params", "Size term: params (Eq. 10), macs, or latency (predicted for one image).", choices=tuple(COSTS)
    )
    target: str = setting(
        "pytorch", "What latencies are those of: pytorch, or onnxruntime with exported networks.", choices=TARGETS,
        common=True, added=True,
    )  # fmt: skip
    target_threads: int = setting(1, "Threads that a network is run with there, by onnxruntime.", low=1, added=True)
    discriminator_output: str = setting("map", "map, or mean as in the authors' code.", choices=("map", "mean"))
    cycle_norm: str = setting("l2", "l2 (Eq. 6) or l1.", choices=("l2", "l1"))
