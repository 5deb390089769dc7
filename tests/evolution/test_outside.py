"""Adding an algorithm is one file and one row, adding an operator one function and one row.

The strategy tests in test_strategy.py run on the algorithm of outside.py as on the package's own.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from outside import HillClimber, mutDropLast
from toys import OUTSIDE, SIZES, ToySpace, make_strategy, onemax

from ganprune.errors import UserError
from ganprune.evolution import coevolve, make_toolbox, registry


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    for kind, name, entry in OUTSIDE:
        monkeypatch.setitem(registry.REGISTRY[kind], name, entry)


def test_an_algorithms_row_is_all_that_specifications_need():
    for spec in ("climber", "Climber", "hill-climbing"):
        assert registry.resolve("algorithm", spec) == (HillClimber, {}, ())
    assert registry.resolve("algorithm", "climber:fresh=0.5").parameters == {"fresh": 0.5}
    with pytest.raises(UserError, match="Did you mean 'climber'"):
        registry.resolve("algorithm", "climbr")
    with pytest.raises(UserError, match=r"parameter of climber: got frsh.*Did you mean 'fresh'"):
        registry.resolve("algorithm", "climber:frsh=0.5")
    with pytest.raises(UserError, match="fresh: got 2; expected a number of at least 0 and at most 1"):
        make_strategy("climber", fresh=2)


def test_an_operators_row_is_all_that_a_toolbox_needs():
    toolbox = make_toolbox(ToySpace(), onemax, mutate="droplast:times=3")
    assert toolbox.mutate.func is mutDropLast
    assert toolbox.mutate.keywords == {"times": 3, "group_sizes": SIZES}
    assert make_toolbox(ToySpace(), onemax, mutate="mutDropLast").mutate.keywords["times"] == 2
    with pytest.raises(UserError, match="mutDropLast:times: got 9; expected a number from 1 to 8"):
        make_toolbox(ToySpace(), onemax, mutate="mutDropLast:times=9")


def test_both_search_together():
    toolboxes = {side: make_toolbox(ToySpace(), onemax, mutate="mutDropLast") for side in "ab"}
    for toolbox in toolboxes.values():
        make_strategy("climber", fresh=0.5).register(toolbox)
    assert all(sum(elite) == sum(SIZES) for elite in coevolve(toolboxes, generations=100).values())


def test_help_lists_both():
    code = (
        f"import sys; sys.path[:0] = {[str(folder) for folder in Path(__file__).parents[:2]]!r}\n"
        "from toys import OUTSIDE, registry\n"
        "for kind, name, entry in OUTSIDE:\n"
        "    registry.REGISTRY[kind][name] = entry\n"
        "from ganprune.cli import main\n"
        "main(['evolve', '--help-all'])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(name in shown for _, name, _ in OUTSIDE)
