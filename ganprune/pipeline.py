"""What ``ganprune evolve``, ``finetune`` and ``evaluate`` do from end to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ganprune import __version__
from ganprune.assets import default_checkpoint, default_images
from ganprune.device import resolve_device, resolve_precision, set_threads
from ganprune.errors import UserError
from ganprune.evolution.coevolution import Progress, coevolve
from ganprune.evolution.individual import Individual
from ganprune.filters.compact import read_description
from ganprune.front import save_fronts
from ganprune.latency.table import LATENCY, to_json
from ganprune.metrics.measures import Wanted
from ganprune.models.checkpoint import CONFIG_NAME
from ganprune.models.options import CheckpointOptions
from ganprune.results import draw_samples, finetune, load_pair, make_measures, materialise, measure, save_pair
from ganprune.runs import CONFIG, STATE, SUMMARY, RunDirectory
from ganprune.search import (
    Search,
    check_objectives,
    check_references,
    check_settings,
    finetune_settings,
    needs_latency,
    prepare,
)
from ganprune.settings import EvolveSettings
from ganprune.task import Task, load_task


@dataclass(frozen=True)
class Reporter:
    """Whom the stages tell how far they are; every entry may be left out.

    Attributes:
        stage: called with a line when a stage begins, and the number of evaluations or steps that it takes at most.
        search: called after each step of the search.
        evaluation: called after each evaluation, with side and individual.
        training: called after each fine-tuning step with (step, total, losses).
        directory: gets the run directory, once there is one.
        note: called with a line about what was found.
    """

    stage: Callable[..., Any] = lambda text, total=None: None
    search: Callable[[Progress], Any] | None = None
    evaluation: Callable[[str, Individual], Any] | None = None
    training: Callable[[int, int, dict[str, float]], Any] | None = None
    directory: list[Path] = field(default_factory=list)
    note: Callable[[str], Any] = lambda text: None


def compress(
    checkpoint: str | Path | None = None,
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    settings: EvolveSettings | None = None,
    size: int | None = None,
    networks: CheckpointOptions | None = None,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> RunDirectory:
    """Prune the generators of a CycleGAN and write a run directory; ``ganprune evolve`` in one call.

    Args:
        checkpoint: folder of a trained CycleGAN, or of a part of one; None for the shipped one.
        data: folder with trainA, trainB, testA, testB; None for the shipped images.
        out: new run directory; None for the next free ``runs/evolve-NNN``.
        settings: what to do; None for the ``quick`` preset.
        size: side length of the images.
        networks: how the checkpoint is to be read, where that is not to be found out, and which side to prune.
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
    if settings.inception_weights:
        settings = replace(settings, inception_weights=str(Path(settings.inception_weights).resolve()))
    check_settings(settings, sides=())
    task = load_task(_path(checkpoint), _path(data), size, device, networks)
    for note in task.cyclegan.notes if checkpoint else ():
        reporter.note(note)
    check_settings(settings, list(task.cyclegan))
    check_objectives(task, settings)
    make_measures(task, settings)
    configuration = {
        "command": "evolve", "ganprune": __version__, "torch": torch.__version__, "checkpoint": task.checkpoint,
        "data": task.data, "size": task.images.size, "device": str(task.device), "threads": set_threads(threads),
        "networks": task.networks.to_json(), "settings": settings.to_json(),
    }  # fmt: skip
    if out is not None and Path(out).exists():
        RunDirectory.create(out)  # refuses it before the images are read
    if task.images.size_note:
        reporter.stage(task.images.size_note)
    task.images.read_all()
    search = prepare(task, settings, reporter.stage)
    directory = RunDirectory.create(out or RunDirectory.next_free("runs", "evolve"))
    if search.latency:
        facts = {name: configuration[name] for name in ("torch", "size", "device", "threads")}
        directory.write_json(LATENCY, to_json(search.latency, batch=1, **facts))  # before there is a run to go on with
    directory.write_json(CONFIG, configuration)
    return continue_run(task, directory, settings, search, reporter)


def resume(
    path: str | Path,
    *,
    operators: Mapping[str, str] | None = None,
    factories: Mapping[str, str | None] | None = None,
    reporter: Reporter | None = None,
) -> RunDirectory:
    """Go on with an interrupted run, exactly as if it had not been interrupted.

    Args:
        path: the run directory.
        operators: specifications of the form ``package.module:function`` that the run was begun with, by kind
            ("mutate", ...). They have to be given again, since nothing that a file names is ever imported.
        factories: the same for "generator" and "discriminator".
        reporter: whom to tell how far it is.

    Raises:
        UserError: the folder holds no run that can go on, or the operators are not the run's.
    """
    directory = RunDirectory.open(path)
    config, settings = read_config(directory)
    if config["command"] != "evolve":
        raise UserError("resume", f"{path} ({config['command']})", "a run of ganprune evolve", "Check the path.")
    check_references(settings, operators or {})
    check_settings(settings, sides=())
    set_threads(config["threads"])
    task = configured_task(config, config["device"], factories)
    check_settings(settings, list(task.cyclegan))
    check_objectives(task, settings)
    make_measures(task, settings)
    reporter = reporter or Reporter()
    reporter.directory.append(directory.directory)
    latency = directory.read_json(LATENCY) if needs_latency(settings) else None
    search = prepare(task, settings, reporter.stage, latency)
    return continue_run(task, directory, settings, search, reporter, resuming=True)


