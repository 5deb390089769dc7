"""Parts of a set: a lone generator, scored by a discriminator or not; one of two; sides that differ; their channels."""

import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from networks import SIZE, Counted, enliven, toy_cyclegan, toy_generator, toy_unet
from toytask import contents, toy_run

from ganprune.cli import main
from ganprune.commands.evaluate import evaluate_run
from ganprune.commands.evolve import resume
from ganprune.commands.finetune import finetune_run
from ganprune.data.images import UnpairedImages
from ganprune.errors import UserError
from ganprune.evolution.algorithms.genetic import Genetic
from ganprune.evolution.coevolution import coevolve
from ganprune.evolution.toolbox import make_toolbox
from ganprune.filters.saving import load_generator
from ganprune.fitness import CycleFitness
from ganprune.metrics.evaluate import evaluate
from ganprune.metrics.measures import Measures
from ganprune.models.architecture import build
from ganprune.models.checkpoint import save_cyclegan
from ganprune.models.cyclegan import CycleGAN, Side, domain_channels
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.options import CheckpointOptions
from ganprune.pipeline.config import configured_task
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.task import check_fingerprint
from ganprune.settings.training import TrainingSettings
from ganprune.training import CycleGANTrainer


def discriminator(channels=3, seed=9):
    return enliven(build(DiscriminatorConfig(ndf=4, layers=1, in_channels=channels)), seed).eval()


def alone(scored=True, name="A2B", **options):
    return CycleGAN(Side(name, toy_generator(**options), discriminator() if scored else None))


def saved(cyclegan, folder):
    save_cyclegan(cyclegan, folder)
    return folder


def fitness_of(cyclegan, images, side="A2B", **options):
    return CycleFitness(cyclegan, images, side, validation_images=2, reconstruct=False, **options)


