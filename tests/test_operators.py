"""Operators and initialisers on cases worked by hand, and the registry that names them."""

import random
import subprocess
import sys
from collections import Counter

import pytest

from ganprune.errors import UserError
from ganprune.evolution import Individual, initializers, operators, registry

GROUPS = [3, 2, 4]


def individual(key, fitness=None):
    result = Individual.from_key(key)
    if fitness is not None:
        result.fitness.values = (fitness,)
    return result


def draws(monkeypatch, name, values):
    """Make ``random.<name>`` return these values, in this order."""
    remaining = iter(values)
    monkeypatch.setattr(random, name, lambda *args, **kwargs: next(remaining))


def test_cxGroup_swaps_whole_groups_in_place(monkeypatch):
    draws(monkeypatch, "random", [0.4, 0.6, 0.1])
    first, second = individual("111111111"), individual("000000000")
    children = operators.cxGroup(first, second, GROUPS, indpb=0.5)
    assert (children[0].key(), children[1].key()) == ("000110000", "111001111")
    assert children[0] is first
    assert children[1] is second


def test_cxTwoPoint_swaps_between_the_points(monkeypatch):
    draws(monkeypatch, "randint", [2, 4])
    first, second = operators.cxTwoPoint(individual("11111111"), individual("00000000"))
    assert (first.key(), second.key()) == ("11000111", "00111000")


def test_mutFlipSegment_inverts_between_the_cuts(monkeypatch):
    draws(monkeypatch, "sample", [[5, 2]])
    subject = individual("11001100")
    assert operators.mutFlipSegment(subject)[0] is subject
    assert subject.key() == "11110100"


def test_mutFlipSegment_always_changes_one_run_of_bits():
    random.seed(0)
    lengths = Counter()
    for _ in range(400):
        mutant = operators.mutFlipSegment(individual("00000"))[0].key()
        assert "1" in mutant
        assert "0" not in mutant.strip("0")
        lengths[mutant.count("1")] += 1
    assert set(lengths) == {1, 2, 3, 4, 5}


def test_mutGroup_adds_filters_to_one_group(monkeypatch):
    draws(monkeypatch, "choice", [slice(5, 9)])
    draws(monkeypatch, "random", [0.4])
    draws(monkeypatch, "uniform", [0.5])
    draws(monkeypatch, "sample", [[6, 8]])
    assert operators.mutGroup(individual("111110100"[:9]), GROUPS)[0].key() == "111110101"


def test_mutGroup_changes_one_group_only_by_at_most_the_share_and_never_empties_it():
    random.seed(1)
    directions = Counter()
    for _ in range(300):
        before = individual("110" + "10" + "1100")
        after = operators.mutGroup(individual(before.key()), GROUPS, share=0.5)[0]
        changed = [index for index in range(9) if before[index] != after[index]]
        touched = {0 if index < 3 else 1 if index < 5 else 2 for index in changed}
        assert len(touched) == 1
        assert len(changed) <= 2
        assert all(any(after[start:end]) for start, end in ((0, 3), (3, 5), (5, 9)))
        directions[sum(after) > sum(before)] += 1
    assert min(directions.values()) > 50


def test_mutGroup_adds_to_a_nearly_empty_group_and_drops_from_a_full_one():
    random.seed(2)
    for _ in range(30):
        assert sum(operators.mutGroup(individual("1000"), [4], share=1.0)[0]) > 1
        assert 1 <= sum(operators.mutGroup(individual("1111"), [4], share=1.0)[0]) < 4
    assert operators.mutGroup(individual("1"), [1])[0].key() == "1"


def test_mutGroupOrFlip_flips_or_resizes(monkeypatch):
    calls = []
    monkeypatch.setattr(operators, "mutFlipBit", lambda ind, indpb: calls.append(("flip", indpb)))
    monkeypatch.setattr(operators, "mutGroup", lambda ind, sizes, share: calls.append(("group", share)))
    draws(monkeypatch, "random", [0.29, 0.31])
    for _ in range(2):
        operators.mutGroupOrFlip(individual("111111111"), GROUPS, flip=0.3, indpb=0.02, share=0.4)
    assert calls == [("flip", 0.02), ("group", 0.4)]


def test_selRoulette_follows_equation_12():
    random.seed(3)
    parents = [individual("00", 1.0), individual("01", 2.0), individual("10", 5.0)]
    chosen = operators.selRoulette(parents, 8000)
    assert all(any(child is parent for parent in parents) for child in chosen[:20])
    shares = Counter(child.key() for child in chosen)
    assert [shares[parent.key()] / 8000 for parent in parents] == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.02)


@pytest.mark.parametrize("select", [operators.selRoulette, operators.selStochasticUniversalSampling])
@pytest.mark.parametrize("worst", [0.0, -1.0, float("nan"), float("inf")])
def test_proportional_selection_rejects_fitness_that_is_not_positive_and_finite(select, worst):
    with pytest.raises(ValueError, match="expected positive, finite values. Use selTournament"):
        select([individual("00", 1.0), individual("01", worst)], 2)


def test_stochastic_universal_sampling_leaves_no_luck_to_exact_shares():
    random.seed(4)
    parents = [individual("00", 1.0), individual("01", 3.0)]
    shares = Counter(child.key() for child in operators.selStochasticUniversalSampling(parents, 4))
    assert shares == {"00": 1, "01": 3}


