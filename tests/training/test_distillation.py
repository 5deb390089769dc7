"""Feature distillation: where features are compared, the adapters, and training with them."""

from dataclasses import replace

import pytest
import torch
from networks import toy_cyclegan, toy_generator
from torch import nn
from torch.nn import functional as F

from ganprune.errors import UserError
from ganprune.filters.builder import compact
from ganprune.filters.space import FilterSpace
from ganprune.models.cyclegan import new_cyclegan
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig, ResnetGenerator
from ganprune.settings.terms import TERMS
from ganprune.settings.training import TrainingSettings
from ganprune.training import CycleGANTrainer
from ganprune.training.distillation import FeatureDistillation, least_squares_adapter
from ganprune.training.views import common_layers, seen_by, tapped

SETTINGS = TrainingSettings(
    steps=4, decay_steps=2, batch=2, pool=3, lam=1.0, identity=0.0, adversarial=0.0, distil=1.0, disa=0.5,
    feature_matching=0.5, features=0.7, data_moments=0.5, learning_rate=1e-3, seed=3,
)  # fmt: skip


def half(generator):
    """The compact form that keeps every other filter."""
    space = FilterSpace(generator, size=16)
    return compact(generator, space, space.repair([index % 2 for index in range(len(space))]))


def pruned_pair(seed=0):
    teacher = new_cyclegan(GeneratorConfig(ngf=4, blocks=1), DiscriminatorConfig(ndf=4, layers=1), seed)
    student = teacher.with_generators({name: half(side.generator) for name, side in teacher.items()})
    return student, teacher


def test_layers_are_spread_over_the_depth_and_end_with_the_last_norm():
    generator = ResnetGenerator(GeneratorConfig(ngf=4, blocks=2))
    norms = [name for name, module in generator.named_modules() if isinstance(module, nn.InstanceNorm2d)]
    assert common_layers(generator, generator, 3) == [norms[2], norms[5], norms[8]]
    assert common_layers(generator, generator, 100) == norms


def test_without_norms_the_convolutions_before_the_last_serve():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3))
    assert common_layers(network, network, 4) == ["0", "2"]


def test_a_network_without_inner_layers_is_refused():
    with pytest.raises(UserError, match="feature distillation: got Sequential; expected a network with layers inside"):
        common_layers(nn.Sequential(nn.Conv2d(3, 3, 3)), nn.Sequential(nn.Conv2d(3, 3, 3)), 4)


def test_tapped_features_are_not_changed_by_what_follows_in_place():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True))
    images = torch.randn(2, 1, 4, 4)
    output, (features,) = tapped(network, ["0"], images)
    assert (features < 0).any() and torch.equal(features.relu(), output)
    assert not network[0]._forward_hooks


def test_the_adapter_recovers_a_linear_map():
    torch.manual_seed(0)
    ours, weight = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 1, 1)
    theirs = F.conv2d(ours, weight) + 2
    assert torch.allclose(least_squares_adapter(ours, theirs)(ours), theirs, atol=0.05)


def test_equal_networks_have_almost_no_distance_and_pruned_ones_some():
    generator = toy_generator()
    images = torch.randn(2, 3, 16, 16)
    distances = []
    for student in (generator, half(generator)):
        paths = common_layers(student, generator, 4)
        ours, theirs = (tapped(network, paths, images)[1] for network in (student, generator))
        distances.append(float(FeatureDistillation(ours, theirs)(ours, theirs).detach()))
    assert distances[0] < 1e-3 < distances[1] < 1


def test_a_discriminator_sees_what_stands_before_each_convolution_but_the_first():
    first, second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 1, 3)
    images = torch.randn(2, 3, 8, 8)
    discriminator = nn.Sequential(first, nn.LeakyReLU(0.2, inplace=True), second)
    output, (seen,) = seen_by(discriminator, images)
    assert torch.equal(seen, F.leaky_relu(first(images), 0.2))
    assert torch.equal(output, second(seen))
    assert not second._forward_pre_hooks


def test_a_discriminator_of_one_convolution_leaves_the_matching_out(images):
    teacher = toy_cyclegan()
    for side in teacher.values():
        side.discriminator = nn.Sequential(nn.Conv2d(3, 1, 4))
    student = teacher.with_generators({name: half(side.generator) for name, side in teacher.items()})
    trainer = CycleGANTrainer(student, images, replace(SETTINGS, features=0.0), teacher=teacher)
    assert not any(name.startswith("feature_matching") for name in trainer.train_step())


@pytest.mark.slow
def test_training_lowers_all_distances_to_the_teacher(images):
    student, teacher = pruned_pair()
    settings = replace(SETTINGS, steps=40, decay_steps=0, batch=4, lam=0.0, learning_rate=5e-3, augment=1.0)
    losses = list(CycleGANTrainer(student, images, settings, teacher=teacher).train())
    for term in ("distil", "disa", "feature_matching", "features"):
        for side in ("A2B", "B2A"):
            name = f"{term}_{side}"
            assert sum(step[name] for step in losses[-5:]) < 0.9 * sum(step[name] for step in losses[:5]), name


def test_the_teacher_stays_as_it_was(images):
    student, teacher = pruned_pair()
    before = {k: v.clone() for name, n in teacher.networks().items() for k, v in n.state_dict(prefix=name).items()}
    list(CycleGANTrainer(student, images, SETTINGS, teacher=teacher).train())
    after = {k: v for name, n in teacher.networks().items() for k, v in n.state_dict(prefix=name).items()}
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.slow
def test_an_interrupted_fine_tune_with_adapters_goes_on_exactly(images, tmp_path):
    whole, teacher = pruned_pair()
    list(CycleGANTrainer(whole, images, SETTINGS, teacher=teacher).train())
    first, _ = pruned_pair()
    trainer = CycleGANTrainer(first, images, SETTINGS, teacher=teacher)
    list(trainer.train(until=3))
    trainer.save(tmp_path)
    second, _ = pruned_pair()
    trainer = CycleGANTrainer(second, images, SETTINGS, teacher=teacher)
    trainer.load(tmp_path)
    list(trainer.train())
    for one, other in zip(whole.networks().values(), second.networks().values(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("term", TERMS)
def test_every_distance_needs_a_teacher(images, term):
    settings = replace(SETTINGS, **{**dict.fromkeys(TERMS, 0.0), term: 1.0})
    with pytest.raises(UserError, match=rf"{term}: got 1\.0; expected 0 without a teacher"):
        CycleGANTrainer(toy_cyclegan(), images, settings)
