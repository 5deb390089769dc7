"""What ``ganprune evolve`` does from end to end: search both generators, make them compact, fine-tune, evaluate."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from deap.base import Toolbox
from torch import nn

from ganprune import __version__
from ganprune.assets import default_checkpoint, default_images
from ganprune.data import UnpairedImages, to_uint8
from ganprune.device import resolve_device, resolve_precision, set_threads
from ganprune.errors import UserError, did_you_mean
from ganprune.evaluate import evaluate, run
from ganprune.evolution.coevolution import SCHEDULES, Progress, coevolve
from ganprune.evolution.individual import Individual
from ganprune.evolution.registry import REGISTRY, resolve
from ganprune.evolution.toolbox import make_toolbox
from ganprune.filters.builder import NetworkBuilder
from ganprune.filters.compact import load_generator, read_description, save_generator
from ganprune.filters.space import ENCODINGS
from ganprune.fitness import CycleFitness, FitnessSettings, make_builders
from ganprune.models.checkpoint import CONFIG_NAME, CycleGAN, check_size, load_cyclegan
from ganprune.report.figures import save_grid
from ganprune.runs import CONFIG, STATE, SUMMARY, RunDirectory
from ganprune.settings import EvolveSettings
from ganprune.training import CycleGANTrainer, TrainingSettings
from ganprune.tuning import TuningSettings, tuned

SUMMARY_FORMAT = 1
SAMPLES = 12
OPERATORS = ("algorithm", "select", "mate", "mutate", "init")
FINETUNE_RATE = {"distil": 5e-4, "cyclegan": 2e-4}


@dataclass(frozen=True)
class Reporter:
    """Whom the stages tell how far they are; every entry may be left out.

    Attributes:
        stage: called with a line when a stage begins, and the number of evaluations or steps that it takes at most.
        search: called after each step of the search.
        evaluation: called after each evaluation, with side and individual.
        training: called after each fine-tuning step with (step, total, losses).
        directory: gets the run directory, once there is one.
    """

    stage: Callable[..., Any] = lambda text, total=None: None
    search: Callable[[Progress], Any] | None = None
    evaluation: Callable[[str, Individual], Any] | None = None
    training: Callable[[int, int, dict[str, float]], Any] | None = None
    directory: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Task:
    """What is compressed: a CycleGAN, its images, and where they came from."""

    cyclegan: CycleGAN
    images: UnpairedImages
    checkpoint: str | None
    data: str | None

    @property
    def device(self) -> torch.device:
        return next(self.cyclegan["A2B"].generator.parameters()).device


def load_task(checkpoint: Path | None, data: Path | None, size: int | None = None, device: str = "auto") -> Task:
    """Load a checkpoint and its images; None stands for the shipped ones.

    Raises:
        UserError: one of them can't be used, or one is the shipped one and the other is not.
    """
    if (checkpoint is None) != (data is None):
        given, missing = ("data", "checkpoint") if checkpoint is None else ("checkpoint", "data")
        raise UserError(missing, "nothing", f"a --{missing} to go with --{given}", "Give both, or neither.")
    target = resolve_device(device)
    images = UnpairedImages(data or default_images(), size)
    cyclegan = load_cyclegan(checkpoint or default_checkpoint(), device=target)
    check_size(cyclegan, images.size)
    return Task(cyclegan, images, *(str(path.resolve()) if path else None for path in (checkpoint, data)))


def compress(
    checkpoint: str | Path | None = None,
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    settings: EvolveSettings | None = None,
    size: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> RunDirectory:
    """Prune both generators of a CycleGAN and write a run directory; ``ganprune evolve`` in one call.

    Args:
        checkpoint: folder of a trained CycleGAN; None for the shipped one.
        data: folder with trainA, trainB, testA, testB; None for the shipped images.
        out: new run directory; None for the next free ``runs/evolve-NNN``.
        settings: what to do; None for the ``quick`` preset.
        size: side length of the images.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads per evaluation.
        reporter: whom to tell how far it is.

    Returns:
        The run directory: summary, compact generators, samples.

    Raises:
        UserError: something given can't be used; nothing has been written then.
    """
    settings, reporter = settings or EvolveSettings(), reporter or Reporter()
    settings = replace(settings, precision=resolve_precision(settings.precision, resolve_device(device)))
    check_settings(settings)
    task = load_task(_path(checkpoint), _path(data), size, device)
    configuration = {
        "command": "evolve", "ganprune": __version__, "torch": torch.__version__, "checkpoint": task.checkpoint,
        "data": task.data, "size": task.images.size, "device": str(task.device), "threads": set_threads(threads),
        "settings": settings.to_json(),
    }  # fmt: skip
    if out is not None and Path(out).exists():
        RunDirectory.create(out)  # refuses it before the images are read
    if task.images.size_note:
        reporter.stage(task.images.size_note)
    task.images.read_all()
    search = prepare(task, settings, reporter)
    directory = RunDirectory.create(out or RunDirectory.next_free("runs", "evolve"))
    directory.write_json(CONFIG, configuration)
    return continue_run(task, directory, settings, search, reporter)


def resume(
    path: str | Path, *, operators: Mapping[str, str] | None = None, reporter: Reporter | None = None
) -> RunDirectory:
    """Go on with an interrupted run, exactly as if it had not been interrupted.

    Args:
        path: the run directory.
        operators: specifications of the form ``package.module:function`` that the run was begun with, by kind
            ("mutate", ...). They have to be given again, since nothing that a file names is ever imported.
        reporter: whom to tell how far it is.

    Raises:
        UserError: the folder holds no run that can go on, or the operators are not the run's.
    """
    directory = RunDirectory.open(path)
    config, settings = read_config(directory)
    if config["command"] != "evolve":
        raise UserError("resume", f"{path} ({config['command']})", "a run of ganprune evolve", "Check the path.")
    check_references(settings, operators or {})
    check_settings(settings)
    set_threads(config["threads"])
    task = load_task(_path(config["checkpoint"]), _path(config["data"]), config["size"], config["device"])
    reporter = reporter or Reporter()
    reporter.directory.append(directory.directory)
    return continue_run(task, directory, settings, prepare(task, settings, reporter), reporter, resuming=True)


def read_config(directory: RunDirectory) -> tuple[dict[str, Any], EvolveSettings]:
    """Return the configuration that a run of ``evolve`` or ``finetune`` was begun with.

    Raises:
        UserError: the file is damaged, or another program's or command's.
    """
    config = directory.read_json(CONFIG)
    try:
        if config["command"] not in ("evolve", "finetune"):
            found = f"{directory.directory} (of ganprune {config['command']})"
            raise UserError("run", found, "a run of ganprune evolve", "Check the path.")
        missing = [key for key in ("checkpoint", "data", "size", "device", "threads") if key not in config]
        if missing:
            raise KeyError(missing[0])
        return config, EvolveSettings(**config["settings"])
    except (KeyError, TypeError) as error:
        raise UserError(
            str(directory.path(CONFIG)), str(error), "the configuration of a run of ganprune evolve", "Check the path."
        ) from error


def check_references(settings: EvolveSettings, given: Mapping[str, str]) -> None:
    """Check that operators which a saved run takes from a module were given again by the caller, and no others."""
    for kind in OPERATORS:
        saved = getattr(settings, kind)
        if kind in given and given[kind] != saved:
            raise UserError(f"--{kind}", given[kind], f"{saved}, as the run began", "Leave it out, or start a new run.")
        if kind not in given and saved.partition(":")[0] not in REGISTRY[kind]:
            raise UserError(kind, f"{saved} from the run's file", "it on the command line too", f"Add --{kind} {saved}")


@dataclass(frozen=True)
class Search:
    """What a search works with, both sides: bits -> network, its fitness, and a DEAP toolbox with a strategy."""

    builders: Mapping[str, NetworkBuilder]
    fitness: Mapping[str, CycleFitness]
    toolboxes: Mapping[str, Toolbox]
    seconds: float


def prepare(task: Task, settings: EvolveSettings, reporter: Reporter) -> Search:
    """Trace the generators, take moments and set up both sides' search; writes nothing.

    Raises:
        UserError: a generator that can't be pruned, or a budget that nothing can meet.
    """
    started = time.perf_counter()
    reporter.stage("tracing the generators" + (" and taking moments" if settings.reconstruct else ""))
    builders = make_builders(
        task.cyclegan, task.images, encoding=settings.encoding, reconstruct=settings.reconstruct,
        calibration_images=settings.calibration_images,
    )  # fmt: skip
    builders = tuned(builders, task.cyclegan, task.images, tuning_settings(settings))
    fitness = make_fitness(task, settings, builders)
    set_budgets(fitness, settings)
    return Search(builders, fitness, make_toolboxes(fitness, settings), time.perf_counter() - started)


def continue_run(
    task: Task,
    directory: RunDirectory,
    settings: EvolveSettings,
    search: Search,
    reporter: Reporter,
    *,
    resuming: bool = False,
) -> RunDirectory:
    """Search, make compact, fine-tune, evaluate and write everything into ``directory``."""
    started = time.perf_counter() - search.seconds
    reporter.directory.append(directory.directory)
    done = directory.read_json(STATE)["step"] if resuming and directory.exists(STATE) else 0
    reporter.stage("co-evolving both generators", (2 * (settings.generations + 1) - done) * settings.population)
    elites = coevolve(
        search.toolboxes, generations=settings.generations, schedule=settings.schedule, run=directory,
        seed=settings.seed, max_evaluations=settings.max_evaluations, max_seconds=settings.max_seconds, resume=resuming,
        callback=reporter.search, on_evaluation=reporter.evaluation,
    )  # fmt: skip
    compact = {name: search.builders[name].final(elites[name]).requires_grad_(True) for name in elites}
    searched = time.perf_counter() - started
    if settings.finetune_steps:
        reporter.stage("fine-tuning both compact generators", settings.finetune_steps)
        finetune(task, compact, finetune_settings(settings), reporter.training)
    reporter.stage("evaluating on test images")
    save_pair(directory, task, compact, elites, settings)
    summary = summarise(task, directory, settings, search, elites, compact)
    summary["seconds"] = time.perf_counter() - started
    summary["seconds_search"] = searched
    directory.write_json(SUMMARY, summary)
    draw_samples(directory.path("samples.png"), task, compact)
    return directory


def check_settings(settings: EvolveSettings) -> None:
    """Resolve every name in the settings, so that a mistake is found before anything is written."""
    fitness_settings(settings)
    finetune_settings(settings)
    tuning_settings(settings)
    for name, choices in (("schedule", SCHEDULES), ("encoding", ENCODINGS)):
        value = getattr(settings, name)
        if value not in choices:
            raise UserError(name, value, " or ".join(choices), did_you_mean(value, choices))
    for kind in OPERATORS:
        resolve(kind, getattr(settings, kind))
    size = getattr(make_strategy(settings), "size", 1)
    if settings.max_evaluations is not None and settings.max_evaluations < 2 * size:
        raise UserError(
            "max evaluations", settings.max_evaluations,
            f"{2 * size} or more, what the first generation of both sides takes",
            "Raise --max-evaluations, or lower --population.",
        )  # fmt: skip


def fitness_settings(settings: EvolveSettings) -> FitnessSettings:
    """Return the part of the settings that the fitness is made of."""
    fields = FitnessSettings.__dataclass_fields__
    return FitnessSettings(**{name: getattr(settings, name) for name in fields})


def tuning_settings(settings: EvolveSettings) -> TuningSettings:
    """Return how the settings want individuals tuned before they are scored."""
    rate = FINETUNE_RATE.get(settings.tune, 0.0)
    return TuningSettings(
        steps=settings.tune_steps,
        passes=settings.tune_passes,
        objective=settings.tune,
        batch=settings.tune_batch,
        learning_rate=rate,
        seed=settings.seed,
    )


def make_fitness(
    task: Task, settings: EvolveSettings, builders: Mapping[str, NetworkBuilder]
) -> dict[str, CycleFitness]:
    """Return both sides' fitness, sharing their networks."""
    terms = fitness_settings(settings)
    return {
        name: CycleFitness(
            task.cyclegan, task.images, name, settings=terms, builders=builders,
            validation_images=settings.validation_images,
            precision=settings.precision,
        )
        for name in task.cyclegan
    }  # fmt: skip


