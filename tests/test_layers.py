"""The one-way rule: a module imports only from its own room or from rooms above it, in functions too."""

import ast
from pathlib import Path

import pytest

import ganprune

ROOMS = [
    "errors", "specs", "runs", "data", "memory", "device", "evolution", "settings", "assets", "models", "filters",
    "cost", "losses", "training", "parallel", "fitness", "baselines", "metrics", "deploy", "report", "pipeline",
    "commands", "compare", "bench", "cli",
]  # fmt: skip
PACKAGE = Path(ganprune.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def room(parts):
    """The room of a module given by the parts of its path after ``ganprune``."""
    return parts[0]


def imported(tree, package):
    """Yield, for every import in a file, the parts of what it imports from ganprune; () is the package itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (["ganprune", *package][: len(package) + 2 - node.level] if node.level else []) + (
                node.module.split(".") if node.module else []
            )
            targets = [[*base, alias.name] for alias in node.names] if base == ["ganprune"] else [base]
        else:
            continue
        for target in targets:
            if target[0] == "ganprune":
                yield tuple(target[1:])


def rooms_of(text, package=()):
    return [room(parts) for parts in imported(ast.parse(text), package) if parts and parts[0] != "__version__"]


def modules_of(text, module):
    """The modules of ganprune, as paths, that a module imports anywhere in its text; its own package does not count."""
    package = module.removesuffix(".py").split("/")[:-1]
    found = set()
    for node in ast.walk(ast.parse(text)):
        for parts in imported(node, package) if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
            names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
            found |= {"/".join([*parts, name]) + ".py" for name in names}
            found |= {"/".join(parts) + ".py", "/".join([*parts, "__init__"]) + ".py"}
    return {name for name in found if name in MODULES and name != module and not name.endswith("__init__.py")}


def circles(arrows):
    """The modules from which a way leads back to themselves, sorted."""

    def reached(start):
        seen, waiting = set(), [start]
        while waiting:
            new = arrows.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        return seen

    return sorted(module for module in arrows if module in reached(module))


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__.py"])
def test_a_module_imports_only_from_its_own_room_or_above(module):
    parts = module.removesuffix(".py").split("/")
    own = room(parts)
    assert own in ROOMS, f"{own} has no place in the order of rooms"
    for other in rooms_of((PACKAGE / module).read_text(encoding="utf-8"), parts[:-1]):
        assert other in ROOMS, f"{module} imports {other}, which has no place in the order of rooms"
        assert ROOMS.index(other) <= ROOMS.index(own), f"{module} imports {other}, a room below its own"


def test_no_modules_import_each_other_in_a_circle():
    arrows = {module: modules_of((PACKAGE / module).read_text(encoding="utf-8"), module) for module in MODULES}
    assert circles(arrows) == []


def test_a_circle_inside_a_room_is_found():
    arrows = {"filters/a.py": {"filters/b.py"}, "filters/b.py": {"filters/c.py"}, "filters/c.py": {"filters/a.py"}}
    assert circles({**arrows, "filters/d.py": {"filters/a.py"}}) == ["filters/a.py", "filters/b.py", "filters/c.py"]


def test_few_modules_are_loose():
    loose = [name for name in MODULES if "/" not in name and name != "__init__.py"]
    assert len(loose) <= 6, loose


def test_the_package_itself_imports_no_room():
    assert rooms_of((PACKAGE / "__init__.py").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "rooms"),
    [
        ("import ganprune.cli", ["cli"]),
        ("import ganprune.filters.space as space, torch", ["filters"]),
        ("from ganprune import __version__, pipeline", ["pipeline"]),
        ("from ganprune.models.checkpoint import Side", ["models"]),
        ("def f():\n    from ganprune.report import figures", ["report"]),
        ("if TYPE_CHECKING:\n    from ganprune.fitness import CycleFitness", ["fitness"]),
        ("from .space import FilterSpace", ["filters"]),
        ("from ..training import CycleGANTrainer", ["training"]),
        ("from .. import data", ["data"]),
        ("from . import groups", ["filters"]),
        ("import torch\nfrom os import path", []),
    ],
)
def test_every_form_of_import_is_seen(text, rooms):
    assert rooms_of(text, ["filters"]) == rooms


def test_every_room_is_a_package():
    folders = {(PACKAGE / module).parent for module in MODULES}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_modules_are_found():
    assert {"cli/group.py", "filters/space.py", "evolution/coevolution.py"} <= set(MODULES)
