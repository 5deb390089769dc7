"""What goes wrong while a run is under way: signals, a full disk, too little memory, numbers that are none."""

import errno
import json
import os
import shutil
import signal

import pytest
import torch
from click.testing import CliRunner
from networks import SIZE, toy_cyclegan
from toys import agreement, make_side
from toytask import QUICK, contents, copy_images, elites, outcome, toy_run

from ganprune.cli import main
from ganprune.commands.evolve import resume
from ganprune.commands.finetune import finetune_run, resume_finetune
from ganprune.commands.pretrain import pretrain
from ganprune.compare import Contender, compare
from ganprune.data.images import UnpairedImages
from ganprune.errors import UserError
from ganprune.evolution import Genetic, Interrupted, Score, coevolve
from ganprune.evolution.algorithms.nsga2 import NSGA2
from ganprune.filters.builder import NetworkBuilder
from ganprune.fitness import BROKEN, CycleFitness
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.task import Task, load_task
from ganprune.runs.directory import RunDirectory
from ganprune.runs.interruption import Stopped, exit_status
from ganprune.settings.evolve import make_settings
from ganprune.settings.training import TrainingSettings
from ganprune.training import CycleGANTrainer, read_metadata
from ganprune.training import finetune as finetuning
from ganprune.training.finetune import Guard, finetune

SIDES = ("A2B", "B2A")


# --- signals


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_waits_for_the_evaluation_and_says_how_to_go_on(
    run, checkpoint, image_folder, tmp_path, monkeypatch, number, status
):
    options = {"--data": image_folder, "--checkpoint": checkpoint, "--out": tmp_path / "run", "--size": SIZE}
    options |= {"--" + key.replace("_", "-"): value for key, value in QUICK.items()} | {"--threads": 1}
    scored, call = [], CycleFitness.__call__

    def stop_at_5(self, *arguments):
        if len(scored) == 4:
            os.kill(os.getpid(), number)
        score = call(self, *arguments)
        scored.append(score)
        return score

    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        patch.setattr(CycleFitness, "__call__", stop_at_5)
        line = ["evolve", "--no-dry-run", "--device", "cpu", *(str(part) for pair in options.items() for part in pair)]
        result = CliRunner().invoke(main, line)
    assert result.exit_code == status and "Traceback" not in result.output
    assert result.stderr.rstrip().endswith(f"Go on with: ganprune evolve --resume {tmp_path / 'run'}")
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert len(scored) == 5 == len(RunDirectory(tmp_path / "run").read_jsonl("evaluations.jsonl"))
    assert outcome(resume(tmp_path / "run")) == outcome(run)


def test_sigterm_outside_the_search_ends_the_command_too(run, monkeypatch):
    from ganprune.commands import evaluate

    monkeypatch.setattr(evaluate, "measure", lambda *a, **o: os.kill(os.getpid(), signal.SIGTERM))
    result = CliRunner().invoke(main, ["evaluate", str(run.directory)])
    assert result.exit_code == 143 and result.stderr.rstrip() == "Interrupted. Nothing was kept."


def test_a_second_sigterm_aborts_at_once():
    def stubborn(individual, partner=None):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as caught:
        coevolve({side: make_side(Genetic(4), stubborn) for side in SIDES}, generations=1)
    assert not isinstance(caught.value, Interrupted) and exit_status(caught.value) == 143
    assert signal.getsignal(signal.SIGTERM) is before and exit_status(KeyboardInterrupt()) == 130


# --- a full disk


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evaluations.jsonl", "logbook.jsonl", "state.json", "A2B.safetensors", "samples.png"])
def test_a_full_disk_ends_with_one_message_and_the_run_goes_on_when_there_is_room(
    run, checkpoint, image_folder, tmp_path, monkeypatch, name
):
    fsync, tries = os.fsync, []

    def full(number):
        path = os.readlink(f"/proc/self/fd/{number}")
        if name in os.path.basename(path):
            tries.append(path)
            if name.endswith("safetensors") or name.endswith("png") or len(tries) > 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=rf"{name} \(No space left on device\).*make room"):
            toy_run(checkpoint, image_folder, tmp_path / "run")
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert "summary.json" not in left and not any(name.startswith(".") for name in left)
    assert outcome(resume(tmp_path / "run")) == outcome(run)


