"""Specifications as text, ``NAME:KEY=VALUE,...`` or ``package.module:function``: of operators, networks, segmenters."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, get_type_hints

from ganprune.errors import UserError, did_you_mean, reason

HERE = ""  # how sys.path names the current directory


class Range(NamedTuple):
    """The least and the largest number. A function may state it: ``indpb: Annotated[float, Range(0, 1)]``."""

    low: float
    high: float


ANY = Range(-math.inf, math.inf)


def load_function(kind: str, spec: str, target: str) -> Callable[..., Any]:
    """Import what ``target``, a ``package.module:function``, names; ``kind`` and ``spec`` are for the message.

    A module that is not installed is looked for in the current directory.

    Raises:
        UserError: there is no such module, or no such function in it.
    """
    module_name, _, attribute = target.partition(":")
    package = module_name.partition(".")[0]
    try:
        if package not in sys.modules and importlib.util.find_spec(package) is None and HERE not in sys.path:
            sys.path.append(HERE)  # for good, since modules may import their neighbours later
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:
        raise UserError(
            kind, spec, "an importable package.module:function", f"Importing {module_name!r} failed: {reason(error)}."
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        choices = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise UserError(kind, spec, f"a function of {module_name}", did_you_mean(attribute, choices))
    return function


def given_parameters(
    field: str,
    name: str,
    function: Callable[..., Any],
    options: str,
    *,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    ranges: Mapping[str, Range] = MappingProxyType({}),
    hidden: Collection[str] = (),
) -> dict[str, Any]:
    """Parse ``KEY=VALUE,KEY=VALUE`` as arguments of a function, checked against its signature.

    Args:
        field: what the function is for, for the messages.
        name: of the function, for the messages.
        function: whose arguments they are.
        options: the text; may be empty.
        defaults: values that take the place of the function's own defaults.
        ranges: of arguments whose annotations state none (see :class:`Range`).
        hidden: arguments that somebody else gives.

    Returns:
        ``defaults`` with what was given in its place.

    Raises:
        UserError: an unknown argument, a missing one, one out of range, or of another type than its default.
    """
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = {
        argument.name: argument.default
        for argument in inspect.signature(function).parameters.values()
        if argument.kind in named and argument.name not in hidden and not inspect.isroutine(argument.default)
    }
    known.update(defaults)
    limits = {**_stated_ranges(function), **ranges}
    values = dict(defaults)
    for option in filter(None, (part.strip() for part in options.split(","))):
        key, equals, text = (part.strip() for part in option.partition("="))
        if not equals:
            raise UserError(f"{field} {name}", option, "KEY=VALUE", _remedy(option, known))
        if key not in known:
            raise UserError(f"parameter of {name}", key, "one that it takes", _remedy(key, known))
        values[key] = _value(f"{name}:{key}", text, known[key], limits.get(key, ANY))
    missing = [key for key, value in {**known, **values}.items() if value is inspect.Parameter.empty]
    if missing:
        raise UserError(f"{field} {name}", f"no {missing[0]}", "a value for it", f"Write {name}:{missing[0]}=VALUE.")
    return values


def _stated_ranges(function: Callable[..., Any]) -> dict[str, Range]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception:  # text of any kind, names that only a type checker can resolve, or no annotations
        return {}
    found = ((name, part) for name, hint in hints.items() for part in getattr(hint, "__metadata__", ()))
    return {name: part for name, part in found if isinstance(part, Range)}


def _remedy(key: str, choices: Mapping[str, Any]) -> str:
    return did_you_mean(key, choices) if choices else "It takes no parameters."


def _value(field: str, text: str, default: Any, limits: Range) -> Any:
    """Read a boolean, a number or, where the default is text, text; and check that a number is within the limits."""
    if isinstance(default, str):
        return text
    value: Any = {"true": True, "false": False}.get(text.lower(), _number(text))
    typed = default is not None and default is not inspect.Parameter.empty
    low, high = limits
    if value is None or (typed and isinstance(value, bool) != isinstance(default, bool)):
        expected = "true or false" if isinstance(default, bool) else "a number"
    elif isinstance(default, int) and isinstance(value, float):
        expected = "a whole number"
    elif not low <= value <= high:
        expected = f"at least {low}" if high == math.inf else f"a number from {low} to {high}"
    else:
        return value
    shown = "not set" if default is inspect.Parameter.empty else default
    raise UserError(field, text, expected, f"Its default is {shown}.")


def _number(text: str) -> int | float | None:
    for read in (int, float):
        try:
            value = read(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else None
    return None
