"""Each algorithm on cases worked by hand."""

import json
import math
import pickle
import random

import numpy as np
import pytest
from toys import SIZES, ChainSpace, ToySpace, agreement, from_text, make_side, onemax, score, shortfalls, to_text

from ganprune.errors import UserError
from ganprune.evolution import (
    NSGA2,
    UMDA,
    Annealing,
    BinarySwarm,
    Genetic,
    Individual,
    RandomSearch,
    Score,
    WidthSearch,
    coevolve,
    make_toolbox,
    registry,
)
from ganprune.evolution.algorithms.annealing import initial_temperature
from ganprune.evolution.algorithms.nsga2 import FrontIndividual, knee, size_and_quality
from ganprune.runs.directory import RunDirectory

BITS = sum(SIZES)
FULL = Individual([1] * BITS)


def evaluated(toolbox, batch, values):
    for individual, value in zip(batch, values, strict=True):
        individual.fitness.values = (value,)
    toolbox.update(batch)
    return batch


def flip(*positions):
    """A mutation that flips these bits, one call after the other."""
    remaining = iter(positions)

    def mutate(individual):
        index = next(remaining)
        individual[index] = 1 - individual[index]
        return (individual,)

    return mutate


# --- annealing


def chains(count, positions, **options):
    toolbox = make_side(Annealing(count, **options))
    toolbox.register("population", lambda n: [Individual(FULL) for _ in range(n)])
    toolbox.register("mutate", flip(*positions))
    return toolbox


def test_annealing_asks_for_current_points_neighbours_and_elite():
    toolbox = chains(2, positions=(0, 6))
    evaluated(toolbox, toolbox.generate(), [1.0, 2.0])
    batch = toolbox.generate()
    neighbours = [Individual(FULL), Individual(FULL)]
    neighbours[0][0] = neighbours[1][6] = 0
    assert batch == [FULL, FULL, *neighbours, FULL]
    assert len(set(map(id, batch))) == 5


def test_annealing_moves_by_metropolis_rule_on_the_logarithm_of_fitness(monkeypatch):
    toolbox = chains(3, positions=(0, 1, 2), temperature=0.5, rate=0.8)
    evaluated(toolbox, toolbox.generate(), [4.0, 4.0, 4.0])
    drawn = iter([0.24, 0.26])
    monkeypatch.setattr(random, "random", lambda: next(drawn))
    # Half the fitness is a climb of log 2, accepted with probability 0.5 ** (1 / 0.5) = 0.25.
    batch = evaluated(toolbox, toolbox.generate(), [4.0, 4.0, 4.0, 2.0, 2.0, 5.0, 4.0])
    strategy = toolbox.generate.func.__self__
    assert [id(current) for current in strategy.chains] == [id(batch[3]), id(batch[1]), id(batch[5])]
    assert strategy.temperature == pytest.approx(0.4)
    assert toolbox.get_best() is batch[5]


def test_annealing_measures_its_temperature_at_the_first_worsening_moves():
    toolbox = chains(2, positions=(0, 1) * 3, acceptance=0.25, rate=0.9)
    evaluated(toolbox, toolbox.generate(), [1.0, 1.0])
    evaluated(toolbox, toolbox.generate(), [1.0, 1.0, 2.0, 1.0, 1.0])
    assert toolbox.state_dict()["temperature"] is None
    random.seed(0)
    evaluated(toolbox, toolbox.generate(), [2.0, 2.0, 3.0, 0.5, 2.0])
    expected = math.log(4) / math.log(4) * 0.9  # a climb of log 4 is accepted with probability 1 / 4 at T = 1
    assert toolbox.state_dict()["temperature"] == pytest.approx(expected)


def test_initial_temperature_accepts_the_stated_share_of_worsening_moves():
    moves = [-1.0, 0.0, 0.3, 0.7, 5.0]
    temperature = initial_temperature(moves, 0.4)
    assert sum(math.exp(-move / temperature) for move in moves[2:]) / 3 == pytest.approx(0.4)
    assert initial_temperature([0.5], 0.5) == pytest.approx(0.5 / math.log(2))
    assert initial_temperature([-1.0, 0.0], 0.5) is None