def read_config(directory: RunDirectory) -> tuple[dict[str, Any], EvolveSettings]:
    """Return the configuration that a run of ``evolve``, ``finetune``, ``pick`` or ``baseline`` was begun with.

    Raises:
        UserError: the file is damaged, or another program's or command's.
    """
    config = directory.read_json(CONFIG)
    try:
        if config["command"] not in ("evolve", "finetune", "pick", "baseline"):
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


def configured_task(config: Mapping[str, Any], device: str, factories: Mapping[str, str | None] | None = None) -> Task:
    """Load the checkpoint and the images that a run was begun with.

    Args:
        config: of the run.
        device: where the networks go.
        factories: "generator" and "discriminator" as the caller gives them again, where code makes these.
    """
    networks = CheckpointOptions.from_json(config.get("networks", {}), factories or {})
    return load_task(_path(config["checkpoint"]), _path(config["data"]), config["size"], device, networks)


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

    def keep_fronts(progress: Progress) -> None:
        save_fronts(directory, search)  # after each step, so that an interrupted search has them too
        if reporter.search:
            reporter.search(progress)

    reporter.stage(
        f"{'co-' * (len(task.cyclegan) > 1)}evolving {task.whom}", search.expected(settings.generations, done)
    )
    elites = coevolve(
        search.toolboxes, generations=settings.generations, schedule=settings.schedule, run=directory,
        seed=settings.seed, max_evaluations=settings.max_evaluations, max_seconds=settings.max_seconds, resume=resuming,
        callback=keep_fronts, on_evaluation=reporter.evaluation,
    )  # fmt: skip
    save_fronts(directory, search, picture=True)
    searched = time.perf_counter() - started
    compact, summary = materialise(
        task, directory, settings, search, elites, stage=reporter.stage, training=reporter.training
    )
    summary |= {"seconds": time.perf_counter() - started, "seconds_search": searched}
    directory.write_json(SUMMARY, summary)
    draw_samples(directory.path("samples.png"), task, compact)
    return directory


def finetune_run(
    path: str | Path,
    out: str | Path,
    *,
    objective: str = "distil",
    steps: int = 1000,
    batch: int = 8,
    seed: int = 1,
    factories: Mapping[str, str | None] | None = None,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> RunDirectory:
    """Fine-tune a finished run's compact generators further, into a run directory of its own.

    Generators that a factory makes take it again: ``factories``, as for :func:`resume`.

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
    task = configured_task(config, device, factories)
    check_objectives(task, settings)
    make_measures(task, settings)
    compact = load_pair(source, task.device, task.cyclegan, task.networks)
    bits = {name: Individual.from_key(read_description(source.path(name))["bits"]) for name in compact}
    task.images.read_all()
    directory = RunDirectory.create(out)
    started = time.perf_counter()
    reporter.stage(f"fine-tuning {task.whom}, compact", steps)
    finetune(task, compact, training, reporter.training)
    began = {"command": "finetune", "from": str(path), "device": str(task.device), "threads": threads}
    directory.write_json(CONFIG, {**config, **began, "settings": settings.to_json()})  # not before: it can't be resumed
    save_pair(directory, task, compact, bits, settings)
    reporter.stage("evaluating on test images")
    sides = measure(task, settings, compact)
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
    wanted: Wanted | None = None,
    networks: CheckpointOptions | None = None,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the figures of a run's compact generators, or of a checkpoint's own.

    Args:
        path: the run's directory, or the checkpoint's.
        data: images; None for the run's own.
        size: side length of the images; None for the run's own.
        wanted: what to measure.
        networks: how the checkpoint is to be read. For a run, only the factories that it was begun with.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads.
        reporter: whom to tell how far it is.

    Raises:
        UserError: ``path`` is neither, or something wanted can't be had.
    """
    reporter, settings, networks = reporter or Reporter(), EvolveSettings(), networks or CheckpointOptions()
    set_threads(threads)
    if not Path(path).exists():
        raise UserError("run", str(path), "a run directory or a checkpoint's folder", "Check the path.")
    directory, compact = RunDirectory(path), None
    if directory.exists(CONFIG) and not directory.exists(CONFIG_NAME):  # a pretraining run is a checkpoint
        config, settings = read_config(open_finished(path))
        images = data or _path(config["data"]) or default_images()
        checkpoint = _path(config["checkpoint"]) or default_checkpoint()
        networks = run_networks(config, networks)
        task = load_task(checkpoint, images, size or config["size"], device, networks)
        compact = load_pair(directory, task.device, task.cyclegan, networks)
    elif data is None:
        raise UserError("data", "nothing", "images to evaluate a checkpoint on", "Give --data with the checkpoint.")
    else:
        task = load_task(Path(path), data, size, device, networks)
        for note in task.cyclegan.notes:
            reporter.note(note)
    if task.images.size_note:
        reporter.stage(task.images.size_note)
    own = {name: side.generator for name, side in task.cyclegan.items()}
    return measure(task, settings, compact or own, wanted)


def run_networks(config: Mapping[str, Any], given: CheckpointOptions) -> CheckpointOptions:
    """Return how a run's checkpoint is to be read; the caller gives factories again, and nothing else."""
    for name in ("epoch", "only"):
        if getattr(given, name) is not None:
            found = f"{getattr(given, name)} with a run"
            raise UserError(f"--{name}", found, "a checkpoint", "The run keeps what it was begun with; leave it out.")
    factories = {"generator": given.generator, "discriminator": given.discriminator}
    return CheckpointOptions.from_json(config.get("networks", {}), factories)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