def set_budgets(fitness: Mapping[str, CycleFitness], settings: EvolveSettings) -> None:
    """Make repair hold every individual to the settings' target ratio and MACs.

    Raises:
        UserError: a budget that nothing can meet.
    """
    for side in fitness.values():
        limits: dict[Callable[[Sequence[int]], float], float] = {}
        if settings.target_ratio is not None:
            limits[side.space.parameter_count] = side.space.parameter_count(side.space.full()) / settings.target_ratio
        if settings.max_macs is not None:
            limits[side.macs] = settings.max_macs
        if limits:
            side.space.limit(functools.partial(_fits, limits), "target-ratio or max-macs")


def _fits(limits: Mapping[Callable[[Sequence[int]], float], float], bits: Sequence[int]) -> bool:
    return all(count(bits) <= most for count, most in limits.items())


def make_strategy(settings: EvolveSettings) -> Any:
    """Return a new strategy of the settings' algorithm and population."""
    operator = resolve("algorithm", settings.algorithm)
    return operator.function(**{"population": settings.population, **operator.parameters})


def make_toolboxes(fitness: Mapping[str, CycleFitness], settings: EvolveSettings) -> dict[str, Toolbox]:
    """Return one toolbox for each side, with the settings' operators and strategy."""
    toolboxes = {}
    for name, evaluate_side in fitness.items():
        toolbox = make_toolbox(
            evaluate_side.space, evaluate_side,
            select=settings.select, mate=settings.mate, mutate=settings.mutate, init=settings.init,
        )  # fmt: skip
        make_strategy(settings).register(toolbox)
        toolboxes[name] = toolbox
    return toolboxes


