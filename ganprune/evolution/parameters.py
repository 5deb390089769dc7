"""Checks of the parameters that strategies take, and of those that their saved states hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ganprune.errors import UserError, did_you_mean


def check_population(population: int, least: int = 2) -> int:
    """Return the population's size, a whole number of at least ``least``, else UserError."""
    if isinstance(population, bool) or not isinstance(population, int) or population < least:
        raise UserError("population", population, f"a whole number of at least {least}", "Choose a larger population.")
    return population


def check_number(field: str, value: float, low: float, high: float = math.inf, *, above: bool = False) -> float:
    """Return the finite number if it is from ``low`` (or, with ``above``, above it) to ``high``, else UserError."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not (number and low <= value <= high) or (above and value == low):
        lower = f"above {low:g}" if above else f"of at least {low:g}"
        upper = "" if high == math.inf else f" and at most {high:g}"
        raise UserError(field, value, f"a number {lower}{upper}", "Choose another value.")
    return value


def check_choice(field: str, value: str, choices: Iterable[str]) -> str:
    """Return the value if it is one of the choices, else UserError with the closest one."""
    choices = tuple(choices)
    if value not in choices:
        raise UserError(field, value, "one of " + ", ".join(choices), did_you_mean(str(value), choices))
    return value


def check_saved(saved: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Compare a saved state's settings with a strategy's own, field by field; UserError at the first difference."""
    for field, value in settings.items():
        if saved.get(field) != value:
            raise UserError(field, value, f"{saved.get(field)!r}, as saved", f"Resume with the run's own {field}.")
