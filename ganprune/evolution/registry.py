"""The operators, initialisers and algorithms that have a name: one row each, which says all that is known of it.

The command line, its help, ``make_toolbox``, ``ganprune.evolution`` and the tests take what they need from these rows.
Reading them imports neither DEAP nor NumPy, so that ``--help`` can list them at once. A specification is

    NAME                              cxGroup, or for short group
    NAME:KEY=VALUE,KEY=VALUE          selTournament:tournsize=5
    PACKAGE.MODULE:FUNCTION           my_operators:cxClever, also followed by :KEY=VALUE,...

The last form imports code: resolve only what the user has given in this call, never what was read from a file.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ganprune.errors import UserError, did_you_mean
from ganprune.specs import Range, given_parameters, load_function

SPACE_DATA = ("group_sizes", "saliency", "fill")
NOTHING: Mapping[str, Any] = MappingProxyType({})

SHARE = Range(0.0, 1.0)
FROM_ONE = Range(1, math.inf)


class Entry(NamedTuple):
    """The row of one name.

    What an operator takes from the filter space its arguments say: those named in :data:`SPACE_DATA`.

    Attributes:
        place: the module that has a function of the row's name, or ``module:name``; for an algorithm, of its class.
        doc: one line of help.
        defaults: of parameters that have none in the function, or another one.
        ranges: of parameters, where the function's annotations state none; an algorithm checks its own.
        aliases: further names; case, hyphens and underscores don't matter.
    """

    place: str
    doc: str
    defaults: Mapping[str, Any] = NOTHING
    ranges: Mapping[str, Range] = NOTHING
    aliases: tuple[str, ...] = ()


class Kind(NamedTuple):
    """What the rows of one kind have in common.

    Attributes:
        prefix: of their names by DEAP's conventions; it may be left out.
        positional: how many arguments DEAP, or the strategy, passes by position.
    """

    prefix: str
    positional: int


KINDS = {
    "select": Kind("sel", 2),
    "mate": Kind("cx", 2),
    "mutate": Kind("mut", 1),
    "init": Kind("init", 0),
    "algorithm": Kind("", 0),
}

_DEAP = "deap.tools"
_SELECTION = "ganprune.evolution.operators.selection"
_VARIATION = "ganprune.evolution.operators.variation"
_WIDTHS = "ganprune.evolution.operators.widths"
_INITIALIZATION = "ganprune.evolution.operators.initialization"
_ALGORITHMS = "ganprune.evolution.algorithms"

REGISTRY: dict[str, dict[str, Entry]] = {
    "select": {
        "selTournament": Entry(_DEAP, "the best of a few random ones", {"tournsize": 3}, {"tournsize": FROM_ONE}),
        "selRoulette": Entry(_SELECTION, "in proportion to fitness (the paper's Eq. 12)"),
        "selStochasticUniversalSampling": Entry(_SELECTION, "Eq. 12 with one spin of evenly spaced pointers"),
        "selRank": Entry(_SELECTION, "by rank in place of fitness (Baker 1985)"),
        "selBest": Entry(_DEAP, "the best ones only"),
        "selWorst": Entry(_DEAP, "the worst ones only, as a control"),
        "selRandom": Entry(_DEAP, "any, without looking at fitness"),
    },
    "mate": {
        "cxGroup": Entry(_VARIATION, "swap whole groups of filters"),
        "cxBlendWidths": Entry(_WIDTHS, "blend the widths of the groups; filters by saliency"),
        "cxTwoPoint": Entry(_DEAP, "swap the bits between two points (--preset paper)"),
        "cxOnePoint": Entry(_DEAP, "swap the bits after one point"),
        "cxUniform": Entry(_DEAP, "swap each bit with probability indpb", {"indpb": 0.5}, {"indpb": SHARE}),
    },
    "mutate": {
        "mutGroupOrFlip": Entry(_VARIATION, "widen or narrow one group, or flip a few bits"),
        "mutGroup": Entry(_VARIATION, "widen or narrow one group"),
        "mutTradeWidths": Entry(_WIDTHS, "trade filters between groups, the budget used up; by saliency"),
        "mutDensity": Entry(_VARIATION, "redraw the density of one group"),
        "mutFlipSegment": Entry(_VARIATION, "invert a random segment (--preset paper)"),
        "mutFlipBit": Entry(_DEAP, "flip each bit with probability indpb", {"indpb": 0.01}, {"indpb": SHARE}),
        "mutFlipBitPerGroup": Entry(_VARIATION, "flip bits, as many in a narrow group as in a wide one"),
        "mutFlipBitGuided": Entry(_VARIATION, "flip bits, rather dropping weak filters and adding strong ones"),
        "mutShuffleIndexes": Entry(_DEAP, "exchange bits with random others", {"indpb": 0.01}, {"indpb": SHARE}),
        "mutInversion": Entry(_DEAP, "reverse the order of a random segment"),
    },
    "init": {
        "initMixed": Entry(_INITIALIZATION, "initGuided or initDensity, by chance"),
        "initDensity": Entry(_INITIALIZATION, "random filters, own density per group"),
        "initGuided": Entry(_INITIALIZATION, "the strongest filters, own density"),
        "initProfile": Entry(_INITIALIZATION, "the strongest filters, widths by a power of the group's size"),
        "initUniform": Entry(_INITIALIZATION, "every bit with one probability (--preset paper)"),
    },
    "algorithm": {
        "ga": Entry(
            f"{_ALGORITHMS}.genetic:Genetic", "the genetic algorithm of the paper (Algorithm 1)", aliases=("genetic",)
        ),
        "annealing": Entry(
            f"{_ALGORITHMS}.annealing:Annealing",
            "simulated annealing in parallel chains",
            aliases=("sa", "simulated-annealing"),
        ),
        "swarm": Entry(f"{_ALGORITHMS}.swarm:BinarySwarm", "binary particle swarm", aliases=("pso",)),
        "nsga2": Entry(
            f"{_ALGORITHMS}.nsga2:NSGA2", "a front of compromises between size and quality", aliases=("nsga-ii",)
        ),
        "random": Entry(f"{_ALGORITHMS}.random_search:RandomSearch", "random search, as a control"),
        "umda": Entry(f"{_ALGORITHMS}.umda:UMDA", "estimates a probability for each filter"),
        "widths": Entry(
            f"{_ALGORITHMS}.width_search:WidthSearch",
            "how wide each group is: trades between groups within the budget",
            aliases=("width-search",),
        ),
    },
}


class Operator(NamedTuple):
    """A specification, resolved.

    Attributes:
        function: the function, or the class of an algorithm.
        parameters: keyword arguments for it.
        needs: keyword arguments that it takes from the filter space: names of its attributes.
    """

    function: Callable[..., Any]
    parameters: Mapping[str, Any]
    needs: tuple[str, ...]


def names(kind: str) -> list[str]:
    """Return the registered names of a kind: select, mate, mutate, init or algorithm."""
    return list(_rows(kind))


def canonical(kind: str, spec: str) -> str:
    """Return the specification with the registered name in place of a short or another one.

    ``uniform:density=0.3`` is ``initUniform:density=0.3``, ``sa`` is ``annealing``. What is not registered stays.

    Args:
        kind: select, mate, mutate, init or algorithm.
        spec: the specification.

    Raises:
        UserError: an unknown kind.
    """
    name, colon, rest = spec.strip().partition(":")
    known: dict[str, str] = {}
    for full, entry in _rows(kind).items():
        for text in (full, full.removeprefix(KINDS[kind].prefix), *entry.aliases):
            known.setdefault(_plain(text), full)
    return known.get(_plain(name), name) + colon + rest


def resolve(kind: str, spec: str | Callable[..., Any]) -> Operator:
    """Return what the specification stands for (see the module's docstring for its forms).

    Args:
        kind: select, mate, mutate, init or algorithm.
        spec: the specification, or a function as it is. The form with a module imports it.

    Raises:
        UserError: an unknown kind, name, module or parameter, or a value that does not fit.
    """
    rows = _rows(kind)
    if not isinstance(spec, str):
        return Operator(spec, {}, _space_needs(spec))
    name, _, options = canonical(kind, spec).partition(":")
    entry = rows.get(name)
    if entry is None:
        attribute, _, options = options.partition(":")
        if not attribute or "=" in attribute:
            expected = "a registered name or package.module:function"
            raise UserError(kind, name or repr(spec), expected, did_you_mean(name, rows))
        name = f"{name}:{attribute}"
        entry = Entry(name, "")
    function = load_function(kind, spec, target(name, entry))
    needs = _space_needs(function)
    hidden = {*list(inspect.signature(function).parameters)[: KINDS[kind].positional], *needs}
    parameters = given_parameters(
        kind, name, function, options, defaults=entry.defaults, ranges=entry.ranges, hidden=hidden
    )
    return Operator(function, parameters, needs)


def target(name: str, entry: Entry) -> str:
    """Return the ``module:name`` of what the row stands for."""
    return entry.place if ":" in entry.place else f"{entry.place}:{name}"


def _space_needs(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return which of :data:`SPACE_DATA` the function asks for by the names of its arguments without a default."""
    arguments = inspect.signature(function).parameters
    return tuple(
        name for name in SPACE_DATA if name in arguments and arguments[name].default is inspect.Parameter.empty
    )


def _rows(kind: str) -> dict[str, Entry]:
    if kind not in REGISTRY:
        raise UserError("kind of operator", kind, "a kind in the registry", did_you_mean(kind, REGISTRY))
    return REGISTRY[kind]


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