def test_a_place_that_cannot_be_written_is_one_message_wherever_it_is_noticed(run, monkeypatch):
    from ganprune.commands import evaluate

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/there/file")

    monkeypatch.setattr(evaluate, "evaluate_run", refuse)
    result = CliRunner().invoke(main, ["evaluate", str(run.directory)])
    assert result.exit_code == 2
    assert result.stderr.strip() == (
        "Error: /there/file can't be written (Read-only file system). Make room, or choose another."
    )


def test_a_run_in_a_folder_that_became_read_only_is_left_alone(run, tmp_path, monkeypatch):
    before = contents(run.directory)
    real = open

    def read_only(file, mode="r", *arguments, **options):
        if str(file).startswith(str(run.directory)) and set(mode) & set("wa+x"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(file))
        return real(file, mode, *arguments, **options)

    monkeypatch.setattr("builtins.open", read_only)
    result = CliRunner().invoke(main, ["evolve", "--resume", str(run.directory)])
    assert result.exit_code == 2 and "(Read-only file system); expected a place that can be written" in result.stderr
    monkeypatch.undo()
    assert contents(run.directory) == before


# --- memory


def fitness_of(images, **options):
    return CycleFitness(toy_cyclegan(), images, "A2B", validation_images=1, reconstruct=False, **options)


class Crowded(torch.nn.Module):
    """A network that runs out of memory with more than so many images."""

    def __init__(self, network, most):
        super().__init__()
        self.network, self.most, self.sizes = network, most, []

    def forward(self, batch):
        self.sizes.append(len(batch))
        if len(batch) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB.\nMore.")
        return self.network(batch)


def test_out_of_memory_halves_the_batch_and_goes_on(images):
    fitness = fitness_of(images, batch=32)
    fitness.real = images["A"].train.tensor(range(11))
    network = Crowded(fitness.cyclegan["A2B"].generator, 3)
    with torch.inference_mode():
        translated = fitness.translate(network, fitness.real)
        assert torch.allclose(translated, network.network(fitness.real), atol=1e-5)
    assert network.sizes == [11, 5, 2, 2, 2, 2, 2, 1] and fitness.batch == 2
    fitness.real = fitness.real[:1]
    score = fitness(fitness.space.full())
    assert score.notes == (
        "out of memory with 11 images at once: 5 from now on; last digits may differ from others",
        "out of memory with 5 images at once: 2 from now on; last digits may differ from others",
    )
    assert fitness(fitness.space.full()).notes == ()


def test_a_device_without_memory_for_one_image_is_said(images):
    fitness = fitness_of(images)
    with (
        torch.inference_mode(),
        pytest.raises(UserError, match=r"device: got out of memory with a single image \(CUDA"),
    ):
        fitness.translate(Crowded(fitness.cyclegan["A2B"].generator, 0), fitness.real)


def test_notes_are_logged_in_the_step_they_belong_to(tmp_path, caplog):
    scored = []

    def noting(individual, partner=None):
        scored.append(individual)
        return Score(agreement(individual, partner), {}, ["mind the gap"] if len(scored) == 2 else [])

    coevolve({side: make_side(Genetic(4), noting) for side in SIDES}, generations=1, run=tmp_path)
    log = RunDirectory(tmp_path).read_jsonl("logbook.jsonl")
    assert log[0]["timing"]["notes"] == ["mind the gap"]
    assert not any("notes" in line["timing"] for line in log[1:])
    assert [record.message for record in caplog.records] == ["mind the gap"]


