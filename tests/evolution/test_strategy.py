"""Individuals, toolboxes and strategies, on bits alone."""

import copy
import inspect
import json
import pickle
import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from deap import algorithms, tools
from toys import (
    OUTSIDE,
    SIZES,
    ChainSpace,
    ToySpace,
    agreement,
    make_side,
    make_strategy,
    onemax,
    repaired,
    score,
    to_text,
)

from ganprune import evolution
from ganprune.errors import UserError
from ganprune.evolution import Genetic, Individual, Score, coevolve, make_toolbox, registry
from ganprune.evolution.individual import pack_bits, unpack_bits


@pytest.fixture(params=[*registry.names("algorithm"), "climber"])
def make(request, monkeypatch):
    """Make a strategy of each algorithm: of every row of the registry, and of a row added from outside."""
    for kind, name, entry in OUTSIDE:
        monkeypatch.setitem(registry.REGISTRY[kind], name, entry)
    return partial(make_strategy, request.param)


def test_individual_keeps_bits_and_record():
    individual = Individual(np.array([0, 1, 1, 0, True]))
    assert individual == [0, 1, 1, 0, 1]
    assert all(type(bit) is int for bit in individual)
    individual.fitness.values, individual.terms = (0.1 + 0.2,), {"n": 1 / 3}
    twin = Individual.from_record(json.loads(json.dumps(individual.record())))
    assert (twin, twin.fitness.values, twin.terms) == (
        individual,
        individual.fitness.values,
        individual.terms,
    )
    with pytest.raises(ValueError, match=r"got \[2\]; expected 0 or 1 only"):
        Individual([0, 2])


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda individual: pickle.loads(pickle.dumps(individual))])
def test_copies_of_an_individual_share_nothing(duplicate):
    individual = Individual([1, 0, 1])
    individual.fitness.values, individual.terms, individual.velocity = (2.5,), {"n": 1.0}, [0.1]
    twin = duplicate(individual)
    assert (twin, twin.fitness.values, twin.terms, twin.velocity) == ([1, 0, 1], (2.5,), {"n": 1.0}, [0.1])
    assert type(twin) is Individual
    twin[0], twin.terms["n"], twin.velocity[0] = 0, 9.0, 9.0
    del twin.fitness.values
    assert (individual, individual.fitness.values) == ([1, 0, 1], (2.5,))
    assert (individual.terms, individual.velocity) == ({"n": 1.0}, [0.1])


def test_bits_pack_into_text_and_back():
    assert pack_bits([0, 1, 1, 0, 1]) == "5:0d"
    random.seed(0)
    for length in range(40):
        bits = [random.randint(0, 1) for _ in range(length)]
        assert unpack_bits(pack_bits(bits)) == bits
    for text in ("0110", "3:0f"):
        with pytest.raises(ValueError, match="bits: got"):
            unpack_bits(text)


def test_score_is_a_tuple_that_pickles_with_its_terms():
    score = Score([np.float32(0.5)], {"n": 0.25, "l_cyc": float("inf")})
    twin = pickle.loads(pickle.dumps(score))
    assert score == twin == (0.5,)
    assert score.terms == twin.terms == {"n": 0.25}
    assert copy.deepcopy(score).terms == {"n": 0.25}


