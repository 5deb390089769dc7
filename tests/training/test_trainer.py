"""The trainer: image pool, schedule, resuming, determinism, distillation."""

import json
import random
from dataclasses import replace

import pytest
import torch
from networks import toy_cyclegan, toy_generator
from safetensors.torch import load_file, save_file
from thirdparty import Scales, alive

from ganprune.commands.pretrain import pretrain
from ganprune.data.images import UnpairedImages
from ganprune.errors import UserError
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.cyclegan import CycleGAN, Side, new_cyclegan
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.models.weights import weights_digest
from ganprune.runs.directory import RunDirectory
from ganprune.settings.training import TrainingSettings
from ganprune.training import CycleGANTrainer, ImagePool
from ganprune.training.state import read_metadata

SETTINGS = TrainingSettings(steps=4, decay_steps=2, batch=2, pool=3, learning_rate=1e-3, seed=3)
CONFIGS = {"generator": GeneratorConfig(ngf=4, blocks=1), "discriminator": DiscriminatorConfig(ndf=4, layers=1)}


def fresh(seed=0, **options):
    return new_cyclegan(*({**CONFIGS, **options}).values(), seed)


def weights(cyclegan):
    return {
        f"{n}.{k}": v.clone() for n, network in cyclegan.networks().items() for k, v in network.state_dict().items()
    }


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def trained(images, settings=SETTINGS, seed=0, **options):
    """Train from scratch; return the weights and every step's losses."""
    cyclegan = fresh(seed, **options)
    losses = list(CycleGANTrainer(cyclegan, images, settings).train())
    return weights(cyclegan), losses


def numbered(*values):
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1, 1)


class Script:
    """A stand-in for ``random.Random`` that answers from a list and records the ranges asked for."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def random(self):
        return self.answers.pop(0)

    def randrange(self, stop):
        answer = self.answers.pop(0)
        assert 0 <= answer < stop
        return answer


def test_a_pool_returns_new_images_until_it_is_full_then_half_of_the_time_older_ones():
    pool = ImagePool(2)
    assert pool.query(numbered(1, 2), Script()).flatten().tolist() == [1, 2]
    answers = Script(0.5, 0.49, 1, 0.0, 1)  # keep 3; swap 4 for place 1; swap 5 for place 1
    assert pool.query(numbered(3, 4, 5), answers).flatten().tolist() == [3, 2, 4]
    assert [float(image) for image in pool.images] == [1, 5] and answers.answers == []


def test_a_pool_of_size_zero_returns_the_newest():
    pool = ImagePool(0)
    for value in (1, 2, 3):
        assert pool.query(numbered(value), Script()).flatten().tolist() == [value]
    assert pool.images == []


def test_a_pools_images_are_copies_without_gradients():
    pool, image = ImagePool(1), numbered(1).requires_grad_(True)
    assert not pool.query(image, random.Random(0)).requires_grad
    image.data.fill_(9)
    assert float(pool.images[0]) == 1 and not pool.images[0].requires_grad


def test_the_rate_is_constant_then_falls_linearly_to_zero():
    settings = TrainingSettings(steps=2, decay_steps=3, learning_rate=0.8)
    assert [settings.rate(step) for step in range(6)] == pytest.approx([0.8, 0.8, 0.6, 0.4, 0.2, 0.0])
    assert settings.total == 5
    assert TrainingSettings(steps=3).rate(2) == 2e-4


def test_both_optimisers_follow_the_rate(images):
    trainer = CycleGANTrainer(fresh(), images, replace(SETTINGS, steps=1, decay_steps=3, learning_rate=0.004))
    rates = []
    for _ in trainer.train():
        rates.append([optimiser.param_groups[0]["lr"] for optimiser in trainer.optimisers.values()])
    assert rates == [pytest.approx([rate] * 2) for rate in (0.004, 0.003, 0.002, 0.001)]


def test_discriminators_may_learn_at_a_rate_of_their_own(images):
    settings = replace(SETTINGS, steps=1, decay_steps=1, learning_rate=0.004, discriminator_rate=2.0)
    trainer, rates = CycleGANTrainer(fresh(), images, settings), []
    for _ in trainer.train():
        rates.append({part: optimiser.param_groups[0]["lr"] for part, optimiser in trainer.optimisers.items()})
    assert rates == [{"generator": rate, "discriminator": 2 * rate} for rate in (0.004, 0.002)]


def test_training_yields_every_loss_of_both_sides_and_ends_in_evaluation_mode(images):
    cyclegan = fresh()
    before = weights(cyclegan)
    losses = list(CycleGANTrainer(cyclegan, images, SETTINGS).train())
    assert len(losses) == 6
    terms = {f"{term}_{side}" for term in ("adversarial", "cycle", "identity", "discriminator") for side in cyclegan}
    for entry in losses:
        assert set(entry) == terms and all(0 < value < 100 for value in entry.values())
    assert all(
        not n.training and not any(p.requires_grad for p in n.parameters()) for n in cyclegan.networks().values()
    )
    after = weights(cyclegan)
    for name in cyclegan.networks():
        assert any(not torch.equal(before[key], after[key]) for key in before if key.startswith(name)), (
            f"{name} did not learn"
        )


def test_losses_are_measured_as_they_are_defined(images):
    """The first step's losses, from the networks as they are initialised and images that no augmentation changes."""
    settings = replace(SETTINGS, augment=1.0)
    trainer = CycleGANTrainer(toy_cyclegan(), images, settings)
    real = {domain: trainer.batch(domain).images for domain in "AB"}
    with torch.no_grad():
        sides = toy_cyclegan()
        for network in sides.networks().values():
            network.train()
        fake_B = sides["A2B"].generator(real["A"])
        rec_A = sides["B2A"].generator(fake_B)
        wanted = {
            "adversarial_A2B": (sides["A2B"].discriminator(fake_B) - 1).square().mean(),
            "cycle_A2B": (rec_A - real["A"]).abs().mean(),
            "identity_A2B": (sides["A2B"].generator(real["B"]) - real["B"]).abs().mean(),
            "discriminator_A2B": 0.5 * (sides["A2B"].discriminator(real["B"]) - 1).square().mean()
            + 0.5 * sides["A2B"].discriminator(fake_B).square().mean(),
        }
    losses = trainer.train_step()
    for name, value in wanted.items():
        assert losses[name] == pytest.approx(float(value), rel=1e-4), name


