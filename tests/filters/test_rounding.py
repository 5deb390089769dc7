"""Filters in multiples: which numbers a group may keep, and that everything obeys, with a budget too."""

import random

import pytest
from click.testing import CliRunner
from networks import SIZE, random_bits, toy_generator
from toytask import contents, elites, outcome, toy_run

from ganprune.cli import main
from ganprune.commands.evolve import resume
from ganprune.cost.latency_table import grid_axes
from ganprune.errors import UserError
from ganprune.evolution import coevolve, make_toolbox
from ganprune.evolution.individual import Score
from ganprune.evolution.registry import REGISTRY, resolve
from ganprune.filters.repair import allowed, nearest
from ganprune.filters.space import FilterSpace
from ganprune.pipeline.reporter import Reporter

MULTIPLE = 4


@pytest.mark.parametrize(
    ("size", "multiple", "numbers"),
    [
        (16, 4, [4, 8, 12, 16]), (18, 4, [4, 8, 12, 16, 18]), (8, 4, [4, 8]), (7, 4, [1, 2, 3, 4, 5, 6, 7]),
        (1, 4, [1]), (3, 1, [1, 2, 3]), (64, 16, [16, 32, 48, 64]),
    ],
)  # fmt: skip
def test_numbers_by_hand(size, multiple, numbers):
    assert allowed(size, multiple) == numbers
    for count in range(1, size + 1):
        found = nearest(count, size, multiple)
        assert found in numbers and abs(found - count) == min(abs(number - count) for number in numbers)
    assert nearest(6, 16, 4) == 4, "of two the smaller"


@pytest.fixture
def space():
    """Groups of 8, 16, 32 ... filters, rounded to multiples of 4."""
    return FilterSpace(toy_generator(ngf=8), size=SIZE).with_repair(multiple=MULTIPLE)


def counts(space, bits):
    return [sum(part) for part in space.split(bits)]


def obeys(space, bits):
    kept = zip(counts(space, bits), space.group_sizes, strict=True)
    return all(count in allowed(size, space.repair.multiple) for count, size in kept)


def held_to(space, most):
    return space.with_repair(fits=lambda bits: space.parameter_count(bits) <= most)


@pytest.mark.slow
@pytest.mark.parametrize("multiple", [2, 4, 8, 16])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 0.9])
def test_repair_rounds_every_group_and_changes_as_little_as_it_can(multiple, density):
    plain = FilterSpace(toy_generator(ngf=8), size=SIZE)
    space = plain.with_repair(multiple=multiple)
    bits = random_bits(plain, 1, density)
    repaired = space.repair(bits)
    assert obeys(space, repaired) and space.repair(repaired) == repaired
    for before, after, size in zip(space.split(bits), space.split(repaired), space.group_sizes, strict=True):
        assert sum(after) == nearest(int(sum(before)), size, multiple)
        assert (before <= after).all() or (after <= before).all(), "filters are added, or dropped, not both"


def test_the_importance_order_says_which_filters_come_and_go(space):
    space = space.with_repair(order=[place for size in space.group_sizes for place in range(size)])
    assert space.saliency[:4] == (1.0, 0.875, 0.75, 0.625)
    first = [1, 1, 0, 0, 0, 1, 0, 1] + [0] * (len(space) - 8)
    assert space.repair(first)[:8] == first[:8]
    one_more, one_less = [*first[:2], 1, *first[3:]], [0, *first[1:]]
    assert space.repair(one_more)[:8] == [1, 1, 1, 0, 0, 1, 0, 0]
    assert space.repair(one_less)[:8] == [1, 1, 0, 0, 0, 1, 0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [1.3, 2, 4, 8])
def test_a_budget_holds_and_takes_no_more_than_it_must(space, ratio):
    most = space.parameter_count(space.full()) / ratio
    space = held_to(space, most)
    for seed in range(4):
        repaired = space.repair(random_bits(space, seed, 0.95))
        assert obeys(space, repaired) and space.parameter_count(repaired) <= most
        assert space.repair(repaired) == repaired
    repaired = space.repair(space.full())
    wider = []
    for group, (start, size) in enumerate(zip(space.offsets, space.group_sizes, strict=False)):
        missing = [start + i for i in range(size) if not repaired[start + i]][:MULTIPLE]
        wider.append([bit or index in missing for index, bit in enumerate(repaired)] if missing else space.full())
        assert missing or counts(space, repaired)[group] == size
    assert any(space.parameter_count([int(bit) for bit in bits]) > most for bits in wider)


