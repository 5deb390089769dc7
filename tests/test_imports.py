"""Importing the package and asking for help load nothing heavy; what is installed with it is used."""

import ast
import configparser
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ganprune
from ganprune.cli import main

HEAVY = ("torch", "torchvision", "numpy", "deap")


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_loads_nothing_heavy():
    assert run(f"import sys, ganprune; dir(ganprune); print([n for n in {HEAVY} if n in sys.modules])").strip() == "[]"


def test_help_of_every_command_loads_nothing_heavy():
    commands = list(main.commands)
    assert "pretrain" in commands
    code = f"""
import sys
from click.testing import CliRunner
from ganprune.cli import main
for arguments in [["--help"], ["--version"], *([name, "--help"] for name in {commands})]:
    result = CliRunner().invoke(main, arguments)
    print(arguments[0], result.exit_code, [name for name in {HEAVY} if name in sys.modules])
"""
    assert run(code).splitlines() == [f"{name} 0 []" for name in ("--help", "--version", *commands)]


def test_the_module_itself_answers_help():
    command = [sys.executable, "-m", "ganprune.cli", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(name in shown for name in main.commands)


def test_what_would_be_heavy_is_told_apart():
    found = run(f"import sys, ganprune.evolution.coevolution; print([n for n in {HEAVY} if n in sys.modules])").strip()
    assert found == "['numpy', 'deap']"


def test_public_names_are_listed_and_imported_on_first_use():
    from ganprune.filters.space import FilterSpace

    assert ganprune.FilterSpace is FilterSpace
    assert {"FilterSpace", "coevolve", "load_generator", "__version__"} <= set(dir(ganprune))
    with pytest.raises(AttributeError, match="module 'ganprune' has no attribute 'FilterSpaces'"):
        ganprune.FilterSpaces  # noqa: B018


@pytest.mark.slow
def test_commands_load_torchvision_only_where_they_need_it():
    code = "import sys, ganprune.commands.evolve, ganprune.commands.translate; print('torchvision' in sys.modules)"
    assert run(code).strip() == "False"


def imported(path):
    """The first parts of the names of all modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.slow
def test_every_dependency_is_imported():
    setup = configparser.ConfigParser()
    setup.read(Path(ganprune.__file__).parents[1] / "setup.cfg")
    required = [re.match(r"[\w-]+", line)[0] for line in setup["options"]["install_requires"].split()]
    used = {module for path in Path(ganprune.__file__).parent.rglob("*.py") for module in imported(path)}
    provided = importlib.metadata.packages_distributions()
    names = {name.lower().replace("_", "-") for module in used for name in provided.get(module, [])}
    assert len(required) > 8 and set(required) - names == set()