# --- numbers that are none


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ga", "nsga2"])
def test_a_candidate_without_finite_images_gets_the_worst_fitness_and_a_note(
    checkpoint, image_folder, tmp_path, monkeypatch, algorithm
):
    class Broken(torch.nn.Module):
        def forward(self, batch):
            return torch.full_like(batch, float("nan"))

    build = NetworkBuilder.__call__
    monkeypatch.setattr(NetworkBuilder, "__call__", lambda self, bits: Broken() if sum(bits) % 2 else build(self, bits))
    run = toy_run(checkpoint, image_folder, tmp_path / "run", algorithm=algorithm, population=4, finetune_steps=0)
    records = run.read_jsonl("evaluations.jsonl")
    bad = [record for record in records if "broken" in record["terms"]]
    assert 0 < len(bad) < len(records)
    scalar = [record["terms"].get("fitness", record["values"][0]) for record in bad]
    assert set(scalar) == {BROKEN} and not any("l_cyc" in record["terms"] for record in bad)
    notes = [line.get("note", "") for line in run.read_jsonl("logbook.jsonl")]
    assert any("gave images that are not finite; they have the worst fitness" in note for note in notes)
    assert all(sum(map(int, bits)) % 2 == 0 for bits in elites(run).values())


def test_nsga2_takes_notes_along():
    toolbox = make_side(NSGA2(4), lambda individual, partner=None: Score((1.0,), {"n": 1, "quality": 1}, ["x"]))
    assert toolbox.evaluate(toolbox.individual()).notes == ("x",)


# --- a fine-tune that goes astray

TRAINING = TrainingSettings(
    steps=40, batch=2, lam=0.0, identity=0.0, adversarial=0.0, distil=1.0, augment=1.0, learning_rate=1e-3
)


def guarded(values, network, total=40):
    """Show a guard these losses, one a step, while the network's weight counts the steps; return both."""
    guard = Guard({"A2B": network}, TrainingSettings(**{**TRAINING.__dict__, "steps": total}))
    for step, value in enumerate(values, start=1):
        network.weight.data.fill_(step)
        if not guard.good(step, {"distil_A2B": value}):
            return guard.outcome, network.weight.item()
    return guard.outcome, network.weight.item()


@pytest.fixture
def weight():
    return torch.nn.Linear(1, 1, bias=False)


def test_a_fine_tune_that_improves_is_left_alone(weight):
    assert guarded([1 / step for step in range(1, 41)], weight) == ({}, 40)
    assert guarded([1.0] * 10 + [1.9] * 30, weight) == ({}, 40)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_brings_the_last_good_weights_back(weight, value):
    assert guarded([1.0] * 25 + [value], weight) == ({"diverged_at": 26, "weights_of": 20}, 20)
    weight.weight.data.fill_(0.5)
    assert guarded([value], weight)[0] == {"diverged_at": 1, "weights_of": 0}


def test_losses_that_double_bring_the_last_good_weights_back(weight):
    assert guarded([1.0] * 20 + [2.5] * 20, weight) == ({"diverged_at": 30, "weights_of": 20}, 20)


def test_weights_that_are_no_numbers_after_the_last_step_are_noticed(weight):
    guard = Guard({"A2B": weight}, TRAINING)
    before = weight.weight.detach().clone()
    weight.weight.data.fill_(float("nan"))
    assert not guard.good(40, {"distil_A2B": 1.0}) and torch.equal(weight.weight, before)


@pytest.mark.slow
def test_a_diverging_fine_tune_ends_a_run_with_good_weights_and_says_so(
    checkpoint, image_folder, tmp_path, monkeypatch
):
    train_step, told = CycleGANTrainer.train_step, []

    def diverge(self):
        losses = train_step(self)
        if self.step == 15:
            for parameter in self.cyclegan["A2B"].generator.parameters():
                parameter.data.fill_(float("nan"))
            losses["distil_A2B"] = float("nan")
        return losses

    monkeypatch.setattr(CycleGANTrainer, "train_step", diverge)
    reporter = Reporter(lambda text, total=None: told.append(text))
    run = toy_run(checkpoint, image_folder, tmp_path / "run", reporter, generations=1, finetune_steps=30)
    assert "the fine-tune diverged at step 15: the weights of step 10 are kept" in told
    summary = run.read_json("summary.json")
    assert summary["finetune"] == {"diverged_at": 15, "weights_of": 10}
    assert all(side["metrics"]["compact"]["l_gena"] < 4 for side in summary["sides"].values())


