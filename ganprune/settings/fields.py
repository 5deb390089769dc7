"""One field of a settings dataclass says all there is to a setting: default, help, what it may be, where it counts.

The command line and its help, the check of values, a run's JSON, what may be raised when a run is resumed, and what the
contenders of a comparison share are all read from the fields.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from functools import reduce
from numbers import Integral, Real
from typing import Any, ClassVar, TypeVar

from ganprune.errors import UserError, did_you_mean

KINDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a setting beside its type and its default.

    Attributes:
        help: one line for ``--help``; None where the command line has no such option.
        option: its name there and in presets, with underscores; None for the field's own.
        choices: the texts that it may be.
        low, high: the least and the greatest number that it may be.
        above: the number that it has to be above.
        common: whether ``--help`` shows it, and not only ``--help-all``.
        may_grow: whether it may be raised when a run is resumed.
        shared: whether it is the same for all contenders of a comparison.
        searches: whether it says how to search: it means nothing where a criterion chooses the filters.
        added: whether there are runs of before it; their files lack it, and mean its default.
    """

    help: str | None = None
    option: str | None = None
    choices: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    common: bool = False
    may_grow: bool = False
    shared: bool = False
    searches: bool = False
    added: bool = False


def setting(default: Any, help: str | None = None, **facts: Any) -> Any:
    """Return a dataclass field with these :class:`Facts`."""
    return field(default=default, metadata={"facts": Facts(help=help, **facts)})


def part(default: Any, heading: str) -> Any:
    """Return a dataclass field that holds further settings.

    Args:
        default: an instance of their dataclass.
        heading: what their options stand under in ``--help``.
    """
    return field(default=default, metadata={"heading": heading})


@dataclass(frozen=True)
class Setting:
    """A setting as the command line sees it: one among all those of nested dataclasses.

    Attributes:
        name: of its option, with underscores.
        path: the field names that lead to it from the outermost dataclass.
        kind: "str", "int", "float" or "bool".
        default: its value where nothing else is said.
        heading: what its option stands under in ``--help``.
        facts: all else.
    """

    name: str
    path: tuple[str, ...]
    kind: str
    default: Any
    heading: str
    facts: Facts


def settings_in(cls: Any, heading: str = "Options", path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Yield the settings of a dataclass and of those nested in it, in the order of their fields."""
    for each in fields(cls):
        if "heading" in each.metadata:
            yield from settings_in(type(each.default), each.metadata["heading"], (*path, each.name))
        elif "facts" in each.metadata:
            facts = each.metadata["facts"]
            kind = min(_kinds(each) - {"None"})
            yield Setting(facts.option or each.name, (*path, each.name), kind, each.default, heading, facts)


class Settings:
    """Base of settings dataclasses: every value is checked against its field.

    Attributes:
        whose: what stands before the names of the fields in messages, where these are no options.

    Raises:
        UserError: a value of another type (settings may come from a file that somebody has edited), or outside of what
            its field allows.
    """

    whose: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for each in fields(self):  # type: ignore[arg-type]
            if "facts" in each.metadata:
                _check(each, getattr(self, each.name), self.whose)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON data, nested as the dataclasses are."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


Some = TypeVar("Some", bound=Settings)


def from_json(cls: type[Some], data: Mapping[str, Any]) -> Some:
    """Return the settings that :meth:`Settings.to_json` wrote.

    Raises:
        TypeError, ValueError: names are missing or unknown.
        UserError: a value can't be.
    """
    names = {each.name: each for each in fields(cls)}  # type: ignore[arg-type]
    data = completed(cls, data)
    if data.keys() != names.keys():
        odd = min(data.keys() - names.keys() or names.keys() - data.keys())
        raise TypeError(f"{'unknown' if odd in data else 'missing'}: {odd}")
    values = dict(data)
    for name, each in names.items():
        if "heading" in each.metadata:
            inner: Any = type(each.default)
            values[name] = from_json(inner, dict(data[name]))
    return cls(**values)


def completed(cls: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file holds of settings, those that were added since at their defaults."""
    values = dict(data)
    for each in fields(cls):
        inner = values.get(each.name)
        if "heading" in each.metadata and isinstance(inner, Mapping):
            values[each.name] = completed(type(each.default), inner)
        elif "facts" in each.metadata and each.metadata["facts"].added:
            values.setdefault(each.name, each.default)
    return values


def flat(settings: Any) -> dict[str, Any]:
    """Return all values by the names of their options."""
    return {each.name: reduce(getattr, each.path, settings) for each in settings_in(type(settings))}


def changed(settings: Some, **values: Any) -> Some:
    """Return settings with these values, by the names of their options, in their places.

    Raises:
        UserError: an unknown name, or a value that can't be.
    """
    known = {each.name: each.path for each in settings_in(type(settings))}
    for name, value in values.items():
        if name not in known:
            raise UserError("option", name, "a setting of a run", did_you_mean(name, known))
        settings = _put(settings, known[name], value)
    return settings


def _put(settings: Any, path: tuple[str, ...], value: Any) -> Any:
    name, *rest = path
    return replace(settings, **{name: _put(getattr(settings, name), tuple(rest), value) if rest else value})


def _kinds(each: Field[Any]) -> set[str]:
    written = each.type.__name__ if isinstance(each.type, type) else str(each.type)
    return set(written.split(" | "))


def _check(each: Field[Any], value: Any, whose: str) -> None:
    facts, kinds, kind = each.metadata["facts"], _kinds(each), _kind(value)
    if (value is None and "None" in kinds) or value in facts.choices:
        return
    name, expected = facts.option or each.name, None
    if facts.choices:
        expected = f"{', '.join(facts.choices[:-1])} or {facts.choices[-1]}"
    elif kind not in kinds and not (kind == "int" and "float" in kinds):
        expected = KINDS[min(kinds - {"None"})]
    elif kind in ("int", "float") and not (facts.low <= value <= facts.high and facts.above < value < math.inf):
        expected = _range(facts, "float" if "float" in kinds else "int")
    if expected:
        remedy = f"Correct the {whose}." if whose else f"Correct --{name.replace('_', '-')}."
        remedy = did_you_mean(value, facts.choices) if facts.choices and kind == "str" else remedy
        raise UserError(f"{whose} {name}".strip().replace("_", " "), value, expected, remedy)


def _kind(value: Any) -> str:
    """Return the name of a value's type; NumPy's numbers count as Python's."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return type(value).__name__
    return "int" if isinstance(value, Integral) else "float"


def _range(facts: Facts, kind: str) -> str:
    if facts.above > -math.inf:
        return f"a number above {facts.above:g}" + (f" and at most {facts.high:g}" if facts.high < math.inf else "")
    if facts.high < math.inf:
        return f"{KINDS[kind]} from {facts.low:.10g} to {facts.high:.10g}"
    return f"{facts.low:g} or more" if facts.low > -math.inf else "a finite number"
