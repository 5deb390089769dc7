"""Offspring are new: bits that the run has not scored on that side; and a search that finds nothing new says so."""

import json
import logging

import pytest
from toys import BUDGETS, ChainSpace, agreement, make_side, make_strategy

from ganprune.evolution import Genetic, Individual, Score, coevolve, make_toolbox, registry
from ganprune.evolution.coevolution import EXHAUSTED
from ganprune.runs.directory import RunDirectory

CHAINS = {64: (4, 8, 20, 20, 8, 4), 640: (32, 64, 128, 128, 128, 96, 64), 2944: (64, 128, *[256] * 10, 128, 64)}
KEPT = {"annealing": lambda size: size + 1, "swarm": lambda size: size, "nsga2": lambda size: size,
        "widths": lambda size: size // 4}  # fmt: skip  # known individuals in a batch; the others keep the elite


def narrow_is_better(individual, partner=None):
    """The fewer filters the better, so that a search without a budget converges."""
    size = sum(individual) / len(individual)
    return Score([1 / (0.1 + size)], {"size": size, "quality": 1 - size})


def share_of_new(name, population, bits, budget, generations):
    """The share of a run's offspring whose bits were never scored before on their side."""
    offspring, fresh = 0, 0

    def count(step):
        nonlocal offspring, fresh
        if step.generation:
            offspring += len(step.population) - KEPT.get(name, lambda size: 1)(population)
            fresh += round(step.new * len(step.population))

    sides = {}
    for side in "ab":
        sides[side] = make_toolbox(ChainSpace(CHAINS[bits], budget), narrow_is_better, init="initMixed:low=1,high=1")
        registry.resolve("algorithm", name).function(population=population).register(sides[side])
    coevolve(sides, generations=generations, seed=3, callback=count)
    return fresh / offspring


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", registry.names("algorithm"))
def test_offspring_are_new(name, budget):
    assert share_of_new(name, 8, 64, budget, generations=6) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "population"), [(64, 32), (640, 32), (2944, 8)])
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", registry.names("algorithm"))
def test_offspring_are_new_in_small_and_large_spaces(name, budget, bits, population):
    assert share_of_new(name, population, bits, budget, generations=2) >= 0.9


def test_to_the_letter_algorithm_1_scores_known_individuals_again():
    def share(novel):
        steps = []
        sides = {side: make_side(Genetic(16, novel=novel)) for side in "ab"}
        coevolve(sides, generations=6, seed=1, callback=steps.append)
        return sum(step.new for step in steps) / len(steps)

    assert share(novel=False) < 0.75
    assert share(novel=True) > 0.9


def test_what_is_known_follows_an_interrupted_run(tmp_path):
    """Strategies ask for the same as if nothing had happened: they know no more and no less."""

    class StopError(Exception):
        pass

    def search(run, calls=10**6, **options):
        remaining = iter(range(calls))

        def evaluate(individual, partner=None):
            if next(remaining, None) is None:
                raise StopError
            return agreement(individual, partner)

        sides = {side: make_side(make_strategy("ga", population=6), evaluate) for side in "ab"}
        coevolve(sides, generations=5, seed=4, run=run, **options)
        return RunDirectory.open(run).read_jsonl("evaluations.jsonl")

    whole = search(tmp_path / "whole")
    with pytest.raises(StopError):
        search(tmp_path / "cut", calls=len(whole) // 2)
    assert search(tmp_path / "cut", resume=True) == whole


def test_the_logbook_says_how_much_of_a_step_was_new(tmp_path):
    steps = []
    sides = {side: make_side(Genetic(6)) for side in "ab"}
    coevolve(sides, generations=3, seed=5, run=tmp_path / "run", callback=steps.append)
    log = RunDirectory.open(tmp_path / "run").read_jsonl("logbook.jsonl")
    assert [line["new"] for line in log] == [step.new for step in steps]
    known, before = {"a": set(), "b": set()}, 0
    for step in steps:
        bits = {tuple(individual) for individual in step.population} - known[step.side]
        known[step.side] |= bits
        assert step.new == len(bits) / 6 == (step.evaluations - before) / 6
        before = step.evaluations


class Tiny:
    """Seven individuals."""

    group_sizes, saliency = (3,), (3.0, 2.0, 1.0)

    def repair(self, bits):
        return list(bits) if any(bits) else [1, 0, 0]


def test_a_space_that_has_been_seen_whole_is_no_trap_and_the_run_says_so(tmp_path, caplog):
    sides = {side: make_toolbox(Tiny(), agreement) for side in "ab"}
    for toolbox in sides.values():
        Genetic(4).register(toolbox)
    with caplog.at_level(logging.WARNING):
        elites = coevolve(sides, generations=12, seed=1, run=tmp_path / "run")
    assert elites == {"a": [1, 1, 1], "b": [1, 1, 1]}
    log = RunDirectory.open(tmp_path / "run").read_jsonl("logbook.jsonl")
    assert log[-1]["evaluations"] == 14 and log[-1]["new"] == 0 and log[-1]["note"] == EXHAUSTED
    assert [record.message.count(EXHAUSTED) for record in caplog.records] == [1, 1], "once for each side"


def test_a_plain_deap_loop_has_nobody_who_knows():
    toolbox = make_side(Genetic(4))
    toolbox.register("population", lambda n: [Individual([1] * 12) for _ in range(n)])
    assert toolbox.generate() == [[1] * 12] * 4
    assert json.loads(json.dumps(toolbox.state_dict()))["settings"]["novel"] is True
