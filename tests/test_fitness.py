"""CycleFitness: Eq. 11 from independently computed terms, what depends on the partner, and what is computed once."""

import json
import math
import pickle
import random

import numpy as np
import pytest
import torch
from conftest import write_images
from deap import algorithms
from networks import random_bits, toy_cyclegan
from torch.nn import functional as F

import ganprune.cost.network_cost as cost_module
import ganprune.filters.builder as builder_module
import ganprune.filters.space as space_module
from ganprune.data.images import UnpairedImages
from ganprune.errors import UserError
from ganprune.evolution import make_toolbox
from ganprune.evolution.individual import Individual
from ganprune.filters.builder import compact, make_builders, mask
from ganprune.filters.space import FilterSpace
from ganprune.fitness import BROKEN, REVERSE, TERMS, CycleFitness, Term
from ganprune.parallel.payload import pack, release
from ganprune.settings.fitness import FitnessSettings

OTHER = {"A2B": "B2A", "B2A": "A2B"}


@pytest.fixture(scope="module")
def cyclegan():
    return toy_cyclegan()


@pytest.fixture(scope="module")
def images(image_folder):
    return UnpairedImages(image_folder, 16)


@pytest.fixture(scope="module")
def spaces(cyclegan):
    return {name: FilterSpace(side.generator, size=16) for name, side in cyclegan.items()}


@pytest.fixture
def builders(cyclegan, images, spaces):
    """Sliced networks; nothing built yet."""
    return make_builders(cyclegan, images, spaces=spaces, reconstruct=False)


@pytest.fixture(scope="module")
def rebuilders(cyclegan, images, spaces):
    """Reconstructed networks."""
    return make_builders(cyclegan, images, spaces=spaces, reconstruct=True)


@pytest.fixture
def fitness(cyclegan, images, builders):
    return CycleFitness(cyclegan, images, "A2B", builders=builders)


def settings_fitness(cyclegan, images, builders, **settings):
    return CycleFitness(cyclegan, images, "A2B", builders=builders, settings=FitnessSettings(**settings))


def count_calls(network):
    """Let a network count its own forward calls, not those of its copies, in the list that is returned."""
    calls = []
    network.register_forward_hook(lambda module, *arguments: calls.append(1) if module is network else None)
    return calls


def share_of_weights(space, bits, generator):
    """N(p) of Eq. 10 by counting, in a masked full-size network, the weights between filters that live."""
    ones = mask(generator, space, space.full())
    for parameter in ones.parameters():
        parameter.data.fill_(1.0)
    masked = mask(ones, space, bits)
    alive, kept, total = None, 0, 0  # channels that carry something, in order of the layers
    convolutions = [m for m in masked.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))]
    for convolution in convolutions:
        transposed = isinstance(convolution, torch.nn.ConvTranspose2d)
        weight = convolution.weight.transpose(0, 1) if transposed else convolution.weight  # (out, in, k, k)
        produced = weight.flatten(1).any(1)
        read = torch.ones(weight.shape[1], dtype=torch.bool) if alive is None else alive
        kept += int(produced.sum() * read.sum()) * weight[0, 0].numel()
        total += weight.numel()
        alive = produced
    return kept / total


@torch.no_grad()
@pytest.mark.parametrize("side", ["A2B", "B2A"])
def test_terms_and_value_are_those_of_masked_networks(cyclegan, images, builders, side):
    fitness = CycleFitness(cyclegan, images, side, builders=builders)
    space, rival = builders[side].space, builders[OTHER[side]].space
    bits, partner = random_bits(space, 1, 0.6), random_bits(rival, 2, 0.6)
    real = images[side[0]].validation.tensor()
    generator, discriminator = cyclegan[side].generator, cyclegan[side].discriminator
    fake = mask(generator, space, bits)(real)
    recovered = mask(cyclegan[OTHER[side]].generator, rival, partner)(fake)
    n = share_of_weights(space, bits, generator)
    l_disa = float((discriminator(generator(real)) - discriminator(fake)).square().mean())
    l_cyc = float((recovered - real).square().mean())

    score = fitness(bits, partner)

    assert 0.1 < n < 0.9
    assert score.terms["n"] == pytest.approx(n, rel=1e-9)
    assert score.terms["l_disa"] == pytest.approx(l_disa, rel=1e-4)
    assert score.terms["l_cyc"] == pytest.approx(l_cyc, rel=1e-4)
    assert score.terms["l_gena"] == pytest.approx(float(F.mse_loss(fake, generator(real))), rel=1e-4)
    assert score == (pytest.approx(1 / (n + 10 * (l_disa + 10 * l_cyc)), rel=1e-4),)


