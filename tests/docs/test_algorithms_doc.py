"""docs/algorithms.md and docs/paper.md say what the code does: every name, parameter and function exists."""

import importlib
import inspect
import re

import pytest
from pages import read
from toys import agreement, make_side, make_strategy, score

import ganprune
import ganprune.evolution
from ganprune.baselines.registry import BASELINES
from ganprune.cli import main
from ganprune.evolution import registry

TEXT = read("docs/algorithms.md")
BOTH = TEXT + read("docs/paper.md")
OPERATORS = [(kind, name) for kind, table in registry.REGISTRY.items() if kind != "algorithm" for name in table]
FROM_DEAP = ("fit_attr",)  # parameters that no one sets


def section(title):
    """The text under a heading, up to the next one of its level or above."""
    level = title.split(" ")[0]
    body = TEXT.split(f"\n{title}", 1)[1]
    return re.split(rf"\n#{{1,{len(level)}}} ", body, maxsplit=1)[0]


def rows(text):
    """The cells of each table row."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def parameters(kind, name):
    """What a registered name takes, as text, with its defaults; neither what DEAP nor the filter space gives it."""
    entry = registry.REGISTRY[kind][name]
    operator = registry.resolve(kind, name)
    arguments = list(inspect.signature(operator.function).parameters.values())[registry.KINDS[kind].positional :]
    own = {a.name: a.default for a in arguments if a.name not in (*operator.needs, *FROM_DEAP)}
    return {key: getattr(value, "__name__", str(value)) for key, value in {**own, **entry.defaults}.items()}


def test_the_table_of_operators_names_those_registered_and_no_others():
    kinds, found = {f"**`--{kind}`**": kind for kind in registry.REGISTRY}, []
    for first, *_ in rows(section("## The operators"))[2:]:
        if first in kinds:
            kind = kinds[first]
        else:
            found.append((kind, first.strip("`")))
    assert found == OPERATORS


@pytest.mark.parametrize(("kind", "name"), OPERATORS)
def test_the_table_of_operators_has_their_parameters(kind, name):
    (row,) = [row for row in rows(section("## The operators")) if row[0] == f"`{name}`"]
    assert dict(re.findall(r"`(\w+)=([^`]+)`", row[3])) == parameters(kind, name)
    assert row[1] and row[2]


def test_the_table_of_baselines_names_those_registered_with_their_widths():
    table = rows(section("## Baselines"))[2:]
    assert {row[0].strip("`"): row[2] for row in table} == {name: entry.width for name, entry in BASELINES.items()}
    assert all(len(row) == 4 and all(row) for row in table)


def test_every_algorithm_has_a_section():
    assert re.findall(r"^### (\w+): ", section("## The search algorithms"), re.MULTILINE) == [
        "ga", "annealing", "swarm", "nsga2", "umda", "widths", "random",
    ]  # fmt: skip
    assert set(re.findall(r"^### (\w+): ", TEXT, re.MULTILINE)) == set(registry.REGISTRY["algorithm"])


@pytest.mark.parametrize("name", registry.REGISTRY["algorithm"])
def test_a_sections_parameters_are_the_algorithms(name):
    table = rows(section(f"### {name}: "))
    assert {row[0].strip("`"): row[1] for row in table[2:]} == parameters("algorithm", name)


@pytest.mark.parametrize("name", registry.REGISTRY["algorithm"])
def test_a_sections_batch_is_as_large_as_it_says(name):
    said = re.search(r"\*\*Batch\*\*, ([^:]+):", section(f"### {name}: "))[1]
    toolbox = make_side(make_strategy(name, population=4), agreement)
    first = score(toolbox, toolbox.generate())
    toolbox.update(first)
    assert len(first) == 4
    assert len(toolbox.generate()) == {"K": 4, "2 K": 8, "2 K + 1": 9}[said]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(?:ganprune\.)?([a-zA-Z_]\w*(?:\.\w+)+)(?:\(\))?`", BOTH))))
def test_every_name_with_a_dot_exists(name):
    first, *rest = name.split(".")
    if first in ("toolbox", "state", "random") or rest[-1] in ("json", "jsonl", "png", "md"):
        return  # an object of the main loop, Python's own module, or a file
    if first[0].isupper():
        classes = {"FilterSpace": ganprune.FilterSpace, "CycleFitness": ganprune.CycleFitness}
        found = classes[first] if first in classes else getattr(ganprune.evolution, first)
    else:
        found = importlib.import_module(f"ganprune.{first}")
    for part in rest:
        if inspect.ismodule(found) and not hasattr(found, part):
            found = importlib.import_module(f"{found.__name__}.{part}")
        else:
            found = getattr(found, part)


def test_every_option_exists():
    commands = main.commands["evolve"], main.commands["baseline"]
    known = {option for command in commands for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"`(--[a-z-]+)", BOTH))
    assert named
    assert named - known == set()
