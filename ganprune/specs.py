"""Specifications as text, ``NAME:KEY=VALUE,...`` or ``package.module:function``: of operators, networks, segmenters."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ganprune.errors import UserError, did_you_mean

HERE = ""  # how sys.path names the current directory


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