def test_package_lists_and_loads_its_names():
    assert set(evolution.__all__) <= set(dir(evolution))
    assert all(getattr(evolution, name) is not None for name in evolution.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = evolution.no_such_name


def test_importing_and_running_leaves_torch_out():
    code = (
        f"import sys; sys.path[:0] = {[str(folder) for folder in Path(__file__).parents[:2]]!r}\n"
        "from toys import make_side, make_strategy, registry\n"
        "from ganprune.evolution import coevolve\n"
        "for name in registry.names('algorithm'):\n"
        "    coevolve({side: make_side(make_strategy(name)) for side in 'ab'}, generations=2)\n"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_toolbox_makes_repaired_individuals_with_every_initialiser():
    random.seed(1)
    for init in registry.names("init"):
        toolbox = make_toolbox(ToySpace(), onemax, init=init)
        population = toolbox.population(n=20)
        assert all(type(individual) is Individual and repaired(individual) for individual in population)
        assert not any(individual.fitness.valid for individual in population)
    empty = make_toolbox(ToySpace(), onemax, init="initUniform:density=0")
    assert sum(empty.individual()) == len(SIZES)


def test_every_registered_operator_works_on_a_toolbox():
    random.seed(2)
    for kind, arguments in (("select", 2), ("mate", 2), ("mutate", 1)):
        for name in registry.names(kind):
            toolbox = make_toolbox(ToySpace(), onemax, **{kind: name})
            parents = toolbox.population(n=4)
            for parent in parents:
                parent.fitness.values = onemax(parent)
            if kind == "select":
                assert all(any(chosen is parent for parent in parents) for chosen in toolbox.select(parents, 2))
            else:
                children = getattr(toolbox, kind)(*parents[:arguments])
                assert [len(child) for child in children] == [sum(SIZES)] * arguments
                assert all(set(child) <= {0, 1} for child in children)


def test_toolbox_takes_functions_and_binds_what_they_ask_of_the_space():
    def mutate(individual, group_sizes, saliency, marker=7):
        return (individual, list(group_sizes), list(saliency), marker)

    toolbox = make_toolbox(ToySpace(), onemax, mutate=mutate, mate=partial(tools.cxUniform, indpb=1.0))
    assert toolbox.mutate(Individual([1]))[1:] == (list(SIZES), list(ToySpace.saliency), 7)
    assert toolbox.mate(Individual([0, 0]), Individual([1, 1])) == ([1, 1], [0, 0])


def test_a_space_may_fill_its_budget_up_and_cut_first_individuals_to_it():
    class Bounded(ToySpace):
        def fill(self, bits):
            return ["filled", *bits]

        def cut(self, bits):
            return [1] * 11 + [0]

    def mutate(individual, fill):
        return fill(individual)

    assert make_toolbox(Bounded(), onemax, mutate=mutate).mutate([0, 1]) == ["filled", 0, 1]
    assert sum(make_toolbox(Bounded(), onemax).individual()) == 11
    plain = make_toolbox(ToySpace(), onemax, mutate=mutate)
    assert plain.mutate([0] * sum(SIZES)) == ToySpace().repair([0] * sum(SIZES)), "repair, where there is no more"


def test_toolbox_does_not_pickle_a_fitness_object_twice():
    class Heavy:
        def __init__(self):
            self.payload = object()

        def __call__(self, individual, partner=None):
            return onemax(individual, partner)

    toolbox = make_toolbox(ToySpace(), Heavy())
    assert "payload" not in vars(toolbox.evaluate)
    assert toolbox.evaluate(Individual([1, 1])) == onemax([1, 1])


def test_toolbox_refuses_a_space_that_contradicts_itself():
    class Short(ToySpace):
        saliency = (1.0, 2.0)

    class Empty(ToySpace):
        group_sizes = (3, 0)

    with pytest.raises(UserError, match=f"got 2 numbers; expected one per bit, {sum(SIZES)}"):
        make_toolbox(Short(), onemax)
    with pytest.raises(UserError, match="groups of at least 1 filter"):
        make_toolbox(Empty(), onemax)
    with pytest.raises(UserError, match="Did you mean 'cxGroup'"):
        make_toolbox(ToySpace(), onemax, mate="cxGruop")


def test_a_plain_deap_loop_can_use_the_toolbox():
    random.seed(3)
    toolbox = make_toolbox(ToySpace(), onemax)
    population, _ = algorithms.eaSimple(toolbox.population(n=20), toolbox, 0.6, 0.5, 20, verbose=False)
    assert max(individual.fitness.values[0] for individual in population) >= 0.9


def test_operators_of_widths_leave_nothing_to_repair_in_a_plain_deap_loop():
    random.seed(3)
    space = ChainSpace((8, 32, 64, 32, 8), "both")
    toolbox = make_toolbox(space, onemax, mate="cxBlendWidths", mutate="mutTradeWidths", init="initProfile")
    population = toolbox.population(n=8)
    before = {tuple(individual) for individual in population}
    algorithms.eaSimple(population, toolbox, 0.6, 0.5, 5, verbose=False)  # in place
    assert all(space.repair(individual) == individual == space.fill(individual) for individual in population)
    assert {tuple(individual) for individual in population} - before


def test_a_plain_ask_and_tell_loop_can_use_the_strategy():
    random.seed(4)
    toolbox = make_side(Genetic(20), evaluate=onemax)
    population, _ = algorithms.eaGenerateUpdate(toolbox, 25, verbose=False)
    assert max(individual.fitness.values[0] for individual in population) >= 0.95


def evaluated(toolbox, batch, fitness):
    for individual, value in zip(batch, fitness, strict=True):
        individual.fitness.values = (value,)
    toolbox.update(batch)
    return batch


def test_genetic_fills_the_slots_as_algorithm_1_says(monkeypatch):
    random.seed(5)
    toolbox = make_side(Genetic(6))
    parents = evaluated(toolbox, toolbox.generate(), [1, 2, 6, 3, 4, 5])
    selected = iter([[parents[0]], [parents[1], parents[3]], [parents[4]], [parents[5], parents[1]]])
    toolbox.register("select", lambda population, k: next(selected))
    toolbox.register("mate", lambda a, b: (Individual([0] * len(a)), Individual([1] * len(b))))
    toolbox.register("mutate", lambda individual: (Individual([1 - bit for bit in individual]),))
    s = iter([0.1, 0.2, 0.95, 0.89])
    monkeypatch.setattr(random, "random", lambda: next(s))
    batch = toolbox.generate()
    assert len(batch) == 6
    assert batch[0] == toolbox.get_best() == parents[2]
    assert batch[1] == parents[0]
    assert batch[2] == ToySpace().repair([0] * sum(SIZES))
    assert batch[3] == [1] * sum(SIZES)
    assert batch[4] == ToySpace().repair([1 - bit for bit in parents[4]])
    assert batch[5] == batch[2]
    assert not any(child is parent for child in batch for parent in parents)
    assert all(not child.fitness.valid and child.terms is None for child in batch)
    assert [parent.fitness.values[0] for parent in parents] == [1, 2, 6, 3, 4, 5]


def test_genetic_elite_is_the_first_best_of_the_last_batch():
    random.seed(6)
    toolbox = make_side(Genetic(4))
    with pytest.raises(RuntimeError, match="nothing has been evaluated"):
        toolbox.get_best()
    assert len(toolbox.generate()) == 4
    first = evaluated(toolbox, toolbox.generate(), [9, 9, 8, 7])
    assert toolbox.get_best() is first[0]
    second = evaluated(toolbox, toolbox.generate(), [1, 3, 2, 0])
    assert toolbox.get_best() is second[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"population": 1}, "population: got 1; expected a whole number of at least 2"),
        ({"population": 2.5}, "population: got 2.5"),
        (
            {"reproduction": -0.1, "crossover": 1.0},
            "reproduction: got -0.1; expected a number of at least 0 and at most 1",
        ),
        ({"mutation": 0.2}, r"got 0.2 \+ 0.7 \+ 0.2 = 1.1; expected rates that sum to 1"),
    ],
)
def test_genetic_refuses_settings(arguments, message):
    with pytest.raises(UserError, match=message):
        Genetic(**arguments)