def test_what_fits_goes_on_to_fit_as_a_budget_shrinks(space):
    full, kept = space.parameter_count(space.full()), None
    for ratio in (1.2, 1.5, 2, 3, 5, 8, 12):
        smaller = held_to(space, full / ratio).cut(space.full())
        assert kept is None or all(new <= old for new, old in zip(smaller, kept, strict=True))
        kept = smaller


def test_a_budget_below_one_multiple_per_group_is_refused_whichever_comes_first(space):
    least = space.parameter_count(space.repair.least())
    message = "got less than 4 filters per group; expected a budget that can be met"
    with pytest.raises(UserError, match=message):
        held_to(space, least - 1)
    assert counts(space, held_to(space, least).repair(space.full())) == [MULTIPLE] * len(space.groups)
    tight = held_to(space.with_repair(multiple=1), least - 1)
    with pytest.raises(UserError, match=message):
        tight.with_repair(multiple=4)


@pytest.mark.parametrize("multiple", [0, -4, 17])
def test_multiples_that_no_group_can_keep_are_refused(space, multiple):
    with pytest.raises(UserError, match=f"round to: got {multiple}; expected 1 to 16, half of the widest layer"):
        space.with_repair(multiple=multiple)
    assert space.repair.multiple == MULTIPLE


def test_latencies_are_measured_at_numbers_that_can_be(space):
    for inputs, outputs in grid_axes(space).values():
        for axis in (inputs, outputs):
            assert axis == (3,) or all(channels % MULTIPLE == 0 for channels in axis)
    assert grid_axes(space.with_repair(multiple=1))["model.4"] == ((1, 3, 4, 6, 8), (1, 5, 8, 12, 16))


@pytest.mark.slow
@pytest.mark.parametrize("name", REGISTRY["algorithm"])
def test_every_strategy_obeys(space, name):
    most = space.parameter_count(space.full()) / 2
    space = held_to(space, most)
    toolboxes, reached = {}, []
    for side in ("A2B", "B2A"):
        toolboxes[side] = make_toolbox(space, larger_is_better, init="initUniform:density=0.7")
        resolve("algorithm", name).function(population=6).register(toolboxes[side])
    random.seed(1)
    coevolve(toolboxes, generations=3, seed=3, on_evaluation=lambda side, one: reached.append(list(one)))
    assert len(reached) > 6 and all(obeys(space, bits) for bits in reached)
    assert max(map(space.parameter_count, reached)) <= most


def larger_is_better(individual, partner=None):
    size = sum(individual) / len(individual)
    return Score((1 + size,), {"size": 1.0, "quality": 1 - size})


@pytest.mark.slow
def test_a_run_keeps_multiples_interrupted_or_not(checkpoint, image_folder, tmp_path):
    options = {"round_to": 2, "generations": 1, "finetune_steps": 0, "target_ratio": 2.0}
    whole = toy_run(checkpoint, image_folder, tmp_path / "whole", **options)
    space = FilterSpace(toy_generator(), size=SIZE).with_repair(multiple=2)
    for bits in elites(whole).values():
        assert obeys(space, [int(bit) for bit in bits])
    assert whole.read_json("config.json")["settings"]["budget"]["round_to"] == 2

    def press(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy_run(checkpoint, image_folder, tmp_path / "run", Reporter(search=press), **options)
    assert outcome(resume(tmp_path / "run")) == outcome(whole)


@pytest.mark.slow
def test_mistakes_are_refused_before_anything_is_written(checkpoint, image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["evolve", "--checkpoint", checkpoint, "--data", image_folder, "--size", SIZE, "--out", "new"]
    for value, words in (
        ("0", "round to: got 0; expected 1 or more. Correct --round-to"),
        ("64", "round to: got 64; expected 1 to 8, half of the widest layer's filters"), ("x", "'x' is not a valid"),
    ):  # fmt: skip
        result = CliRunner().invoke(main, [str(part) for part in (*line, "--round-to", value)])
        assert result.exit_code == 2 and words in result.stderr and "Traceback" not in result.output
    tight = ["--round-to", "4", "--target-ratio", "30"]
    result = CliRunner().invoke(main, [str(part) for part in (*line, *tight)])
    assert result.exit_code == 2 and "with 4 filters per group of A2B" in result.stderr
    assert contents(tmp_path) == {}