@pytest.mark.parametrize(
    ("values", "factor"),
    [
        ([1.0, math.e**2], math.exp(-0.7 * 0.5)),  # energies 0 and -2: sigma = 1, T = 0.5
        ([1.0, math.e**0.2], 0.6),  # sigma = 0.1: not below the rate
        ([1.0, 1.0], 0.6),
    ],
)
def test_adaptive_cooling_waits_while_chains_disagree(values, factor):
    toolbox = chains(2, positions=(0, 1), cooling="adaptive", rate=0.6, temperature=0.5)
    evaluated(toolbox, toolbox.generate(), values)
    evaluated(toolbox, toolbox.generate(), [*values, *values, max(values)])
    assert toolbox.state_dict()["temperature"] == pytest.approx(0.5 * factor)


def test_annealing_draws_a_neighbour_again_that_is_none():
    toolbox = chains(1, positions=())
    draws = iter([[], [], [3]])

    def lazy(individual):
        for index in next(draws):
            individual[index] = 0
        return (individual,)

    toolbox.register("mutate", lazy)
    evaluated(toolbox, toolbox.generate(), [1.0])
    assert sum(toolbox.generate()[1]) == BITS - 1
    toolbox.register("mutate", lambda individual: (individual,))
    assert toolbox.generate()[1] == FULL


def test_annealing_needs_a_positive_fitness():
    toolbox = chains(1, positions=(0,))
    evaluated(toolbox, toolbox.generate(), [0.0])
    batch = toolbox.generate()
    with pytest.raises(UserError, match=r"fitness: got 0.0; expected a positive number, since the energy is -log F"):
        evaluated(toolbox, batch, [0.0, 1.0, 0.0])


# --- swarm


def test_swarm_keeps_the_better_of_particle_and_personal_best():
    random.seed(1)
    np.random.seed(1)
    toolbox = make_side(BinarySwarm(3))
    first = evaluated(toolbox, toolbox.generate(), [1.0, 5.0, 3.0])
    assert toolbox.get_best() is first[1]
    batch = toolbox.generate()
    assert batch[3:] == first
    evaluated(toolbox, batch, [2.0, 5.0, 1.0, 1.5, 5.0, 4.0])
    strategy = toolbox.generate.func.__self__
    assert [id(best) for best in strategy.bests] == [id(batch[0]), id(batch[4]), id(batch[5])]
    assert toolbox.get_best() is batch[4]


def test_swarm_accelerates_towards_personal_and_global_best(monkeypatch):
    toolbox = make_side(BinarySwarm(3, inertia=0.5, cognitive=1.0, social=2.0, clamp=1.5))
    strategy = toolbox.generate.func.__self__
    monkeypatch.setattr(np.random, "random", lambda shape: np.full(shape, 0.5))

    def accelerate(velocity):
        """Velocities after a batch whose personal bests 110, 011 and 101 stay; the global one is 011."""
        strategy.velocities = np.tile(np.array(velocity), (3, 1))
        batch = [from_text(text) for text in ("010", "011", "111", "110", "011", "101")]
        evaluated(toolbox, batch, [0.1, 0.2, 0.3, 1.0, 3.0, 2.0])
        return toolbox.state_dict()["velocities"]

    # v = 0.5 v + 0.5 (p - x) + (g - x)
    assert accelerate([1.0, -1.0, 0.0]) == [[1.0, -0.5, 1.0], [0.5, -0.5, 0.0], [-0.5, -1.0, 0.0]]
    assert accelerate([9.0, -9.0, 0.0])[0] == [1.5, -1.5, 1.0]