def test_a_strategy_serves_one_toolbox_only(make):
    strategy = make()
    make_side(strategy)
    with pytest.raises(UserError, match="Make one strategy for each side"):
        make_side(strategy)


def test_a_strategy_names_what_the_toolbox_lacks(make):
    toolbox = make_toolbox(ToySpace(), onemax)
    toolbox.unregister("repair")
    with pytest.raises(UserError, match="no repair"):
        make().register(toolbox)


def test_strategy_state_is_json_and_continues_exactly(make):
    random.seed(8)
    np.random.seed(8)
    toolbox, twin = make_side(make()), make_side(make())
    for step in range(4):
        toolbox.update(score(toolbox, toolbox.generate()))
        twin.load_state_dict(json.loads(json.dumps(toolbox.state_dict())))
        assert twin.get_best() == toolbox.get_best()
        assert twin.get_best().fitness.values == toolbox.get_best().fitness.values
        draws = random.getstate(), np.random.get_state()
        expected = toolbox.generate()
        random.setstate(draws[0])
        np.random.set_state(draws[1])
        assert twin.generate() == expected, f"after step {step}"
        assert not any(individual.fitness.valid for individual in expected)
    toolbox.reset()
    assert toolbox.state_dict() == make_side(make()).state_dict()


@pytest.mark.slow
def test_every_strategy_is_deterministic_repaired_and_solves_onemax(make):
    def search():
        sides = {side: make_side(make(), evaluate=agreement) for side in "ab"}
        batches = []
        elites = coevolve(sides, generations=60, seed=1, callback=lambda step: batches.append(step.population))
        assert all(repaired(individual) for batch in batches for individual in batch)
        assert all(individual.fitness.valid for batch in batches for individual in batch)
        return elites, [[to_text(individual) for individual in batch] for batch in batches]

    elites, batches = search()
    assert {side: sum(elite) for side, elite in elites.items()} == dict.fromkeys("ab", sum(SIZES))
    assert search() == (elites, batches)