# --- a fine-tune that is interrupted


class PowerCut(Exception):  # noqa: N818 - it is not the name of an error
    """Stands for anything that ends the process."""


def cut_at(step):
    def report(now, total, losses):
        if now == step:
            raise PowerCut

    return report


@pytest.mark.slow
def test_a_fine_tune_goes_on_from_its_last_saved_step(images, tmp_path):
    task, settings = (
        Task(toy_cyclegan(), images, None, None),
        make_settings("quick", finetune_steps=24, precision="float32"),
    )
    training = settings.training

    def pair():
        return {name: toy_cyclegan(seed=9)[name].generator for name in SIDES}

    whole, steps = pair(), []
    finetune(task.cyclegan, task.images, whole, training)
    with pytest.raises(PowerCut):
        finetune(task.cyclegan, task.images, pair(), training, cut_at(17), keep=tmp_path, save_seconds=0)
    resumed = pair()
    finetune(task.cyclegan, task.images, resumed, training, lambda step, *rest: steps.append(step), keep=tmp_path)
    assert steps == list(range(17, 25))  # the 16th was the last to be saved
    for name in SIDES:
        for key, value in whole[name].state_dict().items():
            assert torch.equal(value, resumed[name].state_dict()[key]), key
    other = {name: toy_cyclegan(seed=10)[name].generator for name in SIDES}
    steps.clear()
    finetune(task.cyclegan, task.images, other, training, lambda step, *rest: steps.append(step), keep=tmp_path)
    assert steps[0] == 1, "the state belonged to other networks"


def test_a_resumed_guard_judges_as_if_nothing_had_been(weight):
    losses = [1.0] * 14 + [2.6] * 26  # the second window is just good enough, the third isn't

    def show(guard, first, last):
        for step in range(first, last + 1):
            guard.networks["A2B"].weight.data.fill_(step)
            if not guard.good(step, {"distil_A2B": losses[step - 1]}):
                return guard.outcome, guard.networks["A2B"].weight.item()
        return None

    first = Guard({"A2B": weight}, TRAINING)
    assert show(first, 1, 17) is None
    second = Guard({"A2B": torch.nn.Linear(1, 1, bias=False)}, TRAINING)
    second.load(json.loads(json.dumps(first.facts())), first.kept)
    assert show(first, 18, 40) == show(second, 18, 40) == ({"diverged_at": 30, "weights_of": 20}, 20)
    with pytest.raises(UserError, match="no 'guard'; expected the state of a fine-tune"):
        second.load({}, {})