def finetune_settings(settings: EvolveSettings) -> TrainingSettings:
    """Return the final fine-tune's training settings; its second half decays the learning rate."""
    constant = settings.finetune_steps // 2
    rate = settings.finetune_learning_rate or FINETUNE_RATE[settings.finetune]
    distil = settings.finetune == "distil"
    return TrainingSettings(
        steps=constant, decay_steps=settings.finetune_steps - constant, batch=settings.finetune_batch,
        learning_rate=rate, lam=1.0 if distil else settings.lam,
        identity=0.0 if distil else 0.5, adversarial=0.1 if distil else 1.0, distil=10.0 if distil else 0.0,
        augment=1.0 if distil else 286 / 256, precision=settings.precision, seed=settings.seed,
    )  # fmt: skip


def finetune(
    task: Task,
    compact: Mapping[str, nn.Module],
    settings: TrainingSettings,
    report: Callable[[int, int, dict[str, float]], Any] | None = None,
) -> None:
    """Train the compact generators in place, with copies of the original discriminators."""
    teacher = task.cyclegan if settings.distil else None
    trainer = CycleGANTrainer(task.cyclegan.with_generators(compact), task.images, settings, teacher=teacher)
    for losses in trainer.train():
        if report:
            report(trainer.step, settings.total, losses)


