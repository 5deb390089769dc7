"""Individuals (Eq. 9): one bit per prunable filter, 1 = keep; and the score an evaluation gives them.

Plain classes instead of ``deap.creator``: they pickle by reference, and nothing rebinds globals when they are loaded.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from deap import base

if TYPE_CHECKING:
    from typing import Self

BROKEN = "broken"  # a term of scores that say no more than that nothing could be measured


class Fitness(base.Fitness):
    """One value, maximised: Eq. 11 and 13."""

    weights: tuple[float, ...] = (1.0,)


class Score(tuple):
    """What ``evaluate`` returns: the fitness values, as a tuple, with the terms they were made of.

    Args:
        values: one number per objective.
        terms: named parts of the values, such as ``{"n": 0.2, "l_disa": 0.01}``. Terms that are not finite are left
            out, because records are JSON.
        notes: what happened on the way, for the timing of the step's log line; no part of the score.
    """

    terms: dict[str, float]
    notes: tuple[str, ...]

    def __new__(
        cls, values: Iterable[float], terms: Mapping[str, float] | None = None, notes: Iterable[str] = ()
    ) -> Self:
        self = super().__new__(cls, (float(value) for value in values))
        self.notes = tuple(notes)
        named = {name: float(value) for name, value in (terms or {}).items()}
        self.terms = {name: value for name, value in named.items() if math.isfinite(value)}
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (tuple(self), self.terms, self.notes)

    def __repr__(self) -> str:
        return f"Score({tuple(self)!r}, {self.terms!r})"


class Individual(list):
    """A list of bits (0 or 1 as ``int``) with a fitness.

    Args:
        bits: an iterable of 0/1 (or booleans).

    Attributes:
        fitness: a ``fitness_type``; invalid until the individual is evaluated. It is only true against the partner
            that it was measured with.
        terms: the terms of the score, or None.

    Raises:
        ValueError: an entry is neither 0 nor 1.
    """

    fitness_type: type[base.Fitness] = Fitness

    def __init__(self, bits: Iterable[int] = ()):
        super().__init__(int(bit) for bit in bits)
        if any(bit not in (0, 1) for bit in self):
            raise ValueError(f"bits: got {sorted(set(self) - {0, 1})}; expected 0 or 1 only.")
        self.fitness = self.fitness_type()
        self.terms: dict[str, float] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Individual:
        # The default copies bit by bit, a hundred times slower.
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.extend(self)
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self),), self.__dict__

    @property
    def scalar_fitness(self) -> float:
        """The one number that an evaluated individual is worth, higher = better; where there are several objectives,
        it is not one of them."""
        return float(self.fitness.values[0])

    def record(self) -> dict[str, Any]:
        """Return the individual as JSON: packed bits, and fitness values and terms (None if not evaluated)."""
        values = list(self.fitness.values) if self.fitness.valid else None
        return {"bits": pack_bits(self), "values": values, "terms": self.terms}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Individual:
        """Return the individual whose :meth:`record` this is.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        individual = cls(unpack_bits(record["bits"]))
        if record["values"] is not None:
            if len(record["values"]) != len(individual.fitness.weights):
                raise ValueError(f"{len(record['values'])} fitness values for {len(individual.fitness.weights)}")
            individual.fitness.values = tuple(record["values"])
        individual.terms = None if record["terms"] is None else dict(record["terms"])
        return individual


def pack_bits(bits: Iterable[int]) -> str:
    """Return bits as ``'LENGTH:HEX'``, a quarter of the text; the first bit is the most significant.

    >>> pack_bits([0, 1, 1, 0, 1])
    '5:0d'
    """
    key = "".join(map(str, bits))
    digits = (len(key) + 7) // 8 * 2
    return f"{len(key)}:{int(key or '0', 2):0{digits}x}" if key else "0:"


def pack_partner(partner: Iterable[int] | None) -> str | None:
    """Return a partner's bits packed, None for the original network."""
    return None if partner is None else pack_bits(partner)


def unpack_bits(text: str) -> list[int]:
    """Return the bits that :func:`pack_bits` packed.

    Raises:
        ValueError: ``text`` is not of that form.
    """
    if not isinstance(text, str) or ":" not in text:
        raise ValueError(f"bits: got {text!r}; expected 'LENGTH:HEX'.")
    length, _, digits = text.partition(":")
    if int(length) == 0:
        return []
    key = f"{int(digits, 16):0{int(length)}b}"
    if len(key) != int(length):
        raise ValueError(f"bits: got {text!r}; expected {length} bits, found {len(key)}.")
    return [int(bit) for bit in key]