def test_a_lone_generators_fitness_has_the_terms_that_it_can_have(images):
    scored, bare = fitness_of(alone(), images), fitness_of(alone(scored=False), images)
    bits = scored.space.repair([1, 0] * (len(scored.space) // 2))
    with_one, without = scored(bits), bare(bits)
    assert {"l_disa", "l_gena"} <= set(with_one.terms) and "l_cyc" not in with_one.terms
    assert "l_gena" in without.terms and not {"l_disa", "l_cyc"} & set(without.terms)
    assert with_one.terms["quality"] == with_one.terms["l_disa"]
    assert without.terms["quality"] == without.terms["l_gena"] == with_one.terms["l_gena"]
    assert without[0] == pytest.approx(1 / (without.terms["n"] + 10 * without.terms["l_gena"]))


@pytest.mark.slow
def test_one_of_two_is_scored_as_beside_the_original_other(images):
    pair = toy_cyclegan()
    whole, one = fitness_of(pair, images, "B2A"), fitness_of(pair.only("B2A"), images, "B2A")
    bits = whole.space.repair([0, 1] * (len(whole.space) // 2))
    assert one(bits) == whole(bits) and one(bits).terms == whole(bits).terms
    assert one.cyclic and not fitness_of(alone(), images).cyclic


def test_one_population_evolves_alone(images):
    fitness = fitness_of(alone(), images)
    toolbox = make_toolbox(fitness.space, fitness)
    Genetic(population=4).register(toolbox)
    seen = []
    elites = coevolve({"A2B": toolbox}, generations=3, seed=1, callback=seen.append)
    assert list(elites) == ["A2B"]
    assert [(p.side, p.generation, p.partner) for p in seen] == [("A2B", g, None) for g in range(4)]
    assert elites["A2B"].scalar_fitness == max(i.scalar_fitness for p in seen for i in p.population)


@pytest.mark.slow
@pytest.mark.parametrize("scored", [True, False])
def test_a_lone_generator_goes_through_a_whole_run(tmp_path, image_folder, scored):
    stages = []
    reporter = Reporter(stage=lambda text, total=None: stages.append(text))
    run = toy_run(saved(alone(scored), tmp_path / "one"), image_folder, tmp_path / "run", reporter)
    assert "evolving generator A2B" in stages and "fine-tuning generator A2B, compact" in stages
    assert not run.exists("B2A.safetensors")
    side = run.read_json("summary.json")["sides"]
    assert list(side) == ["A2B"]
    figures = side["A2B"]["metrics"]["compact"]
    assert ("l_disa" in figures) == scored and "l_gena" in figures and "l_cyc" not in figures
    assert "l_cyc" not in side["A2B"]["search"] and side["A2B"]["search"]["reference_fitness"] > 0
    assert load_generator(run.path("A2B"))(torch.zeros(1, 3, SIZE, SIZE)).shape == (1, 3, SIZE, SIZE)
    again = evaluate_run(run.directory, device="cpu", threads=1)
    assert again["A2B"]["metrics"] == side["A2B"]["metrics"]
    further = finetune_run(run.directory, tmp_path / "further", steps=2, batch=2, device="cpu", threads=1)
    assert list(further.read_json("summary.json")["sides"]) == ["A2B"]


def test_a_lone_generator_needs_images_of_its_source_only(tmp_path, image_folder, monkeypatch):
    monkeypatch.setattr("ganprune.metrics.features.Inception", lambda weights: Counted())
    data = tmp_path / "data"
    for folder in ("trainB", "testB"):
        shutil.copytree(image_folder / folder, data / folder)
    run = toy_run(saved(alone(name="B2A"), tmp_path / "one"), data, tmp_path / "run")
    summary = run.read_json("summary.json")
    assert list(summary["sides"]) == ["B2A"] and set(summary["images"]) == {"trainB", "validationB", "testB"}
    with pytest.raises(UserError, match=r"image folder: got .*trainA; expected an existing folder"):
        toy_run(saved(alone(), tmp_path / "other"), data, tmp_path / "new")
    with pytest.raises(UserError, match=r"features: got 0 test images of domain A; .*--features none"):
        toy_run(tmp_path / "one", data, tmp_path / "new", features="inception")
    assert not (tmp_path / "new").exists()


def test_discriminators_that_nothing_needs_may_be_damaged(tmp_path, image_folder):
    torch.save(toy_generator().state_dict(), tmp_path / "netG_A2B.pth")
    (tmp_path / "netD_B.pth").write_bytes(b"damaged")
    notes = []
    options = {"finetune_steps": 0, "generations": 1, "loss": "gena"}
    run = toy_run(tmp_path, image_folder, tmp_path / "run", Reporter(note=notes.append), **options)
    assert run.read_json("config.json")["networks"] == {"discriminator": "none"}
    assert any(f"left out, as nothing needs them: {tmp_path / 'netD_B.pth'} (" in note for note in notes)
    for needing in ({"loss": "disa"}, {"finetune_steps": 2}, {"tune": "cyclegan", "tune_steps": 1}):
        with pytest.raises(UserError, match=r"netD_B\.pth \("):
            toy_run(tmp_path, image_folder, tmp_path / "new", **{**options, **needing})


def test_what_was_left_out_stays_left_out_when_a_run_goes_on(tmp_path, image_folder, checkpoint):
    networks = CheckpointOptions(discriminator="none/patch")
    options = {"finetune_steps": 0, "generations": 1, "networks": networks}
    config = toy_run(checkpoint, image_folder, tmp_path / "run", **options).read_json("config.json")
    task = configured_task(config, "cpu")
    assert task.cyclegan["A2B"].discriminator is None and task.cyclegan["B2A"].discriminator is not None
    check_fingerprint(task, config)


@pytest.mark.slow
def test_an_interrupted_lone_run_goes_on(tmp_path, image_folder):
    folder = saved(alone(), tmp_path / "one")
    whole = toy_run(folder, image_folder, tmp_path / "whole", finetune_steps=2)

    def interrupt(progress):
        if progress.generation == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy_run(folder, image_folder, tmp_path / "broken", Reporter(search=interrupt), finetune_steps=2)
    broken = resume(tmp_path / "broken")
    files = ("A2B.safetensors", "evaluations.jsonl")
    assert all(broken.path(name).read_bytes() == whole.path(name).read_bytes() for name in files)
    one, two = (run.read_json("summary.json")["sides"]["A2B"]["metrics"] for run in (whole, broken))
    assert one == two


@pytest.mark.slow
def test_one_of_two_is_pruned_and_the_other_stays(tmp_path, image_folder, checkpoint):
    options = CheckpointOptions(only="B2A")
    run = toy_run(checkpoint, image_folder, tmp_path / "run", networks=options)
    sides = run.read_json("summary.json")["sides"]
    assert list(sides) == ["B2A"] and "l_cyc" in sides["B2A"]["metrics"]["compact"]
    assert run.read_json("config.json")["networks"] == {"only": "B2A"}
    assert evaluate_run(run.directory, device="cpu", threads=1)["B2A"]["metrics"] == sides["B2A"]["metrics"]
    with pytest.raises(UserError, match=r"--only: got A2B with a run"):
        evaluate_run(run.directory, networks=CheckpointOptions(only="A2B"))


@pytest.mark.slow
def test_sides_that_differ_in_architecture_and_discriminators(tmp_path, image_folder):
    pair = CycleGAN(Side("A2B", toy_unet(), discriminator()), Side("B2A", toy_generator(upsampling="nearest"), None))
    run = toy_run(saved(pair, tmp_path / "pair"), image_folder, tmp_path / "run", algorithm="nsga2:population=4/ga")
    sides = run.read_json("summary.json")["sides"]
    assert "l_disa" in sides["A2B"]["search"] and "l_disa" not in sides["B2A"]["search"]
    assert all("l_cyc" in side["search"] for side in sides.values())
    kinds = [run.read_json(f"{name}.json")["architecture"]["kind"] for name in ("A2B", "B2A")]
    assert kinds == ["unet", "resnet"]
    assert run.read_json("front.json")["objectives"]["quality"] == "l_disa + 10 * l_cyc"


def grey_pair():
    return CycleGAN(
        Side("A2B", toy_generator(in_channels=1), discriminator()),
        Side("B2A", toy_generator(seed=1, out_channels=1), discriminator(1)),
    )


@pytest.mark.slow
def test_each_domain_has_its_channels(tmp_path, image_folder):
    assert domain_channels(grey_pair()) == {"A": 1, "B": 3}
    run = toy_run(saved(grey_pair(), tmp_path / "grey"), image_folder, tmp_path / "run")
    metrics = run.read_json("summary.json")["sides"]["B2A"]["metrics"]["compact"]
    assert metrics["paired_l1"] > 0
    assert load_generator(run.path("A2B"))(torch.zeros(1, 1, SIZE, SIZE)).shape == (1, 3, SIZE, SIZE)


def test_greyscale_is_luma_and_grey_files_come_as_they_are(image_folder):
    colour = UnpairedImages(image_folder, 16)["A"].train
    grey = UnpairedImages(image_folder, 16, channels={"A": 1})
    assert grey["A"].train[0].shape == (1, 16, 16) and grey["B"].train[0].shape == (3, 16, 16)
    red, green, blue = colour[0].double()
    wanted = 0.299 * red + 0.587 * green + 0.114 * blue
    assert (grey["A"].train[0][0].double() - wanted).abs().max() <= 0.5 + 1e-3
    assert grey["A"].train.with_paths(colour.paths[2:3])[0].shape == (1, 16, 16)
    assert grey.whole_training()["A"].train[0].shape == (1, 16, 16)


def test_distances_are_measured_on_grey_images_too(image_folder):
    features = Counted()
    grey = torch.rand(3, 1, 64, 64) * 2 - 1
    assert torch.equal(features(grey), features(grey.expand(-1, 3, -1, -1)))
    with pytest.raises(UserError, match=r"features: got images of 2 channels"):
        features(torch.zeros(2, 2, 64, 64))


@pytest.mark.slow
def test_outputs_that_no_file_holds_are_compared_with_the_originals_only(tmp_path, image_folder):
    odd = CycleGAN(Side("A2B", toy_generator(out_channels=2)))
    run = toy_run(saved(odd, tmp_path / "odd"), image_folder, tmp_path / "run")
    summary = run.read_json("summary.json")
    assert set(summary["images"]) == {"trainA", "validationA", "testA"}
    assert list(summary["sides"]["A2B"]["metrics"]["compact"]) == ["l_gena"]
    wide = saved(CycleGAN(Side("A2B", toy_generator(in_channels=4))), tmp_path / "wide")
    with pytest.raises(UserError, match=r"images: got domain A with 4 channels; expected 1 or 3"):
        toy_run(wide, image_folder, tmp_path / "new")


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (alone, {"finetune": "cyclegan"}, r"finetune: got cyclegan for A2B, without a reverse generator"),
        (alone, {"tune": "cyclegan", "tune_steps": 1}, r"tune: got cyclegan for A2B, without a reverse .*distil"),
        (
            lambda: CycleGAN(*(Side(n, s.generator) for n, s in toy_cyclegan().items())),
            {"finetune": "cyclegan"},
            r"finetune: got cyclegan for A2B, without a discriminator; .*Give --finetune distil",
        ),
        (
            lambda: CycleGAN(Side("A2B", toy_generator())),
            {"finetune": "distil:style=1"},
            r"finetune: got style for A2B, without a discriminator; .*Leave style out",
        ),
        (
            lambda: CycleGAN(Side("A2B", toy_generator(out_channels=2))),
            {"finetune": "distil:imagenet=1"},
            r"finetune: got imagenet for A2B, whose images have 2 channels",
        ),
        (grey_pair, {"identity": 0.5}, r"identity: got a weight above 0, and other channels in each domain"),
        (grey_pair, {"finetune": "cyclegan"}, r"identity: got a weight above 0, and other channels"),
        (alone, {"max_evaluations": 2}, r"max evaluations: got 2; expected 3 or more, .* generation of A2B takes"),
    ],
)
def test_what_a_part_cannot_have_is_refused_before_anything_is_written(tmp_path, image_folder, make, options, message):
    folder = saved(make(), tmp_path / "part")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=message):
        toy_run(folder, image_folder, tmp_path / "run", **options)
    assert contents(tmp_path) == before


def test_the_fitness_names_images_of_other_channels(images):
    with pytest.raises(UserError, match=r"images: got 3 channels in domain A; expected 1, which generator A2B takes"):
        fitness_of(grey_pair(), images)


def test_a_lone_generator_learns_from_its_teacher(images):
    teacher = alone(scored=False)
    student = teacher.with_generators({"A2B": toy_generator(seed=5)})
    settings = TrainingSettings(steps=3, batch=2, identity=0.0, distil=10.0, disa=1.0, augment=1.0)
    losses = list(CycleGANTrainer(student, images, settings, teacher=teacher).train())
    assert list(losses[0]) == ["distil_A2B"] and losses[-1]["distil_A2B"] < losses[0]["distil_A2B"]
    with pytest.raises(UserError, match=r"terms that generator A2B has no networks for"):
        CycleGANTrainer(student, images, TrainingSettings(steps=1, identity=0.0))


def test_a_reverse_generator_is_used_and_not_trained(images):
    pair = toy_cyclegan()
    one = pair.only("A2B")
    before = {key: value.clone() for key, value in pair["B2A"].generator.state_dict().items()}
    losses = next(CycleGANTrainer(one, images, TrainingSettings(steps=1, batch=2)).train())
    assert {"cycle_A2B", "adversarial_A2B", "identity_A2B", "discriminator_A2B"} == set(losses)
    assert all(torch.equal(before[key], value) for key, value in one.reverse("A2B").state_dict().items())


def test_training_of_a_lone_generator_can_be_saved(images, tmp_path):
    settings = TrainingSettings(steps=2, batch=2, distil=1.0, adversarial=0.0, identity=0.0, lam=0.0)

    def trainer():
        return CycleGANTrainer(alone(False, seed=5), images, settings, teacher=alone(scored=False))

    whole, broken = trainer(), trainer()
    list(whole.train())
    next(broken.train())
    broken.save(tmp_path)
    again = trainer()
    again.load(tmp_path)
    list(again.train())
    wanted = whole.cyclegan["A2B"].generator.state_dict()
    got = again.cyclegan["A2B"].generator.state_dict()
    assert all(torch.equal(wanted[key], got[key]) for key in wanted)


def test_evaluation_of_a_part_has_the_figures_that_apply(images):
    cyclegan = alone()
    table = evaluate(cyclegan, {"A2B": toy_generator(seed=5)}, images, measures=Measures(images))
    assert list(table) == ["A2B"]
    of_both = {"picture_error", "patch_distance", "paired_l1", "rms_error", "psnr", "ssim"}
    assert set(table["A2B"]["metrics"]["original"]) == of_both
    assert set(table["A2B"]["metrics"]["compact"]) == of_both | {"l_disa", "l_gena"}


@pytest.mark.slow
def test_searches_of_a_lone_generator_can_be_compared(tmp_path, image_folder):
    folder = saved(alone(), tmp_path / "one")
    texts = ["ga", "random", "--max-evaluations", "9", "--seeds", "2", "--size", str(SIZE), "--device", "cpu"]
    common = "--population 3 --validation-images 1 --calibration-images 2 --precision float32 --target-ratio 2"
    arguments = ["compare", *texts, "--checkpoint", str(folder), "--data", str(image_folder), "--common", common]
    result = CliRunner().invoke(main, [*arguments, "--threads", "1", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, (result.output, result.exception)
    assert (tmp_path / "out" / "compare.png").is_file()
    curve = json.loads((tmp_path / "out" / "run-01-seed-1" / "curve.json").read_text())
    assert all(step["best"] is not None for step in curve["steps"])
    other = CliRunner().invoke(main, [*arguments, "--resume", str(tmp_path / "out"), "--discriminator", "patch"])
    assert other.exit_code == 2 and "networks.discriminator: got patch" in other.stderr
