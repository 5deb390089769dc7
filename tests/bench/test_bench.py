"""The benchmark's parts do what they say; how fast is not asserted."""

import pytest

from ganprune.bench import bench, make_subject, published_evaluation
from ganprune.models.architecture import build
from ganprune.models.cyclegan import CycleGAN, Side
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig


@pytest.fixture
def shipped():
    discriminator = DiscriminatorConfig(ndf=4, layers=1)
    sides = [Side(name, build(GeneratorConfig(ngf=4, blocks=2)), build(discriminator)) for name in ("A2B", "B2A")]
    networks = CycleGAN(*sides)
    for network in networks.networks().values():
        network.eval().requires_grad_(False)
    return networks


@pytest.mark.slow
def test_the_published_procedure_gives_the_fitness_that_ours_gives_without_reconstruction(shipped, images, tmp_path):
    subject = make_subject(shipped, tmp_path, images, scored=2, individuals=1)
    fitness = subject.fitness["A2B"]
    for builder in fitness.builders.values():
        builder.reconstruction = None
        builder.forget()
    bits = subject.individuals[0]
    assert published_evaluation(subject, bits) == pytest.approx(fitness(bits, subject.partner)[0], rel=1e-4)


def test_individuals_keep_the_stated_share_of_macs(shipped, images, tmp_path):
    subject = make_subject(shipped, tmp_path, images, scored=2, individuals=2)
    fitness = subject.fitness["A2B"]
    for bits in subject.individuals:
        assert 0.1 < fitness.cost.macs(bits) / fitness.cost.macs(fitness.space.full()) <= 0.25


@pytest.mark.slow
def test_every_figure_is_there_and_positive(shipped, images):
    result = bench(images, shipped, repeats=1, scored=2, paper=False)
    figures = result["shipped"]
    for name in ("bare_forward_seconds", "reconstruction_seconds", "ratio_cold", "ratio_in_a_search", "peak_memory_mb"):
        assert figures[name] > 0, name
    assert figures["images_per_evaluation"] == 1  # 10 % of 14 images are set aside for validation
    assert result["bookkeeping"]["seconds_per_generation"] > 0
