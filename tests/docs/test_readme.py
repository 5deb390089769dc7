"""What the README shows can be pasted: its Python runs, its commands and options exist."""

import re
import shlex
from pathlib import Path

import pytest

from ganprune.cli import main

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def commands():
    """Every ``ganprune ...`` in a code block or in code quotes."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    quoted = re.findall(r"`(ganprune [^`]+)`", README)
    lines = [line for block in blocks for line in block.splitlines()] + quoted
    return sorted({line[line.index("ganprune ") :] for line in lines if "ganprune " in line})


@pytest.mark.parametrize("line", commands())
def test_every_command_and_option_exists(line):
    words = shlex.split(line)[1:]
    command = main.commands[words[0]]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert [word for word in words[1:] if word.startswith("--") and word not in {*known, "--help"}] == []


def test_every_option_named_alone_belongs_to_evolve():
    known = {name for parameter in main.commands["evolve"].params for name in parameter.opts}
    table = re.findall(r"\| [^|\n]+ \| (`--[^|\n]+) \|", README)
    named = {word for cell in table for word in re.findall(r"--[a-z-]+", cell)}
    assert named
    assert named - known - {"--json", "--out"} == set()


def test_the_python_example_runs(tmp_path, image_folder, cyclegan, monkeypatch):
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "coevolve(" in block)
    code = code.replace("size=256", "size=16").replace("generations=100", "generations=1").replace("=32", "=2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "horse2zebra").symlink_to(image_folder)
    from ganprune import save_cyclegan

    save_cyclegan(cyclegan, tmp_path / "checkpoints" / "horse2zebra")
    names = {}
    exec(code, names)
    assert set(names["elites"]) == {"A2B", "B2A"}
    assert (tmp_path / "runs" / "h2z" / "evaluations.jsonl").is_file()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_every_link_inside_the_repository_leads_somewhere(link):
    assert (Path(__file__).parents[2] / link).exists()