def test_swarm_draws_bits_by_the_sigmoid_of_their_velocity():
    random.seed(2)
    np.random.seed(2)
    toolbox = make_side(BinarySwarm(4000, clamp=6.0))
    strategy = toolbox.generate.func.__self__
    strategy.bests = [Individual(FULL)] * 4000
    strategy.velocities = np.tile(np.linspace(-6, 6, BITS), (4000, 1))
    drawn = np.mean(np.array(toolbox.generate()[:4000]), axis=0)
    expected = 1 / (1 + np.exp(-np.linspace(-6, 6, BITS)))
    inside = [index for index in range(BITS) if index not in (4, 7, 11)]  # what repair switches on
    assert drawn[inside] == pytest.approx(expected[inside], abs=0.03)


def test_swarm_begins_in_the_direction_of_its_first_particles():
    random.seed(3)
    np.random.seed(3)
    toolbox = make_side(BinarySwarm(5, social=0.0))
    first = score(toolbox, toolbox.generate())
    toolbox.update(first)
    velocities = np.array(toolbox.state_dict()["velocities"])
    assert ((velocities >= 0) == np.array(first)).mean() > 0.99
    assert 2 < np.abs(velocities).mean() < 4


@pytest.mark.parametrize(("drawn", "ones"), [(1 / 405, BITS), (1 / 404, len(SIZES))])
def test_at_a_clamp_of_6_a_bit_changes_against_its_velocity_once_in_404_draws(monkeypatch, drawn, ones):
    toolbox = make_side(BinarySwarm(2))
    strategy = toolbox.generate.func.__self__
    strategy.bests = [Individual(FULL)] * 2
    strategy.velocities = np.full((2, BITS), -6.0)
    monkeypatch.setattr(np.random, "random", lambda shape: np.full(shape, drawn))
    assert [sum(particle) for particle in toolbox.generate()[:2]] == [ones] * 2  # repair keeps one of each group


# --- nsga2


def points(toolbox, values, keys=None):
    """A batch with these objectives and a scalar fitness of 1 / their sum."""
    batch = []
    for index, pair in enumerate(values):
        individual = FrontIndividual([int(bit) for bit in f"{index + 1:0{BITS}b}"])
        individual.fitness.values, individual.terms = pair, {"fitness": 1 / sum(pair)}
        batch.append(individual)
    toolbox.update(batch)
    return batch


POINTS = [(1, 9), (2, 4), (4, 2), (9, 1), (5, 5), (6, 6), (2, 5), (9, 9)]


def front_side(**options):
    return make_side(NSGA2(4, objectives=shortfalls, **options))


def test_nsga2_front_holds_what_nothing_dominates():
    toolbox = front_side()
    assert toolbox.front() == []
    batch = points(toolbox, POINTS)
    assert [individual.fitness.values for individual in toolbox.front()] == [(1, 9), (2, 4), (4, 2), (9, 1)]
    batch.append(toolbox.clone(batch[1]))
    toolbox.update(batch)
    assert len(toolbox.front()) == 4


def test_nsga2_parents_are_chosen_by_front_then_by_crowding():
    toolbox = front_side()
    values = [(0, 10), (1, 8), (1.1, 7.9), (5, 5), (10, 0), (11, 11)]
    points(toolbox, values)
    parents = toolbox.generate.func.__self__.parents
    assert {parent.fitness.values for parent in parents} == {(0, 10), (10, 0), (5, 5), (1.1, 7.9)}
    toolbox.register("mate", lambda a, b: (a, b))
    toolbox.register("mutate", lambda a: (a,))
    random.seed(4)
    batch = toolbox.generate()
    assert len(batch) == 8
    assert batch[:4] == parents
    assert {to_text(child) for child in batch[4:]} <= {to_text(Individual(ToySpace().repair(p))) for p in parents}


@pytest.mark.parametrize("population", [4, 5, 7, 10])
def test_nsga2_takes_populations_that_are_no_multiple_of_four(population):
    random.seed(5)
    toolbox = make_side(NSGA2(population, objectives=shortfalls))
    toolbox.update(score(toolbox, toolbox.generate()))
    assert len(toolbox.generate()) == 2 * population


