"""What has been scored, and what it cost.

An *evaluation* is a (side, bits) never scored before in the run; a *rescore* is known bits against a new partner; cost
is evaluations + rescores / 2. These are logical counts: they don't depend on what happened to be cached, or on how
often the run was interrupted.

The records in ``evaluations.jsonl`` are the cache itself and outlive a crash. Those written after the last saved state
are *replayed*: used without scoring again, and counted only then.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ganprune.errors import UserError
from ganprune.evolution.individual import Score, pack_bits
from ganprune.runs.directory import EVALUATIONS, RunDirectory

Key = tuple[str, str, "str | None"]


class Ledger:
    """Scores by (side, bits, partner's bits), with counts. Bits are text, as ``pack_bits`` gives it.

    Args:
        run: where ``evaluations.jsonl`` is read and written, or None to keep all in memory.
        lines: how many of its records belong to the state that the run resumes from.

    Attributes:
        evaluations: (side, bits) scored so far.
        rescores: scores of known bits against a further partner.

    Raises:
        UserError: the file is damaged, or shorter than ``lines``.
    """

    def __init__(self, run: RunDirectory | None, lines: int = 0):
        self.run = run
        self.evaluations = self.rescores = 0
        self._scores: dict[Key, Score] = {}
        self._seen: set[tuple[str, str]] = set()
        records = run.read_jsonl(EVALUATIONS, least=lines) if run else []
        for record in records[:lines]:
            self._count(*_from_record(record))
        self._replay = dict(map(_from_record, records[lines:]))

    @property
    def cost(self) -> float:
        """Evaluations + rescores / 2."""
        return self.evaluations + self.rescores / 2

    @property
    def lines(self) -> int:
        """How many scores are counted, one record each."""
        return len(self._scores)

    def knows(self, side: str, bits: Iterable[int]) -> bool:
        """Return whether these bits, unpacked, have been scored on that side, against whomever."""
        return (side, pack_bits(bits)) in self._seen

    def price(self, side: str, batch: Iterable[str], partner: str | None) -> float:
        """Return what scoring the batch would add to the cost."""
        fresh = {bits for bits in batch if (side, bits, partner) not in self._scores}
        rescores = sum((side, bits) in self._seen for bits in fresh)
        return len(fresh) - rescores / 2

    def find(self, side: str, bits: str, partner: str | None) -> Score | None:
        """Return the score if it is known, counted or to be replayed (which counts it), else None."""
        key = (side, bits, partner)
        if key not in self._scores and key in self._replay:
            self._count(key, self._replay.pop(key))
        return self._scores.get(key)

    def add(self, side: str, bits: str, partner: str | None, score: Score) -> None:
        """Count a new score and append its record at once."""
        self._count((side, bits, partner), score)
        if self.run:
            self.run.append_jsonl(EVALUATIONS, _to_record((side, bits, partner), score))

    def settle(self) -> None:
        """At the end of a step, make the file hold exactly the counted records.

        Only a run that was changed before it was resumed leaves records that no step asked for.
        """
        if self.run and self._replay:
            self.run.write_jsonl(EVALUATIONS, (_to_record(key, score) for key, score in self._scores.items()))
            self._replay.clear()

    def _count(self, key: Key, score: Score) -> None:
        known = key[:2] in self._seen
        self.rescores += known
        self.evaluations += not known
        self._seen.add(key[:2])
        self._scores[key] = score


def _to_record(key: Key, score: Score) -> dict[str, Any]:
    side, bits, partner = key
    return {"side": side, "bits": bits, "partner": partner, "values": list(score), "terms": score.terms}


def _from_record(record: dict[str, Any]) -> tuple[Key, Score]:
    try:
        key = (record["side"], record["bits"], record["partner"])
        score = Score(record["values"], record["terms"])
        named = all(isinstance(part, str) for part in key[:2]) and isinstance(key[2], (str, type(None)))
        if not named or not score or not all(map(math.isfinite, score)):
            raise ValueError("no text, or no finite numbers")
        return key, score
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        expected = "records with side, bits, partner, values and terms"
        raise UserError(EVALUATIONS, str(record)[:60], expected, "Restore the file.") from error
