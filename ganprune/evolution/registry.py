"""The names of operators, initialisers and algorithms, as the command line knows them.

A static table: reading it imports neither DEAP nor NumPy, so that ``--help`` can list it at once. A specification is

    NAME                              cxGroup, or for short group
    NAME:KEY=VALUE,KEY=VALUE          selTournament:tournsize=5
    PACKAGE.MODULE:FUNCTION           my_operators:cxClever, also followed by :KEY=VALUE,...

The last form imports code: resolve only what the user has given in this call, never what was read from a file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ganprune.errors import UserError, did_you_mean
from ganprune.specs import Entry, _parameters, load_function

SPACE_DATA = ("group_sizes", "saliency")


_OPERATORS = "ganprune.evolution.operators.variation"


_INITIALIZERS = "ganprune.evolution.operators.initialization"


REGISTRY: dict[str, dict[str, Entry]] = {
    "select": {
        "selTournament": Entry("deap.tools:selTournament", {"tournsize": 3}, "the best of a few random ones"),
        "selRoulette": Entry(f"{_OPERATORS}:selRoulette", {}, "in proportion to fitness (the paper's Eq. 12)"),
        "selStochasticUniversalSampling": Entry(
            f"{_OPERATORS}:selStochasticUniversalSampling",
            {},
            "Eq. 12 with one spin of evenly spaced pointers",
        ),
        "selRank": Entry(f"{_OPERATORS}:selRank", {"pressure": 1.7}, "by rank in place of fitness (Baker 1985)"),
        "selBest": Entry("deap.tools:selBest", {}, "the best ones only"),
        "selWorst": Entry("deap.tools:selWorst", {}, "the worst ones only, as a control"),
        "selRandom": Entry("deap.tools:selRandom", {}, "any, without looking at fitness"),
    },
    "mate": {
        "cxGroup": Entry(f"{_OPERATORS}:cxGroup", {"indpb": 0.5}, "swap whole groups of filters", ("group_sizes",)),
        "cxTwoPoint": Entry("deap.tools:cxTwoPoint", {}, "swap the bits between two points (--preset paper)"),
        "cxOnePoint": Entry("deap.tools:cxOnePoint", {}, "swap the bits after one point"),
        "cxUniform": Entry("deap.tools:cxUniform", {"indpb": 0.5}, "swap each bit with probability indpb"),
    },
    "mutate": {
        "mutGroupOrFlip": Entry(
            f"{_OPERATORS}:mutGroupOrFlip",
            {"flip": 0.5, "indpb": 0.01, "share": 0.5},
            "widen or narrow one group, or flip a few bits",
            ("group_sizes",),
        ),
        "mutGroup": Entry(f"{_OPERATORS}:mutGroup", {"share": 0.5}, "widen or narrow one group", ("group_sizes",)),
        "mutDensity": Entry(
            f"{_OPERATORS}:mutDensity", {"low": 0.1, "high": 1.0}, "redraw the density of one group", ("group_sizes",)
        ),
        "mutFlipSegment": Entry(f"{_OPERATORS}:mutFlipSegment", {}, "invert a random segment (--preset paper)"),
        "mutFlipBit": Entry("deap.tools:mutFlipBit", {"indpb": 0.01}, "flip each bit with probability indpb"),
        "mutFlipBitPerGroup": Entry(
            f"{_OPERATORS}:mutFlipBitPerGroup",
            {"flips": 1.0},
            "flip bits, as many in a narrow group as in a wide one",
            ("group_sizes",),
        ),
        "mutFlipBitGuided": Entry(
            f"{_OPERATORS}:mutFlipBitGuided",
            {"indpb": 0.01, "guidance": 1.0},
            "flip bits, rather dropping weak filters and adding strong ones",
            SPACE_DATA,
        ),
        "mutShuffleIndexes": Entry("deap.tools:mutShuffleIndexes", {"indpb": 0.01}, "exchange bits with random others"),
        "mutInversion": Entry("deap.tools:mutInversion", {}, "reverse the order of a random segment"),
    },
    "init": {
        "initMixed": Entry(f"{_INITIALIZERS}:initMixed", {}, "initGuided or initDensity, by chance", SPACE_DATA),
        "initDensity": Entry(
            f"{_INITIALIZERS}:initDensity", {}, "random filters, own density per group", ("group_sizes",)
        ),
        "initGuided": Entry(f"{_INITIALIZERS}:initGuided", {}, "the strongest filters, own density", SPACE_DATA),
        "initUniform": Entry(
            f"{_INITIALIZERS}:initUniform",
            {"density": 0.5},
            "every bit with one probability (--preset paper)",
            ("group_sizes",),
        ),
    },
    "algorithm": {
        "ga": Entry(
            "ganprune.evolution.algorithms.genetic:Genetic", {}, "the genetic algorithm of the paper (Algorithm 1)"
        ),
        "annealing": Entry(
            "ganprune.evolution.algorithms.annealing:Annealing", {}, "simulated annealing in parallel chains"
        ),
        "swarm": Entry("ganprune.evolution.algorithms.swarm:BinarySwarm", {}, "binary particle swarm"),
        "nsga2": Entry(
            "ganprune.evolution.algorithms.nsga2:NSGA2", {}, "a front of compromises between size and quality"
        ),
        "random": Entry("ganprune.evolution.algorithms.random_search:RandomSearch", {}, "random search, as a control"),
        "umda": Entry("ganprune.evolution.algorithms.umda:UMDA", {}, "estimates a probability for each filter"),
    },
}


_PREFIXES = {"select": "sel", "mate": "cx", "mutate": "mut", "init": "init", "algorithm": ""}


@dataclass(frozen=True)
class Operator:
    """A specification, resolved.

    Attributes:
        spec: the text it came from.
        function: the function, or the class of an algorithm.
        parameters: keyword arguments for it.
        needs: keyword arguments that it takes from the filter space.
    """

    spec: str
    function: Callable[..., Any]
    parameters: Mapping[str, Any]
    needs: tuple[str, ...]

    def keywords(self, space: Any) -> dict[str, Any]:
        """Return all keyword arguments: the parameters, and what ``needs`` names as attributes of ``space``."""
        return {**self.parameters, **{name: getattr(space, name) for name in self.needs}}


def names(kind: str) -> list[str]:
    """Return the registered names of a kind: select, mate, mutate, init or algorithm."""
    return list(_table(kind))


def resolve(kind: str, spec: str) -> Operator:
    """Return what the specification stands for (see the module's docstring for its forms).

    Args:
        kind: select, mate, mutate, init or algorithm.
        spec: the specification. The form with a module imports it.

    Raises:
        UserError: an unknown kind, name, module or parameter, or a value that does not fit.
    """
    table = _table(kind)
    name, _, rest = spec.strip().partition(":")
    name = _full_name(kind, name)
    if name in table:
        entry = table[name]
        function = load_function(kind, spec, entry.target)
        return Operator(spec, function, _parameters(kind, name, function, entry, rest), entry.needs)
    reference, _, options = rest.partition(":")
    if not reference or "=" in reference:
        raise UserError(
            kind,
            name or repr(spec),
            "a registered name or package.module:function",
            did_you_mean(name, table),
        )
    function = load_function(kind, spec, f"{name}:{reference}")
    needs = space_needs(function)
    entry = Entry(f"{name}:{reference}", {}, "", needs)
    return Operator(spec, function, _parameters(kind, f"{name}:{reference}", function, entry, options), needs)


def space_needs(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return which of :data:`SPACE_DATA` the function asks for by the names of its arguments without a default."""
    arguments = inspect.signature(function).parameters
    return tuple(
        name for name in SPACE_DATA if name in arguments and arguments[name].default is inspect.Parameter.empty
    )


def _table(kind: str) -> dict[str, Entry]:
    if kind not in REGISTRY:
        raise UserError("kind of operator", kind, "a kind in the registry", did_you_mean(kind, REGISTRY))
    return REGISTRY[kind]


def _full_name(kind: str, name: str) -> str:
    """Return the registered name that ``name`` is short for (``uniform`` for ``initUniform``), else ``name``."""
    lowered = {full.lower(): full for full in _table(kind)}
    short = name.lower().replace("-", "").replace("_", "")
    return lowered.get(short) or lowered.get(_PREFIXES[kind] + short) or name
