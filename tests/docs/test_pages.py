"""What any page shows holds: its commands and options exist, its links lead somewhere, its imports work."""

import importlib
import re
from pathlib import Path

import pytest
from pages import PAGES, ROOT, anchors, blocks, command_lines, quoted, read

from ganprune.cli import main

HELP = {"-h", "--help", "--help-all", "--version"}


def options(*names):
    parameters = [parameter for name in names for parameter in main.commands[name].params]
    return {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)} | HELP


def unknown(words):
    """What a command line names that does not exist: a command, a program or an option, in quotes one of evolve's."""
    program, *rest = [Path(words[0]).name, *words[1:]]
    if program == "ganprune":
        if rest[0].startswith("-"):
            return []
        if rest[0] not in main.commands:
            return rest[:1]
        known = options(rest[0])
    elif program == "python" and rest[0].endswith(".py"):
        if not (ROOT / rest[0]).is_file():
            return rest[:1]
        known = set(re.findall(r'"(--[a-z-]+)"', (ROOT / rest[0]).read_text(encoding="utf-8")))
    else:
        return []
    given = [word for word in rest if re.fullmatch(r"--\S+", word)]
    carried = [part for word in rest if " " in word for part in word.split() if part.startswith("--")]
    return [word for word in given if word not in known] + [
        word for word in carried if word not in options("evolve", "baseline")
    ]


def test_what_does_not_exist_is_found():
    text = "```sh\nganprune evolve --none 3\n```\n`ganprune\nfly`, `python scripts/no.py`, `ganprune compare 'ga --no'`"
    assert [unknown(words) for words in command_lines(text)] == [["--none"], ["fly"], ["scripts/no.py"], ["--no"]]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_exists(page):
    assert {" ".join(words): missing for words in command_lines(read(page)) if (missing := unknown(words))} == {}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    lost = []
    for link in re.findall(r"\]\((?!https?://)([^)\s]+)\)", read(page)):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_the_repository_that_is_named_exists(page):
    named = {
        span for span in quoted(read(page)) if re.fullmatch(r"(ganprune|docs|tests|scripts|examples)/[\w./-]*", span)
    }
    assert {path for path in named if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_import_of_ganprune_works(page):
    for block in blocks(read(page), "python"):
        for module, names in re.findall(r"^\s*from (ganprune[\w.]*) import (.+)$", block, re.MULTILINE):
            for name in names.split(","):
                assert hasattr(importlib.import_module(module), name.strip()), f"{module} has no {name}"
        for name in re.findall(r"\bganprune\.(\w+)\(", block):
            assert hasattr(importlib.import_module("ganprune"), name), name


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_one_title_and_begins_with_text(page):
    lines = [line for line in re.sub(r"^```.*?^```$", "", read(page), flags=re.M | re.S).splitlines() if line]
    assert [line for line in lines if line.startswith("# ")] == lines[:1]
    assert lines[1][0] not in "#|`"


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_the_readme_leads_to_every_page(page):
    assert f"]({page})" in read("README.md")