class StopError(Exception):
    """Ends a search after a step."""


@pytest.mark.slow
def test_every_strategy_interrupted_after_every_step_goes_on_as_if_it_were_not(make, tmp_path):
    def search(run, resume=False, callback=None):
        sides = {side: make_side(make()) for side in "ab"}
        return coevolve(sides, generations=4, seed=2, run=run, resume=resume, callback=callback)

    def stop(step):
        raise StopError

    def left(run):
        state = json.loads((run / "state.json").read_text())
        del state["timing"]
        return state, (run / "evaluations.jsonl").read_text()

    search(tmp_path / "whole")
    for step in range(10):
        with pytest.raises(StopError):
            search(tmp_path / "cut", resume=step > 0, callback=stop)
    assert left(tmp_path / "cut") == left(tmp_path / "whole")


def levelled(individual, partner=None, steps=0):
    """``agreement`` times a power of two that differs from partner to partner, so that the product is exact."""
    level = 2.0 ** ((hash(tuple(partner or ())) % 61 - 30) * steps)
    terms = agreement(individual, partner).terms
    value = level * (1 + terms["ones"] + 0.5 * terms["same"])
    return Score([value], {name: level * term for name, term in terms.items()})


class Remembering(Genetic):
    """Never gives up the fittest individual it has seen, whomever that one met."""

    fittest = None

    def update(self, evaluated):
        super().update(evaluated)
        self.fittest = max([*evaluated, *filter(None, [self.fittest])], key=lambda individual: individual.fitness)

    def get_best(self):
        return self.fittest


def trajectory(make, steps):
    batches = []
    evaluate = partial(levelled, steps=steps)
    coevolve(
        {side: make_side(make(), evaluate) for side in "ab"},
        generations=12,
        seed=3,
        callback=lambda step: batches.append(step.population),
    )
    return batches


def test_no_strategy_compares_fitness_values_across_partners(make):
    """What a whole batch's fitness is multiplied by must not matter; it does where two batches are compared."""
    assert trajectory(make, steps=1) == trajectory(make, steps=0)


def test_a_strategy_that_compares_across_partners_is_found_out():
    make = partial(Remembering, 16)
    assert trajectory(make, steps=1) != trajectory(make, steps=0)


def test_every_elite_is_of_the_last_batch_and_every_batch_is_new(make):
    seen, kept = set(), []

    def check(step):
        for individual in step.population:
            assert individual.terms["ones"] == sum(individual)
            assert agreement(individual, step.partner).terms["same"] == individual.terms["same"]
        assert step.elite.scalar_fitness == max(individual.scalar_fitness for individual in step.population)
        assert any(step.elite is individual for individual in step.population)
        kept.extend(step.population)  # so that no identity is given away again
        assert len(step.population) == len({id(individual) for individual in step.population} - seen)
        seen.update(map(id, step.population))

    coevolve({side: make_side(make()) for side in "ab"}, generations=4, seed=4, callback=check)


def test_a_state_of_other_settings_is_refused(make):
    state = make_side(make()).state_dict()
    with pytest.raises(UserError, match="population: got 8; expected 16, as saved"):
        make_side(make(population=8)).load_state_dict(state)
    strategy = make()
    arguments = inspect.signature(type(strategy)).parameters
    assert set(strategy.settings) == {name for name, a in arguments.items() if not callable(a.default)}
    toolbox = make_side(strategy)
    for name in strategy.settings:
        other = {**state, "settings": {**state["settings"], name: "other"}}
        with pytest.raises(UserError, match=rf"{name}: got .*; expected other, as saved"):
            toolbox.load_state_dict(other)
    with pytest.raises(UserError, match="elitism: got None; expected 3, as saved"):
        toolbox.load_state_dict({**state, "settings": {**state["settings"], "elitism": 3}})
    earlier = {name: value for name, value in state["settings"].items() if name not in strategy.added}
    toolbox.load_state_dict({**state, "settings": earlier})


def test_each_side_may_use_another_algorithm():
    names = registry.names("algorithm")
    for first, second in zip(names, names[1:] + names[:1], strict=True):
        sides = {"a": make_side(make_strategy(first)), "b": make_side(make_strategy(second))}
        elites = coevolve(sides, generations=25, seed=5)
        assert all(sum(elite) >= sum(SIZES) - 1 for elite in elites.values()), (first, second)
