"""Co-evolution of two populations of bit strings, with DEAP's vocabulary.

This package knows bits only: neither networks nor torch. The names below are loaded when they are first used, so
that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "Annealing": "annealing",
    "BinarySwarm": "swarm",
    "Fitness": "individual",
    "Genetic": "genetic",
    "Individual": "individual",
    "Interrupted": "interruption",
    "NSGA2": "nsga2",
    "Progress": "coevolution",
    "RandomSearch": "random_search",
    "Score": "individual",
    "Strategy": "strategy",
    "UMDA": "umda",
    "coevolve": "coevolution",
    "cxGroup": "operators",
    "cxTwoPoint": "operators",
    "initDensity": "initializers",
    "initGuided": "initializers",
    "initMixed": "initializers",
    "initUniform": "initializers",
    "make_toolbox": "toolbox",
    "mutDensity": "operators",
    "mutFlipBit": "operators",
    "mutFlipBitGuided": "operators",
    "mutFlipBitPerGroup": "operators",
    "mutFlipSegment": "operators",
    "mutGroup": "operators",
    "mutGroupOrFlip": "operators",
    "selRank": "operators",
    "selRoulette": "operators",
    "selStochasticUniversalSampling": "operators",
    "selTournament": "operators",
}

__all__ = [
    "NSGA2",
    "UMDA",
    "Annealing",
    "BinarySwarm",
    "Fitness",
    "Genetic",
    "Individual",
    "Interrupted",
    "Progress",
    "RandomSearch",
    "Score",
    "Strategy",
    "coevolve",
    "cxGroup",
    "cxTwoPoint",
    "initDensity",
    "initGuided",
    "initMixed",
    "initUniform",
    "make_toolbox",
    "mutDensity",
    "mutFlipBit",
    "mutFlipBitGuided",
    "mutFlipBitPerGroup",
    "mutFlipSegment",
    "mutGroup",
    "mutGroupOrFlip",
    "selRank",
    "selRoulette",
    "selStochasticUniversalSampling",
    "selTournament",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
