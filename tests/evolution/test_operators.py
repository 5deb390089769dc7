"""Operators and initialisers on cases worked by hand, and the registry that names them."""

import inspect
import random
import subprocess
import sys
from collections import Counter

import pytest
from deap import tools
from toys import ChainSpace, from_text, to_text

from ganprune.errors import UserError
from ganprune.evolution import registry
from ganprune.evolution.operators import initialization as initializers
from ganprune.evolution.operators import selection, widths
from ganprune.evolution.operators import variation as operators

GROUPS = [3, 2, 4]


def individual(key, fitness=None):
    result = from_text(key)
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
    assert (to_text(children[0]), to_text(children[1])) == ("000110000", "111001111")
    assert children[0] is first
    assert children[1] is second


def test_cxTwoPoint_swaps_between_the_points(monkeypatch):
    draws(monkeypatch, "randint", [2, 4])
    first, second = tools.cxTwoPoint(individual("11111111"), individual("00000000"))
    assert (to_text(first), to_text(second)) == ("11000111", "00111000")


def test_mutFlipSegment_inverts_between_the_cuts(monkeypatch):
    draws(monkeypatch, "sample", [[5, 2]])
    subject = individual("11001100")
    assert operators.mutFlipSegment(subject)[0] is subject
    assert to_text(subject) == "11110100"


def test_mutFlipSegment_always_changes_one_run_of_bits():
    random.seed(0)
    lengths = Counter()
    for _ in range(400):
        mutant = to_text(operators.mutFlipSegment(individual("00000"))[0])
        assert "1" in mutant
        assert "0" not in mutant.strip("0")
        lengths[mutant.count("1")] += 1
    assert set(lengths) == {1, 2, 3, 4, 5}


def test_mutGroup_adds_filters_to_one_group(monkeypatch):
    draws(monkeypatch, "choice", [slice(5, 9)])
    draws(monkeypatch, "random", [0.4])
    draws(monkeypatch, "uniform", [0.5])
    draws(monkeypatch, "sample", [[6, 8]])
    assert to_text(operators.mutGroup(individual("111110100"[:9]), GROUPS)[0]) == "111110101"


def test_mutGroup_changes_one_group_only_by_at_most_the_share_and_never_empties_it():
    random.seed(1)
    directions = Counter()
    for _ in range(300):
        before = individual("110" + "10" + "1100")
        after = operators.mutGroup(individual(to_text(before)), GROUPS, share=0.5)[0]
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
    assert to_text(operators.mutGroup(individual("1"), [1])[0]) == "1"


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
    chosen = selection.selRoulette(parents, 8000)
    assert all(any(child is parent for parent in parents) for child in chosen[:20])
    shares = Counter(to_text(child) for child in chosen)
    assert [shares[to_text(parent)] / 8000 for parent in parents] == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.02)


@pytest.mark.parametrize("select", [selection.selRoulette, selection.selStochasticUniversalSampling])
@pytest.mark.parametrize("worst", [0.0, -1.0, float("nan"), float("inf")])
def test_proportional_selection_rejects_fitness_that_is_not_positive_and_finite(select, worst):
    with pytest.raises(ValueError, match=r"expected positive, finite values\. Use selTournament"):
        select([individual("00", 1.0), individual("01", worst)], 2)


def test_stochastic_universal_sampling_leaves_no_luck_to_exact_shares():
    random.seed(4)
    parents = [individual("00", 1.0), individual("01", 3.0)]
    shares = Counter(to_text(child) for child in selection.selStochasticUniversalSampling(parents, 4))
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
    with pytest.raises(UserError, match=r"got 0\.8 and 0\.2; expected 0 <= low <= high <= 1"):
        initializers.initDensity(GROUPS, low=0.8, high=0.2)


@pytest.mark.parametrize("kind", list(registry.REGISTRY))
def test_every_registered_name_resolves_with_its_defaults(kind):
    for name in registry.names(kind):
        operator = registry.resolve(kind, name)
        assert callable(operator.function)
        assert registry.REGISTRY[kind][name].doc


