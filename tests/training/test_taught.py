"""Every term, from its row to a training step: with each kind of discriminator, colour or grey, in either precision."""

import importlib
import inspect
from dataclasses import fields, replace

import pytest
import torch
from networks import toy_cyclegan, toy_generator
from thirdparty import Scales, alive
from torch import nn

from ganprune.data.images import ImageSet
from ganprune.errors import UserError
from ganprune.filters.builder import compact
from ganprune.filters.space import FilterSpace
from ganprune.models.cyclegan import CycleGAN, Side
from ganprune.models.discriminator import DiscriminatorConfig, PatchDiscriminator
from ganprune.settings.terms import IMAGENET, TERMS, TermSettings
from ganprune.settings.training import TrainingSettings
from ganprune.training import CycleGANTrainer
from ganprune.training.augmentation import Batch
from ganprune.training.taught import Taught, compared_views, make_taught
from ganprune.training.teacher import Teacher
from ganprune.training.views import Inside, Onlookers, kept_inputs

NOTHING = TrainingSettings(steps=3, batch=2, lam=0.0, identity=0.0, adversarial=0.0, augment=1.0, seed=3)
QUICK = [name for name, term in TERMS.items() if term.view != IMAGENET]
DATA = [name for name in QUICK if TERMS[name].distance.startswith("moments:")]


def all_terms(**settings):
    return replace(NOTHING, **dict.fromkeys(QUICK, 1.0), **settings)


def half(generator):
    """A generator without every other filter, and which filters it has."""
    space = FilterSpace(generator, size=16)
    bits = space.repair([index % 2 for index in range(len(space))])
    return compact(generator, space, bits), space.kept(bits)


def grey(images):
    """Images of one channel."""
    return {domain: replace(split, train=Grey(split.train)) for domain, split in images.domains.items()}


class Grey(ImageSet):
    def __init__(self, images):
        vars(self).update(vars(images))

    def tensor(self, indices=None):
        return super().tensor(indices).mean(1, keepdim=True)


def patches(channels):
    return alive(PatchDiscriminator(DiscriminatorConfig(ndf=4, layers=1, in_channels=channels)))


def alone(discriminator, channels=3, **settings):
    """A trainer of one pruned generator with all terms, and the original."""
    generator = toy_generator(blocks=1, in_channels=channels, out_channels=channels)
    original = CycleGAN(Side("A2B", generator, discriminator))
    student, kept = half(generator)
    return lambda images: CycleGANTrainer(
        original.with_generators({"A2B": student}), images, all_terms(**settings), teacher=original,
        filters={"A2B": kept},
    )  # fmt: skip


def same_network(images, settings=None):
    """A trainer whose generator is the original, whole."""
    original = toy_cyclegan().only("A2B")
    twin = toy_cyclegan()["A2B"].generator
    return CycleGANTrainer(
        original.with_generators({"A2B": twin}), images, settings or all_terms(), teacher=original, filters={"A2B": {}}
    )


@pytest.mark.parametrize("name", TERMS)
def test_a_row_names_a_function_or_a_class_of_this_room_and_says_what_it_does(name):
    term = TERMS[name]
    module, _, function = term.distance.partition(":")
    found = getattr(importlib.import_module(f"ganprune.training.{module}"), function)
    arguments = list(inspect.signature(found).parameters)
    assert len(arguments) == 3 if isinstance(found, type) else len(arguments) == 2
    assert found.__doc__ and term.doc and len(term.doc) < 80
    assert getattr(TermSettings(), name) == 0
    with pytest.raises(UserError, match=f"{name.replace('_', ' ')}: got -1; expected 0 or more"):
        TermSettings(**{name: -1})


def test_settings_and_weights_follow_from_the_rows():
    assert set(TERMS) <= {each.name for each in fields(TrainingSettings)}
    assert all(replace(NOTHING, **{name: 2.0}).weights[name] == 2 for name in TERMS)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("discriminator", ["patches", "scales"])
def test_all_terms_are_finite_and_trained_with_each_kind_of_discriminator(images, discriminator, precision):
    network = alive(Scales()) if discriminator == "scales" else patches(3)
    trainer = alone(network, precision=precision)(images)
    before = [parameter.detach().clone() for parameter in trainer.cyclegan["A2B"].generator.parameters()]
    losses = trainer.train_step()
    assert set(losses) == {f"{name}_A2B" for name in QUICK}
    assert all(0 < value < 100 for value in losses.values()), losses
    after = list(trainer.cyclegan["A2B"].generator.parameters())
    assert all(parameter.isfinite().all() for parameter in after)
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_all_terms_take_images_of_one_channel(images):
    losses = alone(patches(1), channels=1)(grey(images)).train_step()
    assert set(losses) == {f"{name}_A2B" for name in QUICK} and all(0 < value < 100 for value in losses.values())


def test_without_a_discriminator_the_terms_of_the_generators_alone_remain(images):
    losses = alone(None)(images).train_step()
    assert set(losses) == {f"{n}_A2B" for n in QUICK if TERMS[n].view not in ("scores", "sight")} and losses


