"""Help for people: the common options under headings, all of them by --help-all."""

import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from ganprune.cli import main

FOLDED = ("evolve", "baseline", "compare", "pretrain")


def shown(command, option):
    result = CliRunner().invoke(main, [command, option], terminal_width=110)
    assert result.exit_code == 0
    return result.output


def listed(text):
    return set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))


@pytest.mark.parametrize("command", FOLDED)
def test_help_shows_a_part_of_what_help_all_shows(command):
    common, everything = listed(shown(command, "--help")), listed(shown(command, "--help-all"))
    options = [p for p in main.commands[command].params if isinstance(p, click.Option)]
    assert everything == {option.opts[0] for option in options} | {"--help"}
    assert common < everything and {"--out", "--device", "--help-all"} <= common


def test_evolve_shows_about_twenty_options_under_headings():
    text = shown("evolve", "--help")
    assert 18 <= len(listed(text)) <= 26
    headings = re.findall(r"^([A-Z][^\n]*):$", text, re.MULTILINE)
    assert headings == ["Input", "Size of the result", "Search", "Fine-tuning and figures", "Machine", "Options"]


@pytest.mark.parametrize("command", [name for name in main.commands if name not in FOLDED])
def test_other_commands_show_all(command):
    options = [p for p in main.commands[command].params if isinstance(p, click.Option)]
    assert listed(shown(command, "--help")) == {option.opts[0] for option in options} | {"--help"}


def test_an_option_that_only_help_all_lists_works_all_the_same():
    result = CliRunner().invoke(main, ["evolve", "--lam", "-1"])
    assert result.exit_code == 2 and "lam: got -1.0; expected 0 or more" in result.output


def test_the_names_that_people_type_are_understood():
    for text in ("sa", "pso", "SA/pso"):
        result = CliRunner().invoke(
            main, ["evolve", "--algorithm", text, "--max-evaluations", "1", "--data", "nowhere"]
        )
        assert result.exit_code == 2 and "algorithm" not in result.output


def test_the_module_answers_as_the_command_does():
    command = [sys.executable, "-m", "ganprune.cli", "evolve", "--help-all"]
    assert "--width-slope" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