def test_resolve_reads_parameters():
    assert registry.resolve("select", "selTournament:tournsize=5").parameters == {"tournsize": 5}
    assert registry.resolve("mate", "cxUniform").parameters == {"indpb": 0.5}
    mutate = registry.resolve("mutate", "mutGroupOrFlip: flip=0.25, indpb=1e-3")
    assert mutate.parameters == {"flip": 0.25, "indpb": 1e-3}
    assert mutate.needs == ("group_sizes",)
    assert registry.resolve("algorithm", "ga:population=8").function(population=8).population == 8


def test_resolve_imports_a_function_the_user_names():
    operator = registry.resolve("mutate", "ganprune.evolution.operators.variation:mutGroup:share=0.1")
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
        ("mutate", "ganprune.evolution.operators.variation:mutGrup", "Did you mean 'mutGroup'"),
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
    ("kind", "typed", "full"),
    [
        ("init", "uniform", "initUniform"),
        ("select", "roulette", "selRoulette"),
        ("mate", "two-point", "cxTwoPoint"),
        ("mutate", "MUTGROUP:share=0.1", "mutGroup:share=0.1"),
        ("algorithm", "sa", "annealing"),
        ("algorithm", " Simulated-Annealing:rate=0.5", "annealing:rate=0.5"),
        ("algorithm", "PSO", "swarm"),
        ("algorithm", "genetic", "ga"),
        ("algorithm", "nsga-ii", "nsga2"),
        ("algorithm", "NSGAII", "nsga2"),
        ("algorithm", "no_module:SA", "no_module:SA"),
        ("algorithm", "annealin", "annealin"),
    ],
)
def test_what_people_type_stands_for_the_registered_name(kind, typed, full):
    assert registry.canonical(kind, typed) == full
    if full.partition(":")[0] in registry.names(kind):
        assert registry.resolve(kind, typed) == registry.resolve(kind, full)


@pytest.mark.parametrize("kind", registry.REGISTRY)
def test_no_name_stands_for_two(kind):
    rows = registry.REGISTRY[kind]
    for name, entry in rows.items():
        assert all(registry.canonical(kind, alias) == name for alias in (name, *entry.aliases))


@pytest.mark.parametrize("kind", ["select", "mate", "mutate", "init"])
def test_numbers_of_every_operator_have_a_range(kind):
    """By its row or its annotation; one without would let a probability of 7 through."""
    for name in registry.names(kind):
        operator = registry.resolve(kind, name)
        arguments = inspect.signature(operator.function).parameters
        defaults = {key: argument.default for key, argument in arguments.items()} | dict(operator.parameters)
        for key, value in defaults.items():
            if isinstance(value, (int, float)):
                assert registry.resolve(kind, f"{name}:{key}={value}").parameters[key] == value
                with pytest.raises(UserError, match=f"{name}:{key}: got -1; expected"):
                    registry.resolve(kind, f"{name}:{key}=-1")


def test_a_function_of_the_users_may_state_a_range_too():
    with pytest.raises(UserError, match=r"mutGroup:share: got 1\.5; expected a number from 0\.0 to 1\.0"):
        registry.resolve("mutate", "ganprune.evolution.operators.variation:mutGroup:share=1.5")


def test_selRank_follows_the_linear_ranking():
    random.seed(8)
    parents = [individual("00", -5.0), individual("01", 0.201), individual("10", 0.2), individual("11", 0.19)]
    shares = Counter(to_text(chosen) for chosen in selection.selRank(parents, 12000, pressure=1.6))
    # Of four: the best 1.6, then 1.2, 0.8, 0.4 times.
    expected = {"01": 0.4, "10": 0.3, "11": 0.2, "00": 0.1}
    assert {key: count / 12000 for key, count in shares.items()} == pytest.approx(expected, abs=0.02)


def test_selRank_lets_equals_share_their_ranks_and_never_selects_the_worst_at_full_pressure():
    random.seed(9)
    equals = [individual("00", 1.0), individual("01", 1.0)]
    shares = Counter(to_text(chosen) for chosen in selection.selRank(equals, 4000, pressure=2.0))
    assert shares["00"] / 4000 == pytest.approx(0.5, abs=0.03)
    parents = [individual("00", 1.0), individual("01", 2.0)]
    assert {to_text(chosen) for chosen in selection.selRank(parents, 200, pressure=2.0)} == {"01"}
    assert selection.selRank(parents[:1], 2) == parents[:1] * 2


