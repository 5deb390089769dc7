"""The names of the baselines, as the command line knows them: a static table that loads neither torch nor NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ganprune.errors import UserError, did_you_mean
from ganprune.specs import load_function

WEIGHTS = ("own", "sliced", "reconstructed")
WIDTHS = ("uniform", "global")


class Entry(NamedTuple):
    """One registered name.

    Attributes:
        target: ``module:function``; the function takes a ``Subject`` and a seed and returns a ``Ranking``.
        width: of :data:`WIDTHS`: "uniform" keeps the same share of every group, "global" whatever scores highest.
        doc: one line for ``--help``.
    """

    target: str
    width: str
    doc: str


BASELINES: dict[str, Entry] = {
    "l1": Entry("ganprune.baselines.scores:l1", "uniform", "the largest L1 norms of each group"),
    "l1-global": Entry("ganprune.baselines.scores:l1", "global", "the largest L1 norms of all groups"),
    "random": Entry("ganprune.baselines.scores:chance", "uniform", "any filters of each group"),
    "trimming": Entry("ganprune.baselines.scores:trimming", "uniform", "filters of each group seldom zero"),
    "thinet": Entry("ganprune.baselines.thinet:thinet", "uniform", "greedily, what the next layers need; rescaled"),
    "slimming": Entry("ganprune.baselines.slimming:slimming", "global", "the largest trained gates of all groups"),
}


@dataclass(frozen=True)
class Baseline:
    """A pruning criterion, and the weights that its compact networks get.

    Attributes:
        method: a name of :data:`BASELINES`.
        weights: "own": what the method itself leaves; "sliced": the original's; "reconstructed": the closed form.

    Raises:
        UserError: an unknown name.
    """

    method: str
    weights: str = "own"

    def __post_init__(self) -> None:
        for field, value, known in (("baseline", self.method, BASELINES), ("weights", self.weights, WEIGHTS)):
            if value not in known:
                raise UserError(field, value, ", ".join(known), did_you_mean(value, known))

    def criterion(self) -> Callable[..., Any]:
        """Import and return the function that ranks filters."""
        return load_function("baseline", self.method, BASELINES[self.method].target)
