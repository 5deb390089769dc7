"""Scoring one batch against one partner, through ``toolbox.map`` and the ledger."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

from ganprune.errors import UserError
from ganprune.evolution.individual import Individual, Score, pack_bits, pack_partner
from ganprune.evolution.state import SearchState
from ganprune.runs.interruption import Interruption

_log = logging.getLogger(__name__)


def score_batch(
    state: SearchState,
    batch: Sequence[Individual],
    partner: Individual | None,
    interruption: Interruption,
    on_evaluation: Callable[[str, Individual], Any] | None,
) -> int:
    """Give every individual of the batch its score against the partner, scoring no bits twice.

    Args:
        state: whose turn it is, and what is scored already.
        batch: gets ``fitness`` and ``terms``.
        partner: individual of the other side, or None for the original.
        interruption: checked after each score.
        on_evaluation: called with side and individual as each score becomes known.

    Returns:
        How many individuals needed no scoring.

    Raises:
        UserError: ``evaluate`` returned something that is no score.
        Interrupted: Ctrl-C or SIGTERM came.
    """
    side, toolbox, ledger = state.side, state.toolboxes[state.side], state.ledger
    partner_bits = pack_partner(partner)
    twins: dict[str, list[Individual]] = {}
    for individual in batch:
        twins.setdefault(pack_bits(individual), []).append(individual)

    def assign(bits: str, score: Score) -> None:
        for individual in twins[bits]:
            individual.fitness.values, individual.terms = tuple(score), dict(score.terms)
            if on_evaluation:
                on_evaluation(side, individual)

    unknown = []
    for bits in twins:
        score = ledger.find(side, bits, partner_bits)
        if score is None:
            unknown.append(bits)
        else:
            assign(bits, _checked_score(side, twins[bits][0], score))
    # Results are taken one by one, so that each is on disk before the next is waited for.
    results = toolbox.map(toolbox.evaluate, [twins[bits][0] for bits in unknown], [partner] * len(unknown))
    for bits, result in zip(unknown, results, strict=True):
        score = _checked_score(side, twins[bits][0], result)
        ledger.add(side, bits, partner_bits, score)
        for note in score.notes:
            _log.warning(note)
            state.notes.append(note)
        assign(bits, score)
        interruption.check()
    return len(batch) - len(unknown)


def _checked_score(side: str, individual: Individual, result: Any) -> Score:
    count = len(individual.fitness.weights)
    try:
        score = result if isinstance(result, Score) else Score(result)
    except (TypeError, ValueError):
        score = None
    if score is None or len(score) != count or not all(map(math.isfinite, score)):
        expected = f"a Score of {count} finite number{'s' * (count > 1)}"
        remedy = "Return a small positive fitness for an individual that cannot be scored."
        raise UserError(f"evaluate of side {side}", repr(result), expected, remedy)
    return score
