"""The names of operators, initialisers and algorithms, as the command line knows them.

A static table: reading it imports neither DEAP nor NumPy, so that ``--help`` can list it at once. A specification is

    NAME                              cxGroup, or for short group
    NAME:KEY=VALUE,KEY=VALUE          selTournament:tournsize=5
    PACKAGE.MODULE:FUNCTION           my_operators:cxClever, also followed by :KEY=VALUE,...

The last form imports code: resolve only what the user has given in this call, never what was read from a file.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ganprune.errors import UserError, did_you_mean

HERE = ""  # how sys.path names the current directory
SPACE_DATA = ("group_sizes", "saliency")


class Entry(NamedTuple):
    """One registered name.

    Attributes:
        target: ``module:function``.
        parameters: the defaults that are not the function's own.
        doc: one line for ``--help``.
        needs: what it takes from the filter space, of :data:`SPACE_DATA`.
    """

    target: str
    parameters: Mapping[str, Any]
    doc: str
    needs: tuple[str, ...] = ()


_OPERATORS = "ganprune.evolution.operators"
_INITIALIZERS = "ganprune.evolution.initializers"

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
        "ga": Entry("ganprune.evolution.genetic:Genetic", {}, "the genetic algorithm of the paper (Algorithm 1)"),
        "annealing": Entry("ganprune.evolution.annealing:Annealing", {}, "simulated annealing in parallel chains"),
        "swarm": Entry("ganprune.evolution.swarm:BinarySwarm", {}, "binary particle swarm"),
        "nsga2": Entry("ganprune.evolution.nsga2:NSGA2", {}, "a front of compromises between size and quality"),
        "random": Entry("ganprune.evolution.random_search:RandomSearch", {}, "random search, as a control"),
        "umda": Entry("ganprune.evolution.umda:UMDA", {}, "estimates a probability for each filter"),
    },
}

_PREFIXES = {"select": "sel", "mate": "cx", "mutate": "mut", "init": "init", "algorithm": ""}

# What the strategy or DEAP passes itself, by position.
_POSITIONAL = {"select": 2, "mate": 2, "mutate": 1, "init": 0, "algorithm": 0}

_RANGES: dict[str, tuple[float, float]] = {
    "tournsize": (1, math.inf),
    "population": (2, math.inf),
    "pressure": (1, 2),
    "flips": (0, math.inf),
    **dict.fromkeys(("indpb", "flip", "share", "density", "low", "high", "guided", "guidance"), (0.0, 1.0)),
    **dict.fromkeys(("reproduction", "crossover", "mutation"), (0.0, 1.0)),
}


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


def load_function(kind: str, spec: str, target: str) -> Callable[..., Any]:
    """Import what ``target``, a ``package.module:function``, names; ``kind`` and ``spec`` are for the message.

    A module that is not installed is looked for in the current directory.

    Raises:
        UserError: there is no such module, or no such function in it.
    """
    module_name, _, attribute = target.partition(":")
    try:
        _look_here_for(module_name.partition(".")[0])
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:
        raise UserError(
            kind, spec, "an importable package.module:function", f"Importing {module_name!r} failed: {error}."
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        choices = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise UserError(kind, spec, f"a function of {module_name}", did_you_mean(attribute, choices))
    return function


def _look_here_for(package: str) -> None:
    """Let Python look into the current directory for a package that it does not find elsewhere."""
    if package not in sys.modules and importlib.util.find_spec(package) is None and HERE not in sys.path:
        sys.path.append(HERE)  # for good, since modules may import their neighbours later


def given_parameters(field: str, name: str, function: Callable[..., Any], options: str) -> dict[str, Any]:
    """Parse ``KEY=VALUE,KEY=VALUE`` as arguments of a function that is no operator; only those given are returned.

    Raises:
        UserError: an unknown argument, a missing one, or a value of another type than the argument's default.
    """
    return _parameters(field, name, function, Entry(name, {}, ""), options)


def _parameters(kind: str, name: str, function: Callable[..., Any], entry: Entry, options: str) -> dict[str, Any]:
    """Parse ``KEY=VALUE,KEY=VALUE`` over the entry's defaults, checked against the function's signature."""
    arguments = list(inspect.signature(function).parameters.values())[_POSITIONAL.get(kind, 0) :]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    defaults = {
        a.name: a.default
        for a in arguments
        if a.kind in named and a.name not in entry.needs and not inspect.isroutine(a.default)
    }
    defaults.update(entry.parameters)
    values = dict(entry.parameters)
    for option in filter(None, (part.strip() for part in options.split(","))):
        key, equals, text = (part.strip() for part in option.partition("="))
        if not equals:
            raise UserError(f"{kind} {name}", option, "KEY=VALUE", _remedy(option, defaults))
        if key not in defaults:
            raise UserError(f"parameter of {name}", key, "one that it takes", _remedy(key, defaults))
        values[key] = _value(f"{name}:{key}", key, text, defaults[key])
    missing = [key for key, value in {**defaults, **values}.items() if value is inspect.Parameter.empty]
    if missing:
        raise UserError(f"{kind} {name}", f"no {missing[0]}", "a value for it", f"Write {name}:{missing[0]}=VALUE.")
    return values


def _remedy(key: str, choices: Mapping[str, Any]) -> str:
    return did_you_mean(key, choices) if choices else "It takes no parameters."


def _value(field: str, key: str, text: str, default: Any) -> Any:
    """Read a boolean, a number or, where the default is text, text; and hold it to the parameter's range."""
    value: Any = {"true": True, "false": False}.get(text.lower(), text)
    if value is text:
        value = _number(text)
    if isinstance(default, str):
        return text
    if value is None or (isinstance(value, bool) != isinstance(default, bool) and _typed(default)):
        expected = "true or false" if isinstance(default, bool) else "a number"
        raise UserError(field, text, expected, f"Its default is {_shown(default)}.")
    if isinstance(default, int) and isinstance(value, float):
        raise UserError(field, text, "a whole number", f"Its default is {default}.")
    low, high = _RANGES.get(key, (-math.inf, math.inf))
    if not low <= value <= high:
        expected = f"at least {low}" if high == math.inf else f"a number from {low} to {high}"
        raise UserError(field, text, expected, f"Its default is {_shown(default)}.")
    return value


def _number(text: str) -> int | float | None:
    for read in (int, float):
        try:
            value = read(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else None
    return None


def _typed(default: Any) -> bool:
    return default is not None and default is not inspect.Parameter.empty


def _shown(default: Any) -> str:
    return "not set" if default is inspect.Parameter.empty else str(default)
