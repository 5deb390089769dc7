"""Co-evolution of two populations of bit strings, with DEAP's vocabulary.

This package knows bits only: neither networks nor torch. The names below are loaded when they are first used, so
that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "Annealing": "ganprune.evolution.algorithms.annealing",
    "BinarySwarm": "ganprune.evolution.algorithms.swarm",
    "Fitness": "ganprune.evolution.individual",
    "Genetic": "ganprune.evolution.algorithms.genetic",
    "Individual": "ganprune.evolution.individual",
    "Interrupted": "ganprune.runs.interruption",
    "NSGA2": "ganprune.evolution.algorithms.nsga2",
    "Progress": "ganprune.evolution.coevolution",
    "RandomSearch": "ganprune.evolution.algorithms.random_search",
    "Score": "ganprune.evolution.individual",
    "Strategy": "ganprune.evolution.algorithms.strategy",
    "UMDA": "ganprune.evolution.algorithms.umda",
    "coevolve": "ganprune.evolution.coevolution",
    "cxGroup": "ganprune.evolution.operators.variation",
    "cxTwoPoint": "ganprune.evolution.operators.variation",
    "initDensity": "ganprune.evolution.operators.initialization",
    "initGuided": "ganprune.evolution.operators.initialization",
    "initMixed": "ganprune.evolution.operators.initialization",
    "initUniform": "ganprune.evolution.operators.initialization",
    "make_toolbox": "ganprune.evolution.toolbox",
    "mutDensity": "ganprune.evolution.operators.variation",
    "mutFlipBit": "ganprune.evolution.operators.variation",
    "mutFlipBitGuided": "ganprune.evolution.operators.variation",
    "mutFlipBitPerGroup": "ganprune.evolution.operators.variation",
    "mutFlipSegment": "ganprune.evolution.operators.variation",
    "mutGroup": "ganprune.evolution.operators.variation",
    "mutGroupOrFlip": "ganprune.evolution.operators.variation",
    "selRank": "ganprune.evolution.operators.selection",
    "selRoulette": "ganprune.evolution.operators.selection",
    "selStochasticUniversalSampling": "ganprune.evolution.operators.selection",
    "selTournament": "ganprune.evolution.operators.variation",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