def finetune_run(
    path: str | Path,
    out: str | Path,
    *,
    objective: str = "distil",
    steps: int = 1000,
    batch: int = 8,
    seed: int = 1,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> RunDirectory:
    """Fine-tune a finished run's compact pair further, into a run directory of its own.

    Raises:
        UserError: ``path`` holds no finished run, or ``out`` holds one already.
    """
    reporter = reporter or Reporter()
    source = open_finished(path)
    config, settings = read_config(source)
    summary = source.read_json(SUMMARY)
    settings = replace(settings, finetune=objective, finetune_steps=steps, finetune_batch=batch, seed=seed)
    training = finetune_settings(settings)
    threads = set_threads(threads)
    task = load_task(_path(config["checkpoint"]), _path(config["data"]), config["size"], device)
    compact = load_pair(source, task.device)
    bits = {name: Individual.from_key(read_description(source.path(name))["bits"]) for name in compact}
    task.images.read_all()
    directory = RunDirectory.create(out)
    started = time.perf_counter()
    reporter.stage("fine-tuning both compact generators", steps)
    finetune(task, compact, training, reporter.training)
    began = {"command": "finetune", "from": str(path), "device": str(task.device), "threads": threads}
    directory.write_json(CONFIG, {**config, **began, "settings": settings.to_json()})  # not before: it can't be resumed
    save_pair(directory, task, compact, bits, settings)
    reporter.stage("evaluating on test images")
    sides = evaluate(task.cyclegan, compact, task.images, discriminator_output=settings.discriminator_output)
    for name, figures in sides.items():
        figures |= {key: summary["sides"][name][key] for key in ("algorithm", "search")}
    summary |= {"sides": sides, "finetune_seconds": time.perf_counter() - started, "finetuned_from": str(path)}
    directory.write_json(SUMMARY, summary)
    draw_samples(directory.path("samples.png"), task, compact)
    return directory


def open_finished(path: str | Path) -> RunDirectory:
    """Open a run that has come to its end.

    Raises:
        UserError: there is no run, or it was interrupted.
    """
    directory = RunDirectory.open(path)
    read_config(directory)
    if not directory.exists(SUMMARY):
        raise UserError(
            "run", f"{path} (unfinished)", "a finished run", f"Finish it first: ganprune evolve --resume {path}"
        )
    return directory


def evaluate_run(
    path: str | Path,
    *,
    data: Path | None = None,
    size: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the figures of a run's compact pair, or of a checkpoint's own generators.

    Raises:
        UserError: ``path`` is neither.
    """
    reporter = reporter or Reporter()
    set_threads(threads)
    if not Path(path).is_dir():
        raise UserError("run", str(path), "a run directory or a checkpoint's folder", "Check the path.")
    directory, output, compact = RunDirectory(path), "map", None
    if directory.exists(CONFIG) and not directory.exists(CONFIG_NAME):  # a pretraining run is a checkpoint
        config, settings = read_config(open_finished(path))
        output = settings.discriminator_output
        images = data or _path(config["data"]) or default_images()
        checkpoint = _path(config["checkpoint"]) or default_checkpoint()
        task = load_task(checkpoint, images, size or config["size"], device)
        compact = load_pair(directory, task.device)
    elif data is None:
        raise UserError("data", "nothing", "images to evaluate a checkpoint on", "Give --data with the checkpoint.")
    else:
        task = load_task(Path(path), data, size, device)
    if task.images.size_note:
        reporter.stage(task.images.size_note)
    own = {name: side.generator for name, side in task.cyclegan.items()}
    return evaluate(task.cyclegan, compact or own, task.images, discriminator_output=output)


def save_pair(
    directory: RunDirectory,
    task: Task,
    compact: Mapping[str, nn.Module],
    elites: Mapping[str, Individual],
    settings: EvolveSettings,
) -> None:
    """Write both compact generators with what is needed to build them."""
    for name, network in compact.items():
        architecture = task.cyclegan[name].generator.config.to_json()  # type: ignore[union-attr, operator]
        save_generator(
            network, directory.path(name), architecture=architecture, bits=elites[name].key(), side=name,
            size=task.images.size, encoding=settings.encoding,
        )  # fmt: skip


def load_pair(directory: RunDirectory, device: torch.device | str) -> dict[str, nn.Module]:
    """Load both compact generators of a run."""
    return {name: load_generator(directory.path(name), device=device) for name in ("A2B", "B2A")}


def summarise(
    task: Task,
    directory: RunDirectory,
    settings: EvolveSettings,
    search: Search,
    elites: Mapping[str, Individual],
    compact: Mapping[str, nn.Module],
) -> dict[str, Any]:
    """Return what ``summary.json`` holds, but for the time taken."""
    last = directory.read_jsonl("logbook.jsonl")[-1]
    sides = evaluate(task.cyclegan, compact, task.images, discriminator_output=settings.discriminator_output)
    reference = reference_fitness(task, settings, search)
    for name, figures in sides.items():
        elite = elites[name]
        figures["algorithm"] = settings.algorithm.partition(":")[0]
        figures["search"] = {
            **(elite.terms or {}), "fitness": elite.scalar_fitness, "reference_fitness": reference[name](elite)[0],
        }  # fmt: skip
    return {
        "format": SUMMARY_FORMAT, "ganprune": __version__, "torch": torch.__version__, "seed": settings.seed,
        "threads": torch.get_num_threads(), "device": str(task.device), "evaluations": last["evaluations"],
        "rescores": last["rescores"], "cost": last["cost"], "generations": last["generation"],
        "images": task.images.counts(), "data_sha256": data_digest(task.images), "sides": sides,
    }  # fmt: skip


def reference_fitness(task: Task, settings: EvolveSettings, search: Search) -> dict[str, CycleFitness]:
    """Return the fitness by which elites of different runs may be compared.

    Against the original partner, on validation images that the search did not see, with Eq. 11's default weights,
    reconstructed and untuned, in float32, whatever the run's own settings were.
    """
    own = settings.reconstruct and not tuning_settings(settings).wanted
    spaces = {name: builder.space for name, builder in search.builders.items()}
    builders = search.builders if own else make_builders(task.cyclegan, task.images, spaces=spaces)
    return {
        name: CycleFitness(task.cyclegan, task.images, name, builders=builders, skip=settings.validation_images)
        for name in task.cyclegan
    }


def data_digest(images: UnpairedImages) -> str:
    """Return a SHA-256 over the decoded test and validation images, so that runs on other data are told apart."""
    digest = hashlib.sha256()
    for domain in ("A", "B"):
        for role in (images[domain].validation, images[domain].test):
            for index in range(len(role)):
                digest.update(to_uint8(role.tensor([index])).numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def draw_samples(path: Path, task: Task, compact: Mapping[str, nn.Module]) -> None:
    """Write a picture of test images: input, original's and compact's translation, and truth where it is known."""
    sections = {}
    pairs = task.images.paired_test[:SAMPLES]
    for name, side in task.cyclegan.items():
        source, target = task.images[side.source].test, task.images[side.target].test
        pairs_of_side = pairs if name == "A2B" else [(b, a) for a, b in pairs]
        chosen = [index for index, _ in pairs_of_side] or list(range(min(SAMPLES, len(source))))
        real = source.tensor(chosen)
        rows = {
            "input": real,
            "original": run(side.generator, real, task.device),
            "compact": run(compact[name], real, task.device),
        }
        if pairs:
            rows["truth"] = target.tensor([index for _, index in pairs_of_side])
        sections[f"{name} (test images)"] = rows
    save_grid(path, sections, zoom=max(1, 96 // task.images.size))


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