@torch.no_grad()
@pytest.mark.parametrize("reconstruct", [False, True])
def test_the_full_individual_is_the_original(cyclegan, images, builders, rebuilders, reconstruct):
    fitness = CycleFitness(cyclegan, images, "B2A", builders=rebuilders if reconstruct else builders)
    score = fitness(fitness.space.full())
    real = images["B"].validation.tensor()
    cycle = F.mse_loss(cyclegan["A2B"].generator(cyclegan["B2A"].generator(real)), real)
    assert score.terms["n"] == score.terms["macs"] == 1
    assert score.terms["l_disa"] == pytest.approx(0, abs=1e-10)
    assert score.terms["l_gena"] == pytest.approx(0, abs=1e-10)
    assert score.terms["l_cyc"] == pytest.approx(float(cycle), rel=1e-5)


@pytest.mark.parametrize("fixture", ["builders", "rebuilders"])
def test_no_partner_and_a_partner_that_keeps_all_are_the_original_partner(cyclegan, images, request, fixture):
    builders = request.getfixturevalue(fixture)
    bits = random_bits(builders["A2B"].space, 3)
    fitness = CycleFitness(cyclegan, images, "A2B", builders=builders)
    alone, full = fitness(bits), fitness(bits, builders["B2A"].space.full())
    pruned = fitness(bits, random_bits(builders["B2A"].space, 4))
    assert alone[0] == pytest.approx(full[0], rel=1e-5)
    assert abs(pruned.terms["l_cyc"] - alone.terms["l_cyc"]) > 1e-3


def test_only_the_cycle_term_depends_on_the_partner(fitness, builders):
    bits = random_bits(fitness.space, 5)
    first, second = (fitness(bits, random_bits(builders["B2A"].space, seed)) for seed in (6, 7))
    for term in ("n", "macs", "l_disa", "l_gena"):
        assert first.terms[term] == second.terms[term]
    assert first.terms["l_cyc"] != second.terms["l_cyc"]
    assert first != second


def test_reconstruction_brings_the_images_nearer_to_the_original(cyclegan, images, builders, rebuilders):
    bits = random_bits(builders["A2B"].space, 5, 0.7)
    sliced, rebuilt = (CycleFitness(cyclegan, images, "A2B", builders=b)(bits) for b in (builders, rebuilders))
    assert rebuilt.terms["l_gena"] < sliced.terms["l_gena"]
    assert rebuilt.terms["n"] == sliced.terms["n"]