@pytest.mark.parametrize("pressure", [0.9, 2.1, float("nan")])
def test_selRank_checks_its_pressure(pressure):
    with pytest.raises(UserError, match=r"pressure of selRank: got .*expected a number from 1 to 2"):
        selection.selRank([individual("00", 1.0)], 1, pressure=pressure)


def test_mutFlipBitPerGroup_flips_at_the_rate_of_each_group(monkeypatch):
    draws(monkeypatch, "random", [0.32, 0.34, 0.32, 0.49, 0.51, 0.24, 0.26, 0.24, 0.26])
    subject = individual("000" + "11" + "0101")
    assert operators.mutFlipBitPerGroup(subject, GROUPS)[0] is subject
    assert to_text(subject) == "101" + "01" + "1111"
    draws(monkeypatch, "random", [0.0, 0.0, 0.0, 0.99, 0.99, 0.49, 0.51, 0.51, 0.51])
    assert to_text(operators.mutFlipBitPerGroup(individual("0" * 9), GROUPS, flips=[0, 2, 2])[0]) == "000111000"


def test_mutFlipBitPerGroup_wants_one_number_for_each_group():
    with pytest.raises(UserError, match="got 2 numbers; expected 1, or 3, one for each group"):
        operators.mutFlipBitPerGroup(individual("0" * 9), GROUPS, flips=[1, 2])


def test_mutFlipBitGuided_drops_the_weak_and_adds_the_strong(monkeypatch):
    saliency = [10, 30, 20, 5, 5, 4, 3, 2, 1]
    # Rates at indpb 0.2: kept 0.4, 0, 0.2 by rank; equals 0.2; dropped 0.4, 4/15, 2/15, 0.
    below = [0.39, 0.0, 0.19, 0.19, 0.19, 0.39, 0.26, 0.13, 0.0]
    above = [0.41, 0.0, 0.21, 0.21, 0.21, 0.41, 0.27, 0.14, 0.0]
    draws(monkeypatch, "random", below)
    subject = individual("111" + "10" + "0000")
    assert operators.mutFlipBitGuided(subject, GROUPS, saliency, indpb=0.2)[0] is subject
    assert to_text(subject) == "010" + "01" + "1110"
    draws(monkeypatch, "random", above)
    assert to_text(operators.mutFlipBitGuided(individual("111100000"), GROUPS, saliency, indpb=0.2)[0]) == "111100000"


def test_mutFlipBitGuided_without_guidance_or_choice_flips_all_alike(monkeypatch):
    draws(monkeypatch, "random", [0.19, 0.21, 0.19])
    assert to_text(operators.mutFlipBitGuided(individual("110"), [3], [1, 2, 3], 0.2, guidance=0.0)[0]) == "011"
    draws(monkeypatch, "random", [0.19, 0.21])
    assert to_text(operators.mutFlipBitGuided(individual("10"), [1, 1], [7, 9], indpb=0.2)[0]) == "00"


def test_mutDensity_brings_one_group_to_a_new_width(monkeypatch):
    draws(monkeypatch, "choice", [slice(5, 9), slice(5, 9), slice(0, 3)])
    draws(monkeypatch, "uniform", [0.76, 0.3, 0.0])
    draws(monkeypatch, "sample", [[5, 8], [6, 7], [1, 2]])
    subject = individual("111110100")
    assert operators.mutDensity(subject, GROUPS)[0] is subject
    assert to_text(subject) == "111111101"
    assert to_text(operators.mutDensity(individual("111111110"), GROUPS)[0]) == "111111000"
    assert to_text(operators.mutDensity(individual("111110100"), GROUPS, low=0.0)[0]) == "100110100"


def test_mutDensity_leaves_the_other_groups_and_never_empties_one():
    random.seed(10)
    widths = Counter()
    for _ in range(600):
        mutant = to_text(operators.mutDensity(individual("110" + "10" + "1100"), GROUPS, low=0.0, high=1.0)[0])
        groups = mutant[:3], mutant[3:5], mutant[5:]
        changed = sum(after != before for after, before in zip(groups, ("110", "10", "1100"), strict=True))
        assert changed <= 1
        assert all("1" in group for group in groups)
        widths[groups[2].count("1")] += 1
    assert set(widths) == {1, 2, 3, 4}


