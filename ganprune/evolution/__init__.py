"""Co-evolution of two populations of bit strings, with DEAP's vocabulary.

This package knows bits only: neither networks nor torch. Its names are those below and the functions and classes of
the registry's rows. They are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

from ganprune.evolution.registry import REGISTRY, target

_MODULES = {
    "Fitness": "ganprune.evolution.individual",
    "Individual": "ganprune.evolution.individual",
    "Interrupted": "ganprune.runs.interruption",
    "Progress": "ganprune.evolution.coevolution",
    "Score": "ganprune.evolution.individual",
    "Strategy": "ganprune.evolution.algorithms.strategy",
    "coevolve": "ganprune.evolution.coevolution",
    "make_toolbox": "ganprune.evolution.toolbox",
}
for _rows in REGISTRY.values():
    for _row in _rows.items():
        _module, _, _name = target(*_row).partition(":")
        _MODULES[_name] = _module

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