def test_nsga2_elite_is_the_best_by_scalar_fitness_or_the_knee():
    values = [(0.0, 10.0), (2.0, 3.0), (4.5, 0.4), (8.0, 0.0)]
    toolbox = front_side()
    batch = points(toolbox, values)
    assert toolbox.get_best() is batch[2]  # the least sum
    toolbox = front_side(elite="knee")
    with pytest.raises(RuntimeError, match="nothing has been evaluated"):
        toolbox.get_best()
    batch = points(toolbox, values)
    assert toolbox.get_best() is batch[1]  # 0.25 + 0.30 against 0.5625 + 0.04
    batch = points(toolbox, [(0.0, 3.0), (1.0, 1.0), (9.0, 0.5)][1:])
    assert toolbox.get_best() is batch[0], "a front of two points: the better one"


def test_knee_is_furthest_below_the_line_through_the_ends():
    assert knee([(0, 100), (3, 50), (4, 10), (10, 0)]) == 2
    assert knee([(0, 1), (1, 0)]) == 0
    assert knee([(3, 3)]) == 0


def test_nsga2_gives_the_toolbox_two_objectives_and_evaluate_still_pickles():
    random.seed(6)
    toolbox = make_side(NSGA2(4, objectives=shortfalls))
    individual = toolbox.individual()
    assert type(individual) is FrontIndividual
    partner = Individual(FULL)
    result = pickle.loads(pickle.dumps(toolbox.evaluate))(individual, partner)
    plain = agreement(individual, partner)
    assert result == (-plain.terms["ones"], -plain.terms["same"])
    assert result.terms == {**plain.terms, "fitness": plain[0]}
    assert vars(toolbox.evaluate).keys() <= {"__name__"}
    toolbox.generate.func.__self__.register(toolbox)
    assert toolbox.evaluate(individual, partner) == result, "registered again, it is wrapped once"
    twin = pickle.loads(pickle.dumps(toolbox.population(n=2)))
    assert [type(individual) for individual in twin] == [FrontIndividual] * 2


@pytest.mark.parametrize(
    ("terms", "objectives"),
    [
        ({"n": 0.2, "l_disa": 0.01, "l_cyc": 0.03}, (0.2, 0.31)),
        ({"n": 0.2, "l_disa": 0.01, "l_cyc": 0.03, "quality": 0.5}, (0.2, 0.5)),
        ({"n": 0.2, "size": 0.7, "quality": 0.5}, (0.7, 0.5)),
    ],
)
def test_the_default_objectives_are_size_and_quality(terms, objectives):
    assert size_and_quality(Score([1.0], terms)) == pytest.approx(objectives)


def test_a_broken_candidate_is_the_worst_in_quality():
    assert size_and_quality(Score([1e-12], {"n": 0.3, "l_disa": math.nan, "l_cyc": 0.1})) == (0.3, 1e12)


def test_the_default_objectives_say_what_they_miss():
    with pytest.raises(UserError, match="terms of the score: got share; expected n, and quality or l_disa and l_cyc"):
        coevolve({side: make_side(NSGA2(4), onemax) for side in "ab"}, generations=1)


@pytest.mark.parametrize("result", [(float("nan"),), (1.0, 2.0, 3.0), None])
def test_a_score_that_cannot_be_used_is_named_as_ever(result):
    sides = {s: make_side(NSGA2(4, objectives=shortfalls), lambda i, partner=None: result) for s in "ab"}
    with pytest.raises(UserError, match=r"evaluate of side a: got .*expected a Score of 2 finite numbers"):
        coevolve(sides, generations=1)


def test_nsga2_logs_the_scalar_fitness_and_records_both_objectives(tmp_path):
    steps = []
    sides = {side: make_side(NSGA2(6, objectives=shortfalls)) for side in "ab"}
    coevolve(sides, generations=2, seed=1, run=tmp_path / "run", callback=steps.append)
    run = RunDirectory.open(tmp_path / "run")
    for line, step in zip(run.read_jsonl("logbook.jsonl"), steps, strict=True):
        values = [agreement(individual, step.partner)[0] for individual in step.population]
        assert line["best"] == max(values) == line["terms"]["fitness"]
        assert line["mean"] == pytest.approx(sum(values) / len(values))
    for record in run.read_jsonl("evaluations.jsonl"):
        terms = record["terms"]
        assert record["values"] == [-terms["ones"], -terms["same"]]
        assert terms["fitness"] > 0


