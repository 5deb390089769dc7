"""Tuning each individual before it is scored, as in the paper."""

import pytest
import torch
from networks import random_bits

from ganprune.errors import UserError
from ganprune.filters.builder import make_builders
from ganprune.fitness import CycleFitness
from ganprune.settings.training import TuningSettings
from ganprune.training.tuning import TunedBuilder, tuned


@pytest.fixture
def task(cyclegan, images):
    for network in cyclegan.networks().values():
        network.requires_grad_(False)
    return cyclegan, images


def fitness_of(task, settings):
    cyclegan, images = task
    builders = tuned(
        make_builders(cyclegan, images, reconstruct=False), cyclegan, images, settings, seed=0, precision="float32"
    )
    return {side: CycleFitness(cyclegan, images, side, builders=builders) for side in cyclegan}


@pytest.mark.slow
def test_distilled_tuning_brings_images_closer_to_the_originals(task):
    plain = fitness_of(task, TuningSettings())["A2B"]
    bits = random_bits(plain.space, seed=1)
    better = fitness_of(task, TuningSettings(steps=40))["A2B"]
    assert better(bits).terms["l_gena"] < 0.9 * plain(bits).terms["l_gena"]


def test_distilled_tuning_does_not_depend_on_the_partner(task):
    both = fitness_of(task, TuningSettings(steps=2))
    bits, partner = random_bits(both["A2B"].space, seed=1), random_bits(both["B2A"].space, seed=2)
    alone, met = both["A2B"](bits).terms, both["A2B"](bits, partner).terms
    assert alone["l_disa"] == met["l_disa"]
    assert alone["l_cyc"] != met["l_cyc"]


def test_the_papers_tuning_depends_on_the_partner(task):
    both = fitness_of(task, TuningSettings(steps=2, objective="cyclegan", batch=1))
    bits, partner = random_bits(both["A2B"].space, seed=1), random_bits(both["B2A"].space, seed=2)
    assert both["A2B"](bits).terms["l_disa"] != both["A2B"](bits, partner).terms["l_disa"]


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["distil", "cyclegan"])
def test_tuning_is_deterministic_and_leaves_the_original_alone(task, objective):
    cyclegan, _ = task
    before = {name: value.clone() for name, value in cyclegan["A2B"].generator.state_dict().items()}
    settings = TuningSettings(steps=2, objective=objective)
    bits = random_bits(fitness_of(task, settings)["A2B"].space, seed=1)
    torch.manual_seed(1)
    first = fitness_of(task, settings)["A2B"](bits)
    torch.manual_seed(2)
    second = fitness_of(task, settings)["A2B"](bits)
    assert first == second
    assert first.terms == second.terms
    assert all(torch.equal(value, before[name]) for name, value in cyclegan["A2B"].generator.state_dict().items())


def test_a_pass_is_the_seeded_tenth_of_the_training_images(task):
    cyclegan, images = task
    builder = make_builders(cyclegan, images, reconstruct=False)["A2B"]
    settings = TuningSettings(passes=3, batch=2)
    tenth = max(1, round(0.1 * len(images["A"].train)))
    assert TunedBuilder(builder, cyclegan, images, "A2B", settings).steps == -(-3 * tenth // 2)


def test_no_tuning_gives_the_same_builders(task):
    builders = make_builders(*task, reconstruct=False)
    assert tuned(builders, *task, TuningSettings(), seed=0, precision="float32") is builders


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "distill"}, "tune: got distill; expected distil or cyclegan. Did you mean 'distil'"),
        ({"steps": -1}, "tune steps: got -1; expected 0 or more"),
        ({"passes": -0.5}, "tune passes: got -0.5; expected 0 or more"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(UserError) as caught:
        TuningSettings(**options)
    assert message in str(caught.value)
