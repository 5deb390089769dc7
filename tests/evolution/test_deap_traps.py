"""What surprises in DEAP itself, one test each, and that none of it reaches a search.

The first half of each test pins DEAP's behaviour: should a later version change it, the test says so, and the
precaution beside it can go.
"""

import copy
import json
import random
from collections import Counter

import pytest
from deap import algorithms, base, tools
from toys import make_side, score, shortfalls, to_text

from ganprune.evolution import NSGA2, Fitness, Genetic, Individual
from ganprune.evolution.algorithms.nsga2 import TwoObjectives
from ganprune.evolution.operators.selection import selRoulette


class Cost(base.Fitness):
    """A minimised fitness."""

    weights = (-1.0,)


class Weighted(base.Fitness):
    """A weight that is not 1."""

    weights = (0.1,)


def population(values, fitness_type=Fitness):
    individuals = []
    for index, value in enumerate(values):
        individual = Individual([int(bit) for bit in f"{index:03b}"])
        individual.fitness = fitness_type((value,))
        individuals.append(individual)
    return individuals


def test_trap_a_copied_fitness_has_lost_its_crowding_distance():
    """``Fitness.__deepcopy__`` copies the values only, and no record holds the distance either: a copied or a loaded
    population fails in ``selTournamentDCD``. NSGA2 chooses its parents anew when it is loaded."""
    random.seed(0)
    toolbox, twin = (make_side(NSGA2(4, objectives=shortfalls)) for _ in range(2))
    toolbox.update(score(toolbox, toolbox.generate()))
    parents = toolbox.generate.func.__self__.parents
    assert all(hasattr(parent.fitness, "crowding_dist") for parent in parents)
    copies = copy.deepcopy(parents)
    assert not any(hasattr(parent.fitness, "crowding_dist") for parent in copies)
    restored = [toolbox.restore(parent.record()) for parent in parents]
    assert not any(hasattr(parent.fitness, "crowding_dist") for parent in restored)

    twin.load_state_dict(json.loads(json.dumps(toolbox.state_dict())))
    distances = [parent.fitness.crowding_dist for parent in twin.generate.func.__self__.parents]
    assert distances == [parent.fitness.crowding_dist for parent in parents]
    assert len(twin.generate()) == 8


def test_trap_varOr_gives_the_same_object_twice():
    """``varOr`` reproduces by reference: a parent and its "copies" are one object, and what scores or changes one does
    so to all, in the old population too. The genetic algorithm's reproduction makes copies."""
    random.seed(1)
    parents = population([1.0, 2.0])
    children = algorithms.varOr(parents, base.Toolbox(), lambda_=6, cxpb=0.0, mutpb=0.0)
    assert all(any(child is parent for parent in parents) for child in children)
    assert len(set(map(id, children))) < len(children)

    toolbox = make_side(Genetic(6, reproduction=1.0, crossover=0.0, mutation=0.0))
    first = score(toolbox, toolbox.generate())
    toolbox.update(first)
    batch = toolbox.generate()
    assert len(set(map(id, batch))) == 6
    assert not any(child is parent for child in batch for parent in first)
    assert all(parent.fitness.valid for parent in first)


@pytest.mark.parametrize(
    ("values", "fitness_type", "shares"),
    [
        ((1.0, 9.0), Cost, (0.1, 0.9)),  # the costlier is preferred
        ((-9.0, -1.0), Fitness, (0.0, 0.9)),  # one draw in ten selects nobody
        ((-1.0, 4.0), Fitness, (0.0, 1.0)),  # the worse has no chance at all
    ],
    ids=["minimised", "negative", "mixed"],
)
def test_trap_selRoulette_takes_fitness_that_it_cannot_select_by(values, fitness_type, shares):
    """DEAP's ``selRoulette`` needs positive, maximised fitness and does not say so: it prefers the worst of minimised
    values, and returns too few of negative ones. Ours refuses."""
    random.seed(2)
    individuals = population(values, fitness_type)
    chosen = Counter(to_text(individual) for individual in tools.selRoulette(individuals, 1000))
    found = [chosen[to_text(individual)] / 1000 for individual in individuals]
    assert found == pytest.approx(shares, abs=0.05)
    with pytest.raises(ValueError, match="Use selTournament"):
        selRoulette(individuals, 2)


def test_trap_a_weight_other_than_one_changes_the_values():
    """A fitness keeps values times weights and divides again to give the values back, so that only weights of 1 and -1
    return exactly what was set. Records, and what is resumed from them, need that: ours are 1 and -1."""
    assert Weighted((3.0,)).values != (3.0,)

    random.seed(3)
    assert {abs(weight) for kind in (Fitness, TwoObjectives) for weight in kind.weights} == {1.0}
    for _ in range(1000):
        pair = (random.random(), random.expovariate(1e-3))
        assert Fitness(pair[:1]).values == pair[:1]
        assert TwoObjectives(pair).values == pair
