"""What ``ganprune evolve`` and ``evaluate`` do from end to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ganprune import __version__
from ganprune.assets import default_checkpoint, default_images
from ganprune.deploy.speed import add_speed
from ganprune.device import resolve_device, resolve_precision, set_threads
from ganprune.errors import UserError
from ganprune.evolution.coevolution import Progress, coevolve
from ganprune.evolution.individual import Individual
from ganprune.files import check_format
from ganprune.finetuning import drop_state
from ganprune.front import save_fronts
from ganprune.latency.table import LATENCY, to_json
from ganprune.metrics.measures import Wanted
from ganprune.models.checkpoint import CONFIG_NAME
from ganprune.models.options import CheckpointOptions
from ganprune.results import draw_samples, load_pair, make_measures, materialise, measure
from ganprune.runs import CONFIG, STATE, SUMMARY, RunDirectory, changes, refuse_changes
from ganprune.search import Search, check_objectives, check_references, check_settings, needs_latency, prepare
from ganprune.settings import EvolveSettings
from ganprune.sizes import Framing, Size
from ganprune.task import Task, check_fingerprint, fingerprint, load_task
from ganprune.workers import check_workers, spread, threads_per_worker

FORMAT = 1  # of config.json
RESUMABLE = ("evolve", "finetune")
COMMANDS = (*RESUMABLE, "pick", "baseline")
CONFIG_TYPES: dict[str, tuple[type, ...]] = {
    "checkpoint": (str, type(None)), "data": (str, type(None)), "size": (int, list), "device": (str,),
    "threads": (int,), "settings": (dict,),
}  # fmt: skip
BEFORE = {"width_slope": 0.0}  # what runs were searched with that know no such setting
MAY_GROW = ("generations", "max_evaluations", "max_seconds")


@dataclass(frozen=True)
class Reporter:
    """Whom the stages tell how far they are; every entry may be left out.

    Attributes:
        stage: called with a line when a stage begins, and the number of evaluations or steps that it takes at most.
        search: called after each step of the search.
        evaluation: called after each evaluation, with side and individual.
        training: called after each fine-tuning step with (step, total, losses).
        images: called with (done, total) as images are translated.
        directory: gets the run directory, once there is one.
        note: called with a line about what was found.
    """

    stage: Callable[..., Any] = lambda text, total=None: None
    search: Callable[[Progress], Any] | None = None
    evaluation: Callable[[str, Individual], Any] | None = None
    training: Callable[[int, int, dict[str, float]], Any] | None = None
    images: Callable[[int, int], Any] | None = None
    directory: list[Path] = field(default_factory=list)
    note: Callable[[str], Any] = lambda text: None


def compress(
    checkpoint: str | Path | None = None,
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    settings: EvolveSettings | None = None,
    size: int | Size | Framing | None = None,
    networks: CheckpointOptions | None = None,
    device: str = "auto",
    threads: int | None = None,
    workers: int = 1,
    cluster: str | None = None,
    reporter: Reporter | None = None,
) -> RunDirectory:
    """Prune the generators of a CycleGAN and write a run directory; ``ganprune evolve`` in one call.

    Args:
        checkpoint: folder of a trained CycleGAN, or of a part of one; None for the shipped one.
        data: folder with trainA, trainB, testA, testB; None for the shipped images.
        out: new run directory; None for the next free ``runs/evolve-NNN``.
        settings: what to do; None for the ``quick`` preset.
        size: side length of the images, (height, width), or how images come to one size.
        networks: how the checkpoint is to be read, where that is not to be found out, and which side to prune.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads per evaluation; None for this machine's, divided among the workers. The same number gives
            the same result with any number of workers.
        workers: processes that evaluate; 1 for this one. A script needs ``if __name__ == "__main__"`` with more.
        cluster: address of a Dask scheduler (tcp://HOST:PORT), or its scheduler file, whose workers evaluate instead.
        reporter: whom to tell how far it is.

    Returns:
        The run directory: summary, compact generators, samples.

    Raises:
        UserError: something given can't be used; nothing has been written then.
        Interrupted: Ctrl-C or SIGTERM; :func:`resume` goes on.
    """
    settings, reporter = settings or EvolveSettings(), reporter or Reporter()
    settings = replace(settings, precision=resolve_precision(settings.precision, resolve_device(device)))
    if settings.inception_weights:
        settings = replace(settings, inception_weights=str(Path(settings.inception_weights).resolve()))
    check_settings(settings, sides=())
    check_workers(workers, cluster)
    task = load_task(_path(checkpoint), _path(data), size, device, networks)
    for note in task.cyclegan.notes if checkpoint else ():
        reporter.note(note)
    check_settings(settings, list(task.cyclegan))
    check_objectives(task, settings)
    threads = set_threads(threads_per_worker(threads, workers))
    make_measures(task, settings)
    if out is not None and Path(out).exists():
        RunDirectory.create(out)  # refuses it before the images are read
    if task.images.size_note:
        reporter.stage(task.images.size_note)
    task.images.read_all()
    configuration = {
        "format": FORMAT, "command": "evolve", "ganprune": __version__, "torch": torch.__version__,
        "checkpoint": task.checkpoint, "data": task.data, **task.images.framing.to_json(), "device": str(task.device),
        "threads": threads, "networks": task.networks.to_json(), "settings": settings.to_json(), **fingerprint(task),
    }  # fmt: skip
    search = prepare(task, settings, reporter.stage)
    with spread(
        search.fitness, search.toolboxes, workers=workers, cluster=cluster, report=reporter.stage
    ) as stop_workers:
        directory = RunDirectory.create(out or RunDirectory.next_free("runs", "evolve"))
        with directory.locked():
            directory.check_free(CONFIG, STATE)
            if search.latency:
                facts = {name: configuration[name] for name in ("torch", "size", "device", "threads")}
                directory.write_json(LATENCY, to_json(search.latency, batch=1, **facts))  # before there is a run
            directory.write_json(CONFIG, configuration)
            return continue_run(task, directory, settings, search, reporter, stop_workers)


def resume(
    path: str | Path,
    *,
    operators: Mapping[str, str] | None = None,
    factories: Mapping[str, str | None] | None = None,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    workers: int = 1,
    cluster: str | None = None,
    reporter: Reporter | None = None,
) -> RunDirectory:
    """Go on with an interrupted run, exactly as if it had not been interrupted.

    Args:
        path: the run directory.
        operators: specifications of the form ``package.module:function`` that the run was begun with, by kind
            ("mutate", ...). They have to be given again, since nothing that a file names is ever imported.
        factories: the same for "generator" and "discriminator".
        options: settings, and ``checkpoint``, ``data``, ``size``, ``load_size``, ``threads``, ``epoch`` and ``only``,
            that were given once more. They have to be those of the run, but for :data:`MAY_GROW`, which may be larger.
        device: None for the run's own. On another one results may differ in their last digits.
        workers, cluster: see :func:`compress`; they change nothing but time.
        reporter: whom to tell how far it is.

    Raises:
        UserError: the folder holds no run that can go on, it is in use, or images, checkpoint, operators or options are
            not the run's.
        Interrupted: Ctrl-C or SIGTERM.
    """
    directory, reporter = RunDirectory.open(path), reporter or Reporter()
    with directory.locked():
        config, settings = read_config(directory)
        if config["command"] != "evolve":
            raise UserError("resume", f"{path} ({config['command']})", "a run of ganprune evolve", "Check the path.")
        check_references(settings, operators or {})
        check_workers(workers, cluster)
        grown = grow(config, options or {})
        config["settings"] |= grown
        settings = replace(settings, **grown)
        check_settings(settings, sides=())
        set_threads(config["threads"])
        task = configured_task(config, device or config["device"], factories)
        check_settings(settings, list(task.cyclegan))
        check_objectives(task, settings)
        check_fingerprint(task, config)
        make_measures(task, settings)
        if str(task.device) != config["device"]:
            reporter.stage(f"on {task.device} instead of {config['device']}: results may differ in their last digits")
            config["device"] = str(task.device)
        reporter.directory.append(directory.directory)
        latency = directory.read_json(LATENCY) if needs_latency(settings) else None
        search = prepare(task, settings, reporter.stage, latency)
        with spread(
            search.fitness, search.toolboxes, workers=workers, cluster=cluster, report=reporter.stage
        ) as stop_workers:
            directory.write_json(CONFIG, config)
            return continue_run(task, directory, settings, search, reporter, stop_workers, resuming=True)


def grow(config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the options that are larger than a run's own, and may be.

    Raises:
        UserError: others differ from the run's; each is named.
    """
    networks = {"epoch": None, "only": None, **config.get("networks", {})}
    fields = ("checkpoint", "data", "size", "load_size", "threads")
    saved = {**config["settings"], **{name: config.get(name) for name in fields}}
    saved |= {name: networks[name] for name in ("epoch", "only")}
    asked = {**options, **{name: _resolved(options[name]) for name in ("checkpoint", "data") if name in options}}
    grown = {name: new for name, old, new in changes(saved, asked) if _may_become(name, old, new)}
    given = {f"--{name.replace('_', '-')}": value for name, value in asked.items() if name not in grown}
    refuse_changes(
        {f"--{name.replace('_', '-')}": value for name, value in saved.items()}, given, "the run began",
        f"Leave out what differs, or start a new run; only {', '.join(MAY_GROW)} may be raised.",
    )  # fmt: skip
    return grown


def _may_become(name: str, old: Any, new: Any) -> bool:
    return name in MAY_GROW and old is not None and new > old


def _resolved(path: str | Path | None) -> str | None:
    return None if path is None else str(Path(path).resolve())


def read_config(directory: RunDirectory) -> tuple[dict[str, Any], EvolveSettings]:
    """Return the configuration that a run of ``evolve``, ``finetune``, ``pick`` or ``baseline`` was begun with.

    Raises:
        UserError: the file is damaged, or another program's or command's.
    """
    config, path = directory.read_json(CONFIG), directory.path(CONFIG)
    command = config.get("command") if isinstance(config, dict) else None
    if command not in COMMANDS:
        found = f"{directory.directory} (of ganprune {command})" if command else f"{path} without a command"
        raise UserError("run", found, "a run of ganprune evolve", "Check the path.")
    check_format({"format": FORMAT, **config}, FORMAT, path)  # the first ones had none
    for name, kinds in CONFIG_TYPES.items():
        value = config.get(name)
        if not isinstance(value, kinds) or isinstance(value, bool) or name not in config:
            shown = repr(value) if name in config else "nothing"
            raise UserError(f"{name} in {path}", shown, "what the run began with", "Restore the file.")
    try:
        return config, EvolveSettings(**{**BEFORE, **config["settings"]})
    except TypeError as error:
        raise UserError(f"settings in {path}", str(error), "the settings of a run", "Restore the file.") from error


def configured_task(config: Mapping[str, Any], device: str, factories: Mapping[str, str | None] | None = None) -> Task:
    """Load the checkpoint and the images that a run was begun with.

    Args:
        config: of the run.
        device: where the networks go.
        factories: "generator" and "discriminator" as the caller gives them again, where code makes these.
    """
    networks = CheckpointOptions.from_json(config.get("networks", {}), factories or {})
    return load_task(_path(config["checkpoint"]), _path(config["data"]), Framing.from_json(config), device, networks)


def continue_run(
    task: Task,
    directory: RunDirectory,
    settings: EvolveSettings,
    search: Search,
    reporter: Reporter,
    stop_workers: Callable[[], Any] = lambda: None,
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
    stop_workers()
    save_fronts(directory, search, picture=True)
    searched = time.perf_counter() - started
    compact, summary = materialise(
        task, directory, settings, search, elites, stage=reporter.stage, training=reporter.training,
        keep=directory.directory,
    )  # fmt: skip
    summary |= {"seconds": time.perf_counter() - started, "seconds_search": searched}
    draw_samples(directory.path("samples.png"), task, compact)
    directory.write_json(SUMMARY, summary)
    drop_state(directory.directory)
    return directory


def open_finished(path: str | Path) -> RunDirectory:
    """Open a run that has come to its end.

    Raises:
        UserError: there is no run, or it was interrupted.
    """
    directory = RunDirectory.open(path)
    config, _ = read_config(directory)
    if not directory.exists(SUMMARY):
        again = config["command"] in RESUMABLE
        remedy = f"Finish it first: ganprune {config['command']} --resume {path}" if again else "Make it anew."
        raise UserError("run", f"{path} (unfinished)", "a finished run", remedy)
    return directory


def evaluate_run(
    path: str | Path,
    *,
    data: Path | None = None,
    size: int | Size | Framing | None = None,
    wanted: Wanted | None = None,
    networks: CheckpointOptions | None = None,
    speed: int = 0,
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

    Args:
        path: the folder of the run or checkpoint.
        data: other images; a checkpoint needs them.
        size: another size of the images.
        wanted: what is measured; None for a run's final figures.
        speed: how often a run's original and compact are timed for "speed" of each side (see ``add_speed``); 0: never.
        device, threads, reporter: as for :func:`compress`.

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
        task = load_task(checkpoint, images, size or Framing.from_json(config), device, networks)
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
    sides = measure(task, settings, compact or own, wanted)
    if compact and speed:
        reporter.stage("timing original and compact")
        add_speed(sides, own, compact, task.images.size, repeats=speed)
    return sides


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
