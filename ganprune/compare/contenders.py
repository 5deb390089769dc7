"""What is compared: settings of ``ganprune evolve`` or ``ganprune baseline`` under a name.

In text a contender is an algorithm or baseline and its options, as they would be typed there, with an optional name::

    ga
    annealing:population=8 --mutate mutFlipBit:indpb=0.02
    paper operators: ga --select selRoulette --mate cxTwoPoint --mutate mutFlipSegment --init initUniform
    thinet
    l1, reconstructed: l1 --weights reconstructed
    baseline random

The last says ``baseline`` because ``random`` alone is random search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from ganprune.baselines.registry import Baseline
from ganprune.device import resolve_precision
from ganprune.errors import UserError
from ganprune.models.options import SIDES
from ganprune.pipeline.checks import check_search, check_target
from ganprune.settings.evolve import EvolveSettings
from ganprune.settings.fields import changed, settings_in

# What all contenders share, because the comparison would not be fair otherwise, or because it is not searched.
SHARED = [setting.name for setting in settings_in(EvolveSettings) if setting.facts.shared]


@dataclass(frozen=True)
class Contender:
    """One of those compared.

    Attributes:
        name: in tables and plots.
        settings: its search; seed and budget are the comparison's.
        baseline: criterion and weights, where it does not search at all; its size is ``settings.budget.target_ratio``.
    """

    name: str
    settings: EvolveSettings
    baseline: Baseline | None = None

    def resolved(self, device: torch.device) -> Contender:
        """Return it with a precision of "auto" resolved for that device."""
        precision = resolve_precision(self.settings.precision, device)
        return replace(self, settings=replace(self.settings, precision=precision))

    def to_json(self) -> dict[str, Any]:
        """Return what decides its figures, but for seed and budget."""
        return self.settings.to_json() | ({"baseline": asdict(self.baseline)} if self.baseline else {})

    def with_budget(self, seed: int, max_evaluations: float) -> EvolveSettings:
        """Return the settings of one run; generations are bounded so that a search which only repeats itself ends."""
        most = max(1, int(max_evaluations))
        return changed(self.settings, seed=seed, max_evaluations=max_evaluations, max_seconds=None, generations=most)


def check_contenders(contenders: Sequence[Contender], max_evaluations: float, seeds: Sequence[int]) -> None:
    """Find every mistake before the first run.

    Raises:
        UserError: fewer than two contenders, two of one name, no seeds, or settings that can't be.
    """
    if not 0 < max_evaluations < math.inf:
        raise UserError("max evaluations", max_evaluations, "a number above 0", "Correct --max-evaluations.")
    names = [contender.name for contender in contenders]
    if len(names) < 2:
        raise UserError("contenders", names, "at least two", "Give another one.")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(
            "contenders", f"{twice[0]!r} twice", "different names", "Name them, as in 'NAME: ga --mate ...'"
        )
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError("seeds", list(seeds), "one or more, all different", "Correct --seeds.")
    targets = {c.settings.fitness.target: c.name for c in contenders if c.settings.needs_latency}
    if len(targets) > 1:
        found = " and ".join(f"{target} of {name!r}" for target, name in targets.items())
        raise UserError("target", found, "one for all", "Give it once, in --common.")  # they share one latency table
    for contender in contenders:
        check_target(contender.settings)
        if contender.baseline is None:
            check_search(contender.with_budget(seeds[0], max_evaluations).search, SIDES)


def split_name(text: str) -> tuple[str | None, str]:
    """Split ``"NAME: ALGORITHM OPTIONS"`` into name and the rest; without a colon and a space there is no name."""
    name, separator, rest = text.partition(": ")
    return (name.strip(), rest.strip()) if separator and not name.lstrip().startswith("-") else (None, text.strip())
