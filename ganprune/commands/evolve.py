"""What ``ganprune evolve`` and ``evaluate`` do from end to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ganprune import __version__
from ganprune.cost.latency_table import LATENCY, to_json
from ganprune.data.sizes import Framing, Size
from ganprune.device import resolve_device, resolve_precision, set_threads
from ganprune.errors import UserError
from ganprune.evolution.coevolution import Progress, coevolve
from ganprune.models.options import CheckpointOptions
from ganprune.parallel.workers import check_workers, spread, threads_per_worker
from ganprune.pipeline.checks import check_objectives, check_references, check_settings
from ganprune.pipeline.config import FORMAT, _path, configured_task, grow, read_config
from ganprune.pipeline.front import save_fronts
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.results import draw_samples, make_measures, materialise
from ganprune.pipeline.search import Search, prepare
from ganprune.pipeline.task import Task, check_fingerprint, fingerprint, load_task
from ganprune.runs.directory import CONFIG, STATE, SUMMARY, RunDirectory
from ganprune.settings.evolve import EvolveSettings, needs_latency
from ganprune.training.finetune import drop_state


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