SALIENCY = [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_initProfile_gives_groups_widths_by_a_power_of_their_size(monkeypatch):
    filled = []

    def fill(bits):
        filled.append(to_text(bits))
        return list(bits)

    for exponent, expected in (
        (1.0, "1111" + "1" * 16),
        (0.0, "1111" + "0" * 12 + "1111"),
        (-1.0, "1111" + "0" * 15 + "1"),
    ):
        draws(monkeypatch, "uniform", [exponent, 0.0, 0.0, 1.0])
        assert to_text(initializers.initProfile([4, 16], range(20), fill)) == expected == filled[-1]
    draws(monkeypatch, "uniform", [1.0, 0.0, -0.6931, 0.5])  # half of the second group's filters, then half of all
    assert to_text(initializers.initProfile([4, 16], range(20), fill)) == "0011" + "0" * 12 + "1111"


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ([0.0, 0.4], "111" + "10" + "1111"),  # 2.7 times as wide, as far as there are filters
        ([0.0, 0.6], "111" + "10" + "0100"),  # 2.7 times narrower: one is left, the most salient
        ([1.0, 0.4], "111" + "10" + "1101"),  # the least step: one more, the most salient missing one
        ([1.0, 0.6], "111" + "10" + "0100"),
    ],
)
def test_mutTradeWidths_widens_or_narrows_a_group_by_saliency(monkeypatch, drawn, expected):
    draws(monkeypatch, "choices", [[1]])
    draws(monkeypatch, "sample", [[slice(5, 9)]])
    draws(monkeypatch, "random", drawn)
    subject = individual("111" + "10" + "1100")
    assert widths.mutTradeWidths(subject, GROUPS, SALIENCY, list)[0] is subject
    assert to_text(subject) == expected


@pytest.mark.parametrize(("key", "expected"), [("100", "101"), ("111", "011")])
def test_mutTradeWidths_turns_round_at_the_ends(monkeypatch, key, expected):
    draws(monkeypatch, "choices", [[1]])
    draws(monkeypatch, "sample", [[slice(0, 3)]])
    draws(monkeypatch, "random", [1.0, 0.6 if key == "100" else 0.4])
    assert to_text(widths.mutTradeWidths(individual(key), [3], [1, 2, 3], list)[0]) == expected


def test_trades_and_blends_use_the_budget_up():
    random.seed(11)
    space = ChainSpace((4, 12, 24, 16, 6), "both")
    parents = [from_text(space.fill([1] * 62)), from_text(space.fill(space.repair([0] * 62)))]
    seen = {tuple(space.widths(parent)) for parent in parents}
    for _ in range(30):
        mutant = widths.mutTradeWidths(from_text(parents[0]), space.group_sizes, space.saliency, space.fill)[0]
        children = widths.cxBlendWidths(*map(from_text, parents), space.group_sizes, space.saliency, space.fill)
        for child in (mutant, *children):
            assert space.repair(child) == child == space.fill(child)
            seen.add(tuple(space.widths(child)))
    assert len(seen) > 15


def test_cxBlendWidths_moves_widths_between_and_beyond_the_parents_on_a_log_scale(monkeypatch):
    saliency = [1, 2, 3, 4, 5, 6, 7, 8] * 3
    first, second = "00000001" + "00001111" + "11111111", "00001111" + "00001111" + "00000011"
    draws(monkeypatch, "random", [0.5, 0.9, 0.75])  # gamma: halfway, beyond, and all the way
    children = widths.cxBlendWidths(individual(first), individual(second), [8, 8, 8], saliency, list)
    assert to_text(children[0]) == "00000011" + "00001111" + "00000011"
    assert to_text(children[1]) == "00000011" + "00001111" + "11111111"
    draws(monkeypatch, "random", [1.0])  # gamma 1.5: as far beyond the other parent again
    children = widths.cxBlendWidths(individual("00000011"), individual("00001111"), [8], saliency, list)
    assert [sum(child) for child in children] == [6, 1]


def test_cxBlendWidths_leaves_each_child_its_own_filters(monkeypatch):
    draws(monkeypatch, "random", [0.75])
    children = widths.cxBlendWidths(individual("1100"), individual("0001"), [4], [1, 2, 3, 4], list)
    assert [to_text(child) for child in children] == ["0100", "0011"]