def test_initUniform_sets_bits_by_probability():
    random.seed(5)
    assert initializers.initUniform(GROUPS, 0.0) == [0] * 9
    assert initializers.initUniform(GROUPS, 1.0) == [1] * 9
    assert sum(initializers.initUniform([2000], 0.3)) == pytest.approx(600, abs=80)


def test_initDensity_keeps_the_drawn_share_of_each_group(monkeypatch):
    bounds = []

    def uniform(low, high):
        bounds.append((low, high))
        return {1: 0.8, 2: 0.5, 3: 0.9}[len(bounds)]

    monkeypatch.setattr(random, "uniform", uniform)
    bits = initializers.initDensity([4, 10], low=0.1, high=1.0)
    assert bounds == [(0.1, 1.0), (0.4, 1.0), (0.4, 1.0)]
    assert (sum(bits[:4]), sum(bits[4:])) == (2, 9)


def test_initGuided_keeps_the_most_salient(monkeypatch):
    draws(monkeypatch, "uniform", [0.5, 0.5, 0.25])
    assert initializers.initGuided([4, 4], [1, 9, 3, 4, 8, 7, 6, 5]) == [0, 1, 0, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("guided", [0.0, 1.0])
def test_initMixed_draws_one_of_both(guided):
    random.seed(6)
    bits = [initializers.initMixed([8], range(8), 0.5, 0.5, guided=guided) for _ in range(30)]
    salient_only = all(sorted(row) == row for row in bits)
    assert salient_only == bool(guided)


def test_initial_groups_are_never_empty():
    random.seed(7)
    for _ in range(50):
        for bits in (
            initializers.initDensity(GROUPS, 0.0, 0.1),
            initializers.initGuided(GROUPS, range(9), 0.0, 0.1),
        ):
            assert sum(bits[:3]) >= 1
            assert sum(bits[3:5]) >= 1
            assert sum(bits[5:]) >= 1


def test_initial_levels_are_checked():
    with pytest.raises(UserError, match="got 0.8 and 0.2; expected 0 <= low <= high <= 1"):
        initializers.initDensity(GROUPS, low=0.8, high=0.2)


@pytest.mark.parametrize("kind", list(registry.REGISTRY))
def test_every_registered_name_resolves_with_its_defaults(kind):
    for name in registry.names(kind):
        operator = registry.resolve(kind, name)
        assert callable(operator.function)
        assert operator.spec == name
        assert registry.REGISTRY[kind][name].doc


def test_resolve_reads_parameters():
    assert registry.resolve("select", "selTournament:tournsize=5").parameters == {"tournsize": 5}
    assert registry.resolve("mate", "cxUniform").parameters == {"indpb": 0.5}
    mutate = registry.resolve("mutate", "mutGroupOrFlip: flip=0.25, indpb=1e-3")
    assert mutate.parameters == {"flip": 0.25, "indpb": 1e-3, "share": 0.5}
    assert mutate.needs == ("group_sizes",)
    assert registry.resolve("algorithm", "ga:population=8").function(population=8).size == 8


def test_resolve_imports_a_function_the_user_names():
    operator = registry.resolve("mutate", "ganprune.evolution.operators:mutGroup:share=0.1")
    assert operator.function is operators.mutGroup
    assert operator.parameters == {"share": 0.1}
    assert operator.needs == ("group_sizes",)


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("select", "selTornament", "select: got selTornament.*Did you mean 'selTournament'"),
        ("select", "selTornament:tournsize=3", "Did you mean 'selTournament'"),
        ("selecting", "selBest", "Did you mean 'select'"),
        (
            "select",
            "selTournament:turnsize=3",
            "parameter of selTournament: got turnsize.*Did you mean 'tournsize'",
        ),
        ("select", "selTournament:individuals=3", "got individuals"),
        ("select", "selTournament:5", "got 5; expected KEY=VALUE"),
        ("select", "selTournament:tournsize=three", "selTournament:tournsize: got three; expected a number"),
        ("select", "selTournament:tournsize=2.5", "expected a whole number"),
        ("select", "selTournament:tournsize=0", "expected at least 1"),
        ("select", "selTournament:tournsize=true", "expected a number"),
        ("mate", "cxUniform:indpb=1.5", "expected a number from 0.0 to 1.0"),
        ("mate", "cxUniform:indpb=nan", "expected a number"),
        ("mate", "cxGroup:group_sizes=3", "got group_sizes"),
        ("mutate", "mutInversion:share=1", "It takes no parameters"),
        ("mutate", "no_such_module:mutate", "Importing 'no_such_module' failed"),
        ("mutate", "ganprune.evolution.operators:mutGrup", "Did you mean 'mutGroup'"),
        ("select", "deap.tools:selTournament", "no tournsize; expected a value"),
    ],
)
def test_resolve_refuses_with_a_remedy(kind, spec, message):
    with pytest.raises(UserError, match=message):
        registry.resolve(kind, spec)


def test_registry_lists_names_without_importing_deap_numpy_or_torch():
    code = (
        "import sys; from ganprune.evolution import registry; registry.names('mutate');"
        "print([name for name in ('deap', 'numpy', 'torch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("kind", "short", "full"),
    [("init", "uniform", "initUniform"), ("select", "roulette", "selRoulette"), ("mate", "two-point", "cxTwoPoint")],
)
def test_short_names_stand_for_registered_ones(kind, short, full):
    assert registry.resolve(kind, short).function is registry.resolve(kind, full).function
