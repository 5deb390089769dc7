"""What README.md and docs/usage.md show can be pasted: their Python runs, their options exist."""

import re

import pytest
import torch
from pages import blocks, read
from test_layers import ROOMS

from ganprune.cli import main


@pytest.mark.slow
def test_the_generator_of_a_run_is_loaded_as_the_readme_says(run, tmp_path, monkeypatch):
    (code,) = blocks(read("README.md"), "python")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "evolve-001").symlink_to(run.directory)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    generator = names["generator"]
    assert isinstance(generator, torch.nn.Module) and not any(p.requires_grad for p in generator.parameters())
    result = generator(torch.zeros(2, 3, 16, 16))
    assert result.shape == (2, 3, 16, 16) and result.abs().max() <= 1


def test_the_python_example_runs(tmp_path, image_folder, cyclegan, monkeypatch):
    (code,) = blocks(read("docs/usage.md"), "python")
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


@pytest.mark.parametrize("title", ["The size and speed of the result", "The search", "The input"])
def test_every_option_named_by_purpose_belongs_to_evolve(title):
    known = {name for parameter in main.commands["evolve"].params for name in parameter.opts}
    table = read("docs/usage.md").split(f"### {title}\n")[1].split("\n#")[0]
    named = set(re.findall(r"--[a-z][a-z-]+", table))
    assert named and named - known == set()


def test_every_option_of_pick_exists():
    known = {name for parameter in main.commands["pick"].params for name in parameter.opts}
    table = read("docs/usage.md").split("| `ganprune pick RUN` with |")[1].split("\n\n")[0]
    named = set(re.findall(r"--[a-z][a-z-]+", table))
    assert named and named - known == set()


def test_contributing_has_every_room_in_the_order_of_imports():
    table = read("CONTRIBUTING.md").split("| room | subject |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == ROOMS