def test_terms_of_weight_zero_are_left_out(images):
    settings = replace(SETTINGS, steps=1, decay_steps=0, adversarial=0, identity=0)
    cyclegan = fresh()
    before = weights(cyclegan)
    (losses,) = CycleGANTrainer(cyclegan, images, settings).train()
    assert set(losses) == {"cycle_A2B", "cycle_B2A"}
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in weights(cyclegan).items() if "discriminator" in name
    )


def test_a_side_changes_nothing_and_each_optimiser_gets_the_gradients_of_its_own_networks(images):
    trainer = CycleGANTrainer(fresh(), images, SETTINGS)
    before = weights(trainer.cyclegan)
    updates = dict(zip(trainer.sides, trainer.updates({domain: trainer.batch(domain) for domain in "AB"}), strict=True))
    assert same(before, weights(trainer.cyclegan))
    assert all(p.grad is None for network in trainer.cyclegan.networks().values() for p in network.parameters())
    assert all(gradient is not None for update in updates.values() for gradient in update["generator"].gradients)
    for name, update in updates.items():  # a discriminator's loss is its own side's alone
        own = [p.shape for p in trainer.cyclegan[name].discriminator.parameters()]
        assert [g.shape for g in update["discriminator"].gradients if g is not None] == own


def test_two_threads_train_as_one_does_to_the_last_bit(images):
    before = torch.get_num_threads()
    settings, found = replace(SETTINGS, steps=3, decay_steps=0), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            trainer = CycleGANTrainer(fresh(), images, settings)
            assert trainer.side_by_side
            found.append((list(trainer.train()), weights(trainer.cyclegan)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0][0] == found[1][0] and same(found[0][1], found[1][1])


def test_networks_that_note_statistics_are_trained_one_side_after_the_other(images):
    assert not CycleGANTrainer(
        fresh(generator=GeneratorConfig(ngf=4, blocks=1, norm="batch")), images, SETTINGS
    ).side_by_side


def test_the_same_seed_gives_the_same_weights_whatever_else_draws(images):
    settings = replace(SETTINGS, steps=2, decay_steps=0)
    one = trained(images, settings)[0]
    random.seed(5)
    torch.manual_seed(5)
    assert same(one, trained(images, settings)[0])
    assert not same(one, trained(images, replace(settings, seed=4))[0])
    assert not same(one, trained(images, settings, seed=1)[0])


def test_noise_between_the_halves_of_a_cycle_changes_the_cycle_alone_and_is_the_same_every_time(images):
    settings = replace(SETTINGS, steps=1, decay_steps=0)
    (clean,), (noisy,), (again,) = (trained(images, replace(settings, cycle_noise=noise))[1] for noise in (0, 20, 20))
    assert noisy == again
    assert {name for name in clean if clean[name] != noisy[name]} == {"cycle_A2B", "cycle_B2A"}


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(images, tmp_path, norm):
    options = {"generator": GeneratorConfig(ngf=4, blocks=1, norm=norm)}
    wanted, losses = trained(images, **options)
    first = CycleGANTrainer(fresh(**options), images, SETTINGS)
    seen = list(first.train(until=3))
    assert first.step == 3 and first.cyclegan["A2B"].generator.training
    first.save(tmp_path)
    second = CycleGANTrainer(fresh(seed=9, **options), images, SETTINGS)
    second.load(tmp_path)
    assert second.step == 3
    assert {name: len(one.pool.images) for name, one in second.sides.items()} == {"A2B": 3, "B2A": 3}
    seen += list(second.train())
    assert same(weights(second.cyclegan), wanted)
    assert seen == losses


def test_averaged_weights_follow_the_trained_ones_and_are_kept_over_an_interruption(images, tmp_path):
    settings = replace(SETTINGS, steps=3, decay_steps=0, average=0.75)
    trainer, wanted = CycleGANTrainer(fresh(), images, settings), {}
    for _ in trainer.train():
        for name, value in weights(trainer.cyclegan).items():
            wanted[name] = torch.lerp(wanted[name], value, 0.25) if "generator" in name and name in wanted else value
        if trainer.step == 2:
            trainer.save(tmp_path)
    found = weights(trainer.result())
    assert not same(found, weights(trainer.cyclegan))
    assert all(torch.allclose(found[name], value, atol=1e-7) for name, value in wanted.items())
    resumed = CycleGANTrainer(fresh(seed=9), images, settings)
    resumed.load(tmp_path)
    list(resumed.train())
    assert same(found, weights(resumed.result()))


def test_a_state_without_a_newer_setting_is_read_as_its_default(images, tmp_path):
    CycleGANTrainer(fresh(), images, SETTINGS).save(tmp_path)
    path = tmp_path / "training.safetensors"
    tensors, metadata = load_file(path), read_metadata(path)
    del metadata["settings"]["average"]
    save_file(tensors, path, metadata={"training": json.dumps(metadata)})
    CycleGANTrainer(fresh(seed=9), images, SETTINGS).load(tmp_path)


@pytest.mark.slow
def test_an_interruption_before_the_pool_is_full_changes_nothing(images, tmp_path):
    first, wanted = CycleGANTrainer(fresh(), images, SETTINGS), trained(images)[0]
    for until in (0, 1):
        list(first.train(until=until))
        assert first.step == until
        first.save(tmp_path)
        second = CycleGANTrainer(fresh(seed=9), images, SETTINGS)
        second.load(tmp_path)
        list(second.train())
        assert same(weights(second.cyclegan), wanted)


@pytest.mark.parametrize(
    "change", [{"learning_rate": 2e-3}, {"betas": (0.9, 0.999)}, {"steps": 5}, {"seed": 4}, {"pool": 2}]
)
def test_resuming_with_other_settings_is_refused(images, tmp_path, change):
    CycleGANTrainer(fresh(), images, SETTINGS).save(tmp_path)
    other = CycleGANTrainer(fresh(), images, replace(SETTINGS, **change))
    with pytest.raises(
        UserError, match=rf"{next(iter(change))}: got .*; expected .*, as the interrupted run. Resume with equal"
    ):
        other.load(tmp_path)


def test_resuming_with_another_architecture_names_the_tensor(images, tmp_path):
    CycleGANTrainer(fresh(), images, SETTINGS).save(tmp_path)
    other = CycleGANTrainer(fresh(generator=GeneratorConfig(ngf=4, blocks=2)), images, SETTINGS)
    with pytest.raises(UserError, match=r"training\.safetensors without tensor model\.11\.conv_block"):
        other.load(tmp_path)


def test_resuming_from_nothing_or_from_a_damaged_file_is_refused(images, tmp_path):
    trainer = CycleGANTrainer(fresh(), images, SETTINGS)
    with pytest.raises(UserError, match=r"training\.safetensors \(missing\)"):
        trainer.load(tmp_path)
    trainer.save(tmp_path)
    path = tmp_path / "training.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"training\.safetensors \(.*expected an undamaged file"):
        trainer.load(tmp_path)


def test_resuming_from_plain_weights_is_refused(images, tmp_path):
    save_file({"model.1.weight": torch.ones(1)}, tmp_path / "training.safetensors")
    with pytest.raises(UserError, match=r"training state: got .*; expected a file that training wrote"):
        CycleGANTrainer(fresh(), images, SETTINGS).load(tmp_path)


@pytest.mark.slow
def test_distillation_approaches_the_teachers_images(images):
    teacher = toy_cyclegan()
    before = weights(teacher)
    students = {name: toy_generator(seed=20 + index, ngf=3) for index, name in enumerate(teacher)}
    cyclegan = teacher.with_generators(students)
    settings = TrainingSettings(steps=30, batch=4, adversarial=0, lam=0, identity=0, distil=1, learning_rate=5e-3)

    def distances():
        with torch.no_grad():
            real = {side.source: images[side.source].train.tensor() for side in teacher.values()}
            return [
                float((side.generator(real[side.source]) - teacher[n].generator(real[side.source])).abs().mean())
                for n, side in cyclegan.items()
            ]

    start = distances()
    losses = list(CycleGANTrainer(cyclegan, images, settings, teacher=teacher).train())
    assert set(losses[0]) == {"distil_A2B", "distil_B2A"}
    assert all(after < 0.7 * before for before, after in zip(start, distances(), strict=True))
    assert same(weights(teacher), before), "the teacher was changed"


def test_distillation_goes_with_the_other_terms(images):
    teacher = toy_cyclegan()
    cyclegan = teacher.with_generators({name: toy_generator(ngf=2) for name in teacher})
    settings = replace(SETTINGS, steps=1, decay_steps=0, distil=10.0)
    (losses,) = CycleGANTrainer(cyclegan, images, settings, teacher=teacher).train()
    assert {"distil_A2B", "adversarial_A2B", "cycle_A2B", "identity_A2B", "discriminator_A2B"} <= set(losses)


def test_bfloat16_trains_float32_weights(images):
    tensors, losses = trained(images, replace(SETTINGS, steps=2, decay_steps=0, precision="bfloat16"))
    assert all(tensor.dtype == torch.float32 and torch.isfinite(tensor).all() for tensor in tensors.values())
    exact = trained(images, replace(SETTINGS, steps=2, decay_steps=0))[1]
    for name, value in exact[0].items():
        assert losses[0][name] == pytest.approx(value, rel=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": -1}, r"steps: got -1; expected 0 or more. Correct --steps"),
        ({"decay_steps": -1}, r"decay steps: got -1; .*Correct --decay-steps"),
        ({"lam": -0.5}, r"lam: got -0\.5"),
        ({"identity": -1}, r"identity: got -1"),
        ({"pool": -1}, r"pool: got -1"),
        ({"lam": float("nan")}, r"lam: got nan"),
        ({"batch": 0}, r"batch: got 0; expected 1 or more"),
        ({"learning_rate": 0}, r"learning rate: got 0; expected a number above 0"),
        ({"learning_rate": float("nan")}, r"learning rate: got nan; expected a number above 0"),
        ({"discriminator_rate": 0}, r"discriminator rate: got 0; expected a number above 0"),
        ({"precision": "fp16"}, r"precision: got fp16; expected float32 or bfloat16"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(UserError, match=message):
        replace(SETTINGS, **change)


def test_distillation_needs_a_teacher(images):
    with pytest.raises(UserError, match=r"distil: got 1\.0; expected 0 without a teacher"):
        CycleGANTrainer(fresh(), images, replace(SETTINGS, distil=1.0))


def pretrained(images, path, **options):
    return pretrain(images, path, SETTINGS, **CONFIGS, **options)


def test_pretraining_writes_a_checkpoint_a_logbook_and_samples(images, tmp_path):
    seen = []
    cyclegan = pretrained(images, tmp_path, save_every=4, report=lambda step, total, losses: seen.append((step, total)))
    assert seen == [(step, 6) for step in range(1, 7)]
    assert same(weights(load_cyclegan(tmp_path)), weights(cyclegan))
    run = RunDirectory.open(tmp_path)
    assert run.read_json("config.json")["settings"]["seed"] == 3
    assert [entry["step"] for entry in run.read_jsonl("logbook.jsonl")] == [6]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["samples-000004.png", "samples-000006.png"]


def test_a_pretraining_of_an_earlier_version_that_had_fewer_settings_is_resumed(images, tmp_path):
    settings = replace(SETTINGS, steps=1, decay_steps=0)
    pretrain(images, tmp_path, settings, **CONFIGS)
    run = RunDirectory.open(tmp_path)
    config = run.read_json("config.json")
    for name in ("style", "average"):
        del config["settings"][name]
    run.write_json("config.json", config)
    pretrain(images, tmp_path, settings, **CONFIGS, resume=True)
    with pytest.raises(UserError, match=r"settings\.style: got 1\.0; expected 0\.0"):
        pretrain(images, tmp_path, replace(settings, style=1.0), **CONFIGS, resume=True)


def test_pretraining_without_norms_is_saved_as_such(images, tmp_path):
    configs = {name: replace(config, norm="none") for name, config in CONFIGS.items()}
    cyclegan = pretrain(images, tmp_path, replace(SETTINGS, steps=1, decay_steps=0), **configs)
    loaded = load_cyclegan(tmp_path)
    assert same(weights(loaded), weights(cyclegan)) and loaded.taken_for == []
    assert {network.config.norm for network in loaded.networks().values()} == {"none"}


def test_pretraining_a_deep_generator_takes_images_of_its_multiples(images, tmp_path):
    deep = {**CONFIGS, "generator": GeneratorConfig(ngf=2, blocks=1, downsamplings=3)}
    odd = UnpairedImages(images.root, 20)
    with pytest.raises(UserError, match=r"size: got 20x20; expected multiples of 8 .*multiple=8"):
        pretrain(odd, tmp_path, SETTINGS, **deep)


@pytest.mark.slow
def test_pretraining_resumes_where_it_was_saved(images, tmp_path):
    class StopError(Exception):
        pass

    def stop(step, total, losses):
        if step == 5:
            raise StopError

    wanted = weights(pretrained(images, tmp_path / "whole", save_every=2))
    with pytest.raises(StopError):
        pretrained(images, tmp_path / "stopped", save_every=2, report=stop)
    steps = []
    resumed = pretrained(
        images, tmp_path / "stopped", resume=True, report=lambda step, total, losses: steps.append(step)
    )
    assert steps == [5, 6] and same(weights(resumed), wanted)


def test_a_discriminator_of_several_scales_is_trained_and_compared_by_all_its_scores(images):
    original = CycleGAN(Side("A2B", toy_generator(), alive(Scales())))
    pair = CycleGAN(Side("A2B", toy_generator(seed=1), alive(Scales())))
    terms = {"adversarial": 1.0, "disa": 1.0, "feature_matching": 1.0, "distil": 1.0}
    settings = TrainingSettings(steps=1, batch=2, lam=0.0, identity=0.0, augment=1.0, **terms)
    trainer = CycleGANTrainer(pair, images, settings, teacher=original)
    real = trainer.batch("A").images
    with torch.no_grad():
        fake, wanted = pair["A2B"].generator(real), original["A2B"].generator(real)
        said, goal = (torch.cat([s[-1].flatten() for s in pair["A2B"].discriminator(each)]) for each in (fake, wanted))
    before = weights_digest({"": pair["A2B"].discriminator})
    losses = trainer.train_step()
    assert losses["adversarial_A2B"] == pytest.approx(float((said - 1).square().mean()), rel=1e-4)
    assert losses["disa_A2B"] == pytest.approx(float((said - goal).square().mean()), rel=1e-4)
    assert losses["feature_matching_A2B"] > 0 and losses["discriminator_A2B"] > 0
    assert weights_digest({"": pair["A2B"].discriminator}) != before
