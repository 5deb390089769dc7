"""Importing the package and asking for help load nothing heavy."""

import subprocess
import sys

import pytest

import ganprune
from ganprune.cli import main

HEAVY = ("torch", "numpy", "deap")


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
    found = run(f"import sys, ganprune.evolution.toolbox; print([n for n in {HEAVY} if n in sys.modules])").strip()
    assert found == "['numpy', 'deap']"


def test_public_names_are_listed_and_imported_on_first_use():
    from ganprune.filters.space import FilterSpace

    assert ganprune.FilterSpace is FilterSpace
    assert {"FilterSpace", "coevolve", "load_generator", "__version__"} <= set(dir(ganprune))
    with pytest.raises(AttributeError, match="module 'ganprune' has no attribute 'FilterSpaces'"):
        ganprune.FilterSpaces  # noqa: B018