def test_all_terms_are_zero_at_the_original(images):
    losses = same_network(images).train_step()
    assert {name.rpartition("_")[0] for name in losses} == set(QUICK)
    assert all(value < 1e-3 for name, value in losses.items() if name.rpartition("_")[0] not in DATA), losses


def test_moments_of_the_data_set_are_those_of_the_originals_images(images):
    trainer = same_network(images)
    distance, teacher = trainer.sides["A2B"].taught.distances["data_moments"], trainer.sides["A2B"].taught.teacher
    real = images["A"].train.tensor()
    real[1::2] = real[1::2].flip(-1)
    with torch.no_grad():
        seen = teacher.look(teacher.side.generator(real))["sight"]
    assert float(distance(seen, [])) == pytest.approx(0, abs=1e-8)


def test_running_moments_are_saved_and_go_on(images, tmp_path):
    settings = replace(NOTHING, data_moments=1.0, distil=1.0, steps=3)
    whole = same_network(images, settings)
    wanted = list(whole.train())
    first = same_network(images, settings)
    list(first.train(until=2))
    first.save(tmp_path)
    second = same_network(images, settings)
    second.load(tmp_path)
    assert list(second.train()) == wanted[2:]
    counts = [int(each.sides["A2B"].taught.distances["data_moments"].count) for each in (first, second)]
    assert counts == [2, 3]


def test_attention_compares_the_channels_that_were_kept():
    generator = toy_generator(blocks=1)
    student, kept = half(generator)
    inside = Inside.of(student, generator, {"kept"}, kept)
    everything = Inside((), dict.fromkeys(inside.kept))
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    ours, theirs, all_of_them = (
        chosen.run(network, images, original=original)[1]["kept"]
        for network, chosen, original in (
            (student, inside, False), (generator, inside, True), (generator, everything, True)
        )
    )  # fmt: skip
    assert [tuple(each.shape) for each in ours] == [tuple(each.shape) for each in theirs]
    for path, mine, whole in zip(inside.kept, theirs, all_of_them, strict=True):
        assert mine.shape[1] < whole.shape[1]
        assert torch.equal(mine, whole[:, torch.as_tensor(kept[path, "weight", kept_dim(generator, path)])])


def kept_dim(generator, path):
    return 0 if isinstance(generator.get_submodule(path), nn.ConvTranspose2d) else 1


def test_attention_needs_to_know_what_was_kept_and_somewhere_to_look(images):
    with pytest.raises(UserError, match="attention: got unknown filters; expected which filters were kept"):
        CycleGANTrainer(toy_cyclegan(), images, replace(NOTHING, attention=1.0), teacher=toy_cyclegan())
    with pytest.raises(UserError, match="attention: got Sequential; expected a network with several convolutions"):
        kept_inputs(nn.Sequential(nn.Conv2d(3, 3, 3)), {}, 4)


def test_one_look_serves_all_terms_of_a_view(images):
    trainer, looks = alone(patches(3))(images), []
    trainer.sides["A2B"].taught.teacher.onlookers.discriminator.register_forward_hook(
        lambda module, inputs, output: looks.append(len(inputs[0]))
    )
    trainer.train_step()
    assert looks == [2, 2], "the compact generator's batch, and the original's"


class Stages(nn.Module):
    """A stand-in for the ImageNet network: two stages."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, images):
        first = self.layer(images.expand(-1, 3, -1, -1))
        return [first, first[..., ::2, ::2].square()]


def test_terms_of_the_imagenet_network_compare_its_stages(images):
    settings = replace(NOTHING, **{name: 1.0 for name, term in TERMS.items() if term.view == IMAGENET})
    original, student = toy_cyclegan()["A2B"], toy_generator(seed=5)
    views, onlookers = compared_views(settings), Onlookers(original.discriminator, Stages())
    assert views == {"imagenet"}
    teacher = Teacher(original, images["A"].train, settings, views, Inside(), onlookers)
    example = Batch(images["A"].train.tensor([0, 1]), None)
    taught = make_taught(teacher, student, settings, example)
    assert isinstance(taught, Taught) and len(taught.distances) == 3
    terms = taught(example, student(example.images), {})
    assert all(0 < float(value.detach()) < 100 and value.requires_grad for value in terms.values())


def test_the_imagenet_network_is_the_one_for_training(images):
    pytest.importorskip("efficientnet_lite_pytorch")
    original = toy_cyclegan().only("A2B")
    student = original.with_generators({"A2B": toy_generator(seed=5)})
    settings = replace(NOTHING, imagenet=1.0, imagenet_style=1.0, precision="bfloat16")
    losses = CycleGANTrainer(student, images, settings, teacher=original).train_step()
    assert set(losses) == {"imagenet_A2B", "imagenet_style_A2B"} and all(0 < value < 10 for value in losses.values())


@pytest.mark.slow
def test_training_lowers_every_term(images):
    trainer = alone(patches(3), batch=4, steps=60, learning_rate=3e-3)(images)
    losses = list(trainer.train())
    first, last = ({name: sum(step[name] for step in part) for name in part[0]} for part in (losses[:5], losses[-5:]))
    assert all(last[name] < first[name] for name in first), {name: last[name] / first[name] for name in first}