# --- random search and umda


def test_random_search_keeps_the_elite_and_draws_the_rest():
    random.seed(7)
    toolbox = make_side(RandomSearch(3))
    first = evaluated(toolbox, toolbox.generate(), [1.0, 3.0, 2.0])
    fresh = [Individual(FULL), Individual(FULL)]
    toolbox.register("population", lambda n: fresh[:n])
    batch = toolbox.generate()
    assert batch[0] == first[1]
    assert batch[1:] == fresh


def test_umda_moves_its_probabilities_towards_the_best_half():
    toolbox = make_side(UMDA(4, truncation=0.5, learning_rate=0.25, margin=0.1))
    batch = [from_text(key) for key in ("1100", "1000", "1010", "1001")]
    evaluated(toolbox, batch, [1.0, 4.0, 3.0, 2.0])
    # Of all: 1, 1/4, 1/4, 1/4; of the best two: 1, 0, 1/2, 0.
    expected = [0.9, 0.75 * 0.25, 0.75 * 0.25 + 0.25 * 0.5, 0.75 * 0.25]
    assert toolbox.state_dict()["probabilities"] == pytest.approx(expected)
    assert toolbox.get_best() is batch[1]
    batch = [from_text("1001"), from_text("1011")]
    evaluated(toolbox, batch, [2.0, 1.0])
    expected = [0.9, 0.75 * expected[1], 0.75 * expected[2], 0.75 * expected[3] + 0.25]
    assert toolbox.state_dict()["probabilities"] == pytest.approx(expected)


def test_umda_samples_its_probabilities_and_keeps_the_elite():
    np.random.seed(8)
    toolbox = make_side(UMDA(3001))
    state = json.loads(json.dumps(toolbox.state_dict()))
    elite = Individual(FULL)
    elite.fitness.values = (1.0,)
    chances = [round(0.05 + 0.9 * index / (BITS - 1), 6) for index in range(BITS)]
    toolbox.load_state_dict({**state, "elite": [elite.record()], "probabilities": chances})
    batch = toolbox.generate()
    assert batch[0] == elite
    inside = [index for index in range(BITS) if index not in (4, 7, 11)]
    assert np.mean(np.array(batch[1:]), axis=0)[inside] == pytest.approx(np.array(chances)[inside], abs=0.04)


def test_umda_freezes_no_bit():
    random.seed(9)
    np.random.seed(9)
    toolbox = make_side(UMDA(8, learning_rate=1.0))
    for _ in range(30):
        toolbox.update(score(toolbox, toolbox.generate()))
    probabilities = toolbox.state_dict()["probabilities"]
    assert max(probabilities) == 1 - 1 / BITS
    assert min(probabilities) >= 1 / BITS


# --- widths


def test_width_search_keeps_the_best_and_breeds_the_rest_from_them():
    random.seed(10)
    toolbox = make_side(WidthSearch(24, survivors=1 / 12, crossover=0.0))
    first = evaluated(toolbox, toolbox.generate(), [*range(24)])
    assert toolbox.get_best() is first[23]
    toolbox.register("trade", lambda individual: (Individual(1 - bit for bit in individual),))
    batch = toolbox.generate()
    assert batch[:2] == [first[23], first[22]] and len(batch) == 24
    repair = ToySpace().repair
    assert {to_text(child) for child in batch[2:]} == {
        to_text(repair([1 - bit for bit in parent])) for parent in first[22:]
    }
    second = evaluated(toolbox, batch, [1, 2, 3, 4, 9, 8, *range(-18, 0)])
    assert toolbox.get_best() is second[4]
    assert toolbox.generate()[:2] == second[4:6]