@pytest.mark.slow
def test_the_last_fine_tune_of_a_search_goes_on_too(run, checkpoint, image_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(finetuning.finetune, "__kwdefaults__", {"keep": None, "save_seconds": 0.0})
    with pytest.raises(PowerCut):
        toy_run(checkpoint, image_folder, tmp_path / "run", Reporter(training=cut_at(3)))
    assert (tmp_path / "run" / "training.safetensors").exists()
    steps = []
    resumed = resume(tmp_path / "run", reporter=Reporter(training=lambda step, *rest: steps.append(step)))
    assert steps == [3, 4] and outcome(resumed) == outcome(run)
    assert not (tmp_path / "run" / "training.safetensors").exists()


@pytest.mark.slow
def test_more_generations_begin_another_fine_tune(checkpoint, image_folder, tmp_path, monkeypatch):
    long = toy_run(checkpoint, image_folder, tmp_path / "long", generations=6, seed=4)
    monkeypatch.setattr(finetuning.finetune, "__kwdefaults__", {"keep": None, "save_seconds": 0.0})
    with pytest.raises(PowerCut):
        toy_run(checkpoint, image_folder, tmp_path / "run", Reporter(training=cut_at(3)), generations=1, seed=4)
    assert elites_of_state(tmp_path / "run") != elites_of_state(tmp_path / "long")
    resumed = resume(tmp_path / "run", options={"generations": 6, "seed": 4})
    assert outcome(resumed) == outcome(long)
    assert resumed.read_json("config.json")["settings"]["search"]["generations"] == 6


def elites_of_state(folder):
    return [line["elite"] for line in RunDirectory(folder).read_jsonl("logbook.jsonl")[-2:]]


@pytest.mark.slow
def test_a_finetune_refuses_to_go_on_from_another_run(run, checkpoint, image_folder, tmp_path):
    source = toy_run(checkpoint, image_folder, tmp_path / "source", generations=1, finetune_steps=1)
    with pytest.raises(PowerCut):
        finetune_run(source.directory, tmp_path / "new", steps=3, batch=1, reporter=Reporter(training=cut_at(2)))
    with pytest.raises(UserError, match=r"steps, seed: got 4, 2; expected 3, 1, as the run began"):
        resume_finetune(tmp_path / "new", options={"steps": 4, "seed": 2, "batch": 1})
    for name in ("A2B.safetensors", "A2B.json"):
        (tmp_path / "source" / name).write_bytes(run.path(name).read_bytes())
    with pytest.raises(UserError, match="other generators than when this began"):
        resume_finetune(tmp_path / "new")
    with pytest.raises(UserError, match="expected a run of ganprune finetune"):
        resume_finetune(run.directory)


# --- what a run was begun with


@pytest.mark.slow
def test_other_images_or_another_checkpoint_are_noticed_on_resume(checkpoint, image_folder, tmp_path):
    import shutil

    from ganprune.models.checkpoint import save_cyclegan

    data, networks = copy_images(image_folder, tmp_path / "data"), tmp_path / "networks"
    shutil.copytree(checkpoint, networks)
    with pytest.raises(PowerCut):
        toy_run(networks, data, tmp_path / "run", Reporter(training=cut_at(1)), generations=1)
    before = contents(tmp_path / "run")
    kept = (data / "trainA" / "00.png").read_bytes()
    (data / "trainA" / "00.png").write_bytes((data / "trainA" / "01.png").read_bytes())
    with pytest.raises(UserError, match=rf"images in {data}: got other images than when the run began"):
        resume(tmp_path / "run")
    (data / "trainA" / "00.png").write_bytes(kept)
    save_cyclegan(toy_cyclegan(seed=3), networks)
    with pytest.raises(UserError, match=rf"networks in {networks}: got other networks"):
        resume(tmp_path / "run")
    assert contents(tmp_path / "run") == before
    shutil.copytree(checkpoint, networks, dirs_exist_ok=True)
    assert resume(tmp_path / "run").exists("summary.json")


def test_a_run_of_a_newer_version_or_without_a_format_is_refused(run, tmp_path):
    shutil.copytree(run.directory, tmp_path / "other")
    other = RunDirectory(tmp_path / "other")
    config = other.read_json("config.json")
    for found, message in (
        (3, "got format 3, a newer version's"),
        (1, "got format 1, an older version's"),
        (None, "got format None"),
    ):
        other.write_json("config.json", {**config, "format": found})
        with pytest.raises(UserError, match=rf"config\.json: {message}"):
            resume(other.directory)


# --- pretraining and comparisons


def toy_pretrain(images, path, **options):
    settings = TrainingSettings(steps=7, batch=1, seed=options.pop("seed", 0), lam=options.pop("lam", 10.0))
    return pretrain(
        images, path, settings, generator=GeneratorConfig(ngf=2, blocks=1),
        discriminator=DiscriminatorConfig(ndf=2, layers=1), save_every=2, **options,
    )  # fmt: skip


@pytest.mark.slow
def test_the_means_of_a_logbook_reach_across_an_interruption(images, tmp_path, monkeypatch):
    monkeypatch.setattr("ganprune.commands.pretrain.LOG_EVERY", 3)
    toy_pretrain(images, tmp_path / "whole")
    with pytest.raises(PowerCut):
        toy_pretrain(images, tmp_path / "cut", report=cut_at(6))  # the 4th was saved
    toy_pretrain(images, tmp_path / "cut", resume=True)
    for name in ("logbook.jsonl", "cyclegan.safetensors", "training.safetensors", "samples-000006.png"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_pretraining_goes_on_with_its_own_options_and_images_only(image_folder, tmp_path):
    data = copy_images(image_folder, tmp_path / "data")
    toy_pretrain(UnpairedImages(data, SIZE), tmp_path / "run")
    before = contents(tmp_path / "run")
    message = r"settings\.lam, settings\.seed: got 5\.0, 3; expected 10\.0, 0, as the interrupted run"
    with pytest.raises(UserError, match=message):
        toy_pretrain(UnpairedImages(data, SIZE), tmp_path / "run", resume=True, seed=3, lam=5.0)
    with RunDirectory(tmp_path / "run").locked(), pytest.raises(UserError, match="in use by process"):
        toy_pretrain(UnpairedImages(data, SIZE), tmp_path / "run", resume=True)
    (data / "testA" / "01.png").write_bytes((data / "testA" / "02.png").read_bytes())
    with pytest.raises(UserError, match="data_sha256: got"):
        toy_pretrain(UnpairedImages(data, SIZE), tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == before


def test_pretraining_that_diverges_keeps_its_last_good_checkpoint(images, tmp_path, monkeypatch):
    train_step = CycleGANTrainer.train_step

    def diverge(self):
        losses = train_step(self)
        return {**losses, "cycle_A2B": float("nan")} if self.step == 5 else losses

    monkeypatch.setattr(CycleGANTrainer, "train_step", diverge)
    with pytest.raises(UserError, match=r"cycle A2B loss at step 5: got nan; .*the last good checkpoint"):
        toy_pretrain(images, tmp_path / "run")
    assert read_metadata(tmp_path / "run" / "training.safetensors")["step"] == 4


@pytest.mark.slow
def test_a_comparison_is_one_process_at_a_time_and_keeps_its_options(checkpoint, image_folder, tmp_path):
    task = load_task(checkpoint, image_folder, SIZE, "cpu")

    def run_it(**changed):
        options = {"population": 3, "calibration_images": 4, "precision": "float32", **changed}
        contenders = [Contender(name, make_settings("quick", algorithm=name, **options)) for name in ("ga", "random")]
        return compare(task, contenders, max_evaluations=6, seeds=[1], out=tmp_path / "out", resume=bool(changed))

    run_it()
    before = contents(tmp_path / "out")
    message = r"contenders\.ga\.fitness\.gamma, contenders\.random\.fitness\.gamma: got 5\.0, 5\.0; expected 10"
    with pytest.raises(UserError, match=message):
        run_it(gamma=5.0)
    with RunDirectory(tmp_path / "out").locked(), pytest.raises(UserError, match="in use by process"):
        run_it(gamma=10.0)
    other = load_task(checkpoint, copy_images(image_folder, tmp_path / "data"), SIZE, "cpu")
    with pytest.raises(UserError, match=r"^data, max_evaluations, contenders\.ga\.\w+\.\w+, .*as the comparison began"):
        compare(other, [Contender("ga", make_settings("quick")), Contender("random", make_settings("quick"))],
                max_evaluations=99, seeds=[1], out=tmp_path / "out", resume=True)  # fmt: skip
    with pytest.raises(UserError, match="expected a run of ganprune evolve"):
        resume(tmp_path / "out")
    assert contents(tmp_path / "out") == before