VALUES = {
    "gamma": ({"gamma": 3.0}, lambda t: t["n"] + 3 * (t["l_disa"] + 10 * t["l_cyc"])),
    "gamma 0": ({"gamma": 0}, lambda t: t["n"]),
    "lam": ({"lam": 2.5}, lambda t: t["n"] + 10 * (t["l_disa"] + 2.5 * t["l_cyc"])),
    "loss": ({"loss": "gena"}, lambda t: t["n"] + 10 * (t["l_gena"] + 10 * t["l_cyc"])),
    "cost": ({"cost": "macs"}, lambda t: t["macs"] + 10 * (t["l_disa"] + 10 * t["l_cyc"])),
    "identity": (
        {"identity": 0.5},
        lambda t: t["n"] + 10 * (t["l_disa"] + 10 * t["l_cyc"] + 10 * 0.5 * t["identity"]),
    ),
    "identity and lam": (
        {"identity": 0.5, "lam": 4},
        lambda t: t["n"] + 10 * (t["l_disa"] + 4 * t["l_cyc"] + 4 * 0.5 * t["identity"]),
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_each_setting_changes_the_value_as_its_formula_says(cyclegan, images, builders, fitness, name):
    settings, size_and_quality = VALUES[name]
    bits = random_bits(fitness.space, 8)
    score, usual = settings_fitness(cyclegan, images, builders, **settings)(bits), fitness(bits)
    assert score[0] == pytest.approx(1 / size_and_quality(score.terms), rel=1e-9)
    assert score[0] != pytest.approx(usual[0], rel=1e-5)
    for term in usual.terms.keys() - {"size", "quality"}:  # what is measured does not depend on the weights
        assert score.terms[term] == usual.terms[term]
    parts = score.terms["size"] + settings.get("gamma", 10) * score.terms["quality"]
    assert parts == pytest.approx(size_and_quality(score.terms), rel=1e-9)


def edges(trial):
    """A term from outside: the absolute difference of neighbours' differences, original and compact."""
    compact_edges, original_edges = (x.diff(dim=-1) for x in (trial.fake, trial.fitness.fake_original))
    return (compact_edges - original_edges).abs().mean()


def brightness(trial):
    return trial.recovered.mean()


def test_a_term_from_outside_is_one_row(cyclegan, images, builders, fitness):
    rows = (*TERMS, Term("edges", edges, weight=(0.5, "lam")), Term("brightness", brightness, needs=REVERSE))
    other = CycleFitness(cyclegan, images, "A2B", builders=builders, terms=rows)
    bits, partner = random_bits(fitness.space, 8), random_bits(builders["B2A"].space, 9)
    score, usual = other(bits, partner), fitness(bits, partner)
    assert list(score.terms) == [*list(usual.terms)[:4], "edges", "l_cyc", "brightness", "size", "quality"]
    assert all(score.terms[name] == usual.terms[name] for name in usual.terms if name != "quality")
    assert score.terms["edges"] > 0 and -1 < score.terms["brightness"] < 1
    assert score.terms["quality"] == pytest.approx(usual.terms["quality"] + 0.5 * 10 * score.terms["edges"], rel=1e-12)
    assert other.formula == "l_disa + 10 * l_cyc + 5 * edges" and fitness.formula == "l_disa + 10 * l_cyc"
    assert other(bits, random_bits(builders["B2A"].space, 3)).terms["edges"] == score.terms["edges"]  # kept
    payload = pack({"A2B": other})
    release(payload.digest)
    assert b"edges" in payload.data, "what workers are sent has the row"


@torch.no_grad()
def test_identity_is_measured_on_images_of_the_target_domain(cyclegan, images, builders):
    fitness = settings_fitness(cyclegan, images, builders, identity=1.0)
    bits = random_bits(fitness.space, 8)
    target = images["B"].validation.tensor()
    unchanged = mask(cyclegan["A2B"].generator, fitness.space, bits)(target)
    assert fitness(bits).terms["identity"] == pytest.approx(float(F.mse_loss(unchanged, target)), rel=1e-4)


@torch.no_grad()
def test_discriminator_output_and_cycle_norm_change_their_terms(cyclegan, images, builders, fitness):
    bits = random_bits(fitness.space, 9)
    real, generator = images["A"].validation.tensor(), cyclegan["A2B"].generator
    discriminator = cyclegan["A2B"].discriminator
    fake = mask(generator, fitness.space, bits)(real)
    mean = settings_fitness(cyclegan, images, builders, discriminator_output="mean")(bits).terms
    pooled = discriminator(generator(real)).mean((1, 2, 3)) - discriminator(fake).mean((1, 2, 3))
    assert mean["l_disa"] == pytest.approx(float(pooled.square().mean()), rel=1e-3)
    assert mean["l_cyc"] == fitness(bits).terms["l_cyc"]
    absolute = settings_fitness(cyclegan, images, builders, cycle_norm="l1")(bits).terms
    recovered = cyclegan["B2A"].generator(fake)
    assert absolute["l_cyc"] == pytest.approx(float((recovered - real).abs().mean()), rel=1e-4)
    assert absolute["l_disa"] == fitness(bits).terms["l_disa"]


def test_the_share_of_macs_weighs_layers_by_their_positions(fitness):
    space, kept = fitness.space, {}
    first, widest = space.groups[0], max(space.groups, key=lambda group: group.size)
    for group in (first, widest):
        bits = space.encode({group.name: range(group.size // 2)})
        kept[group.name] = fitness(bits).terms
    # The first layer works at full size: it is a smaller part of the parameters than of the work.
    assert kept[first.name]["macs"] < kept[first.name]["n"]
    assert kept[widest.name]["macs"] > kept[widest.name]["n"]


def test_a_second_partner_does_not_run_the_individuals_own_network_again(fitness, builders, monkeypatch):
    built = {side: [] for side in builders}

    def counted(generator, space, bits):
        built[next(side for side, builder in builders.items() if builder.generator is generator)].append(bits)
        return compact(generator, space, bits)

    monkeypatch.setattr(builder_module, "compact", counted)
    bits, partners = random_bits(fitness.space, 10), [random_bits(builders["B2A"].space, seed) for seed in (11, 12)]
    asked = count_calls(fitness.cyclegan["A2B"].discriminator)
    fitness(bits, partners[0])
    own = count_calls(builders["A2B"](bits))
    assert (len(built["A2B"]), len(built["B2A"]), len(asked)) == (1, 1, 1)
    fitness(bits, partners[1])
    fitness(bits)
    assert (len(built["A2B"]), len(built["B2A"]), len(asked), len(own)) == (1, 2, 1, 0)


def test_what_does_not_depend_on_the_individual_is_computed_once(fitness, builders, monkeypatch):
    original, discriminator = (getattr(fitness.cyclegan["A2B"], part) for part in ("generator", "discriminator"))
    forwards, asked = count_calls(original), count_calls(discriminator)
    monkeypatch.setattr(space_module, "find_groups", lambda *arguments: pytest.fail("traced again"))
    monkeypatch.setattr(cost_module, "layer_positions", lambda *arguments: pytest.fail("measured again"))
    partner = random_bits(builders["B2A"].space, 20)
    rival = count_calls(builders["B2A"](partner))
    for seed in range(5):
        fitness(random_bits(fitness.space, seed), partner)
    assert (len(forwards), len(asked), len(rival)) == (0, 5, 5)


def test_the_cache_is_bounded_in_bytes_and_never_changes_a_value(cyclegan, images, builders, fitness):
    each = 3 * 16 * 16 * 4 * len(fitness.real)  # bytes of one individual's images
    small = CycleFitness(cyclegan, images, "A2B", builders=builders, cache_bytes=2 * each)
    none = CycleFitness(cyclegan, images, "A2B", builders=builders, cache_bytes=0)
    population = [random_bits(fitness.space, seed) for seed in range(4)]
    partners = [None, random_bits(builders["B2A"].space, 1)]
    for individual in [*population, *population[::-1]]:
        for partner in partners:
            expected = fitness(individual, partner)
            for bounded in (small, none):
                score = bounded(individual, partner)
                assert (score, score.terms) == (expected, expected.terms)
        assert small.translated.held <= 2 * each and len(list(none.translated)) == 1
    assert list(small.translated) == [tuple(population[1]), tuple(population[0])]
    small(population[1])
    small(population[2])
    assert list(small.translated) == [tuple(population[1]), tuple(population[2])]  # the latest used stay


def test_batches_do_not_change_the_value(cyclegan, spaces, tmp_path):
    for index, folder in enumerate(("trainA", "trainB", "testA", "testB", "valA", "valB")):
        write_images(tmp_path / folder, [f"{i}" for i in range(5)], index, (16, 16))
    images = UnpairedImages(tmp_path, 16)
    builders = make_builders(cyclegan, images, spaces=spaces, reconstruct=False)
    whole, parts = (CycleFitness(cyclegan, images, "A2B", builders=builders, batch=size) for size in (32, 2))
    fewer = CycleFitness(cyclegan, images, "A2B", builders=builders, validation_images=2)
    bits = random_bits(whole.space, 1)
    assert len(whole.real) == 5 and len(fewer.real) == 2
    assert parts(bits)[0] == pytest.approx(whole(bits)[0], rel=1e-5)
    assert fewer(bits)[0] != pytest.approx(whole(bits)[0], rel=1e-3)


def test_scoring_is_deterministic_and_draws_nothing(cyclegan, images, builders):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    scores = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        between = states()
        fitness = CycleFitness(cyclegan, images, "A2B", builders=builders)
        scores.append(fitness(random_bits(fitness.space, 3), random_bits(builders["B2A"].space, 4)))
        assert states() == between
    assert scores[0] == scores[1] and scores[0].terms == scores[1].terms
    assert states() != before  # the states compared do change when something is drawn or seeded


@pytest.mark.slow
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_network_without_finite_images_gets_a_tiny_fitness(images, value):
    cyclegan = toy_cyclegan()
    fitness = CycleFitness(cyclegan, images, "A2B", reconstruct=False)
    with torch.no_grad():
        cyclegan["A2B"].generator.model[-2].bias.fill_(value)  # the last convolution; tanh(inf) is 1, tanh(nan) nan
        cyclegan["A2B"].discriminator.model[-1].bias.fill_(value)
    score = fitness(random_bits(fitness.space, 1))
    assert score == (BROKEN,) and 0 < score[0] < 1e-9
    json.dumps(score.terms, allow_nan=False)


def test_any_bits_are_repaired_and_scored(fitness):
    nothing = [0] * len(fitness.space)
    assert fitness(nothing) == fitness(fitness.space.repair(nothing))


def test_a_score_pickles_with_its_terms(fitness):
    score = fitness(fitness.space.full())
    again = pickle.loads(pickle.dumps(score))
    assert again == score and again.terms == score.terms


def test_a_plain_deap_loop_can_use_the_toolbox(fitness):
    toolbox = make_toolbox(fitness.space, fitness, init="initUniform:density=0.5", mate="cxTwoPoint")
    random.seed(4)
    population = toolbox.population(n=6)
    first = max(toolbox.evaluate(individual)[0] for individual in population)
    population, log = algorithms.eaSimple(population, toolbox, cxpb=0.7, mutpb=0.5, ngen=3, verbose=False)
    assert [entry["gen"] for entry in log] == [0, 1, 2, 3] and log[1]["nevals"] > 0
    assert all(isinstance(individual, Individual) and individual.fitness.valid for individual in population)
    best = max(population, key=lambda individual: individual.fitness)
    assert best.fitness.values == fitness(best)
    assert best.fitness.values[0] > 0.9 * first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": -1}, "gamma: got -1; expected 0 or more"),
        ({"gamma": math.nan}, "gamma: got nan"),
        ({"lam": math.inf}, "lam: got inf"),
        ({"identity": -0.5}, "identity: got -0.5"),
        ({"loss": "dis"}, "loss: got dis; expected disa or gena. Did you mean 'disa'"),
        ({"cost": "mac"}, "Did you mean 'macs'"),
        ({"discriminator_output": "maps"}, "discriminator output: got maps.*Did you mean 'map'"),
        ({"cycle_norm": "L1"}, "Did you mean 'l1'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        FitnessSettings(**settings)


def test_no_images_to_score_on_is_refused(cyclegan, images, builders):
    with pytest.raises(UserError, match="validation images: got 0; expected 1 or more"):
        CycleFitness(cyclegan, images, "A2B", builders=builders, validation_images=0)
    with pytest.raises(UserError, match="calibration images: got 0; expected 1 or more"):
        make_builders(cyclegan, images, calibration_images=0)