def test_width_search_blends_two_survivors_and_trades_what_comes_out():
    toolbox = make_side(WidthSearch(4, survivors=0.5, crossover=1.0))
    evaluated(toolbox, toolbox.generate(), [4, 3, 2, 1])
    toolbox.register("blend", lambda first, second: (Individual([0] * BITS), second))

    def trade(individual):
        individual[0] = 1
        return (individual,)

    toolbox.register("trade", trade)
    assert toolbox.generate()[2:] == [ToySpace().repair([1] + [0] * (BITS - 1))] * 2


def test_width_search_varies_how_many_filters_a_group_keeps_not_which():
    space, seen = ChainSpace((8, 32, 64, 32, 8), "both"), set()
    sides = {side: make_toolbox(space, onemax) for side in "ab"}
    for toolbox in sides.values():
        WidthSearch(8).register(toolbox)

    def check(step):
        for individual in step.population:
            seen.add(tuple(space.widths(individual)))
            for start, size in zip(space.starts, space.group_sizes, strict=True):
                kept = [space.saliency[index] for index in range(start, start + size) if individual[index]]
                assert sorted(kept) == sorted(space.saliency[start : start + size])[-len(kept) :]
            assert space.fill(individual) == individual

    coevolve(sides, generations=3, seed=1, callback=check)
    assert len(seen) > 20


# --- parameters


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Annealing(0), "population: got 0; expected a whole number of at least 1"),
        (lambda: Annealing(acceptance=1), "acceptance: got 1; expected a number above 0"),
        (lambda: Annealing(rate=0), "rate: got 0; expected a number above 0 and at most 1"),
        (lambda: Annealing(rate=True), "rate: got True"),
        (lambda: Annealing(temperature=-1), "temperature: got -1; expected a number above 0"),
        (lambda: Annealing(cooling="adaptiv"), "cooling: got adaptiv; .*Did you mean 'adaptive'"),
        (lambda: BinarySwarm(1), "population: got 1; expected a whole number of at least 2"),
        (lambda: BinarySwarm(clamp=0), "clamp: got 0; expected a number above 0"),
        (lambda: BinarySwarm(inertia=-0.1), "inertia: got -0.1; expected a number of at least 0"),
        (lambda: BinarySwarm(social=math.nan), "social: got nan"),
        (lambda: NSGA2(3), "population: got 3; expected a whole number of at least 4"),
        (lambda: NSGA2(crossover=1.1), "crossover: got 1.1; expected a number of at least 0 and at most 1"),
        (lambda: NSGA2(elite="knees"), "elite: got knees; .*Did you mean 'knee'"),
        (lambda: NSGA2(objectives=3), "objectives: got 3; expected a function"),
        (lambda: RandomSearch(1), "population: got 1"),
        (lambda: Genetic(novel=1), "novel: got 1; expected true or false"),
        (lambda: WidthSearch(survivors=0), "survivors: got 0; expected a number above 0 and at most 0.9"),
        (lambda: UMDA(truncation=0), "truncation: got 0"),
        (lambda: UMDA(learning_rate=2), "learning_rate: got 2"),
        (lambda: UMDA(margin=0.6), "margin: got 0.6; expected a number of at least 0 and at most 0.5"),
    ],
)
def test_parameters_are_checked(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_parameters_can_be_written_after_the_name():
    made = registry.resolve("algorithm", "annealing:cooling=adaptive,rate=0.7,temperature=0.2")
    assert made.function(**made.parameters).settings == {
        "population": 32,
        "acceptance": 0.5,
        "cooling": "adaptive",
        "rate": 0.7,
        "temperature": 0.2,
    }
    assert registry.resolve("algorithm", "nsga2:elite=knee").parameters == {"elite": "knee"}
    assert registry.resolve("algorithm", "ga:novel=false").parameters == {"novel": False}
    with pytest.raises(UserError, match=r"parameter of umda: got learnin_rate.*Did you mean 'learning_rate'"):
        registry.resolve("algorithm", "umda:learnin_rate=0.1")
    with pytest.raises(UserError, match="parameter of nsga2: got objectives"):
        registry.resolve("algorithm", "nsga2:objectives=3")
