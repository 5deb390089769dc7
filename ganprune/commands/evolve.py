"""What ``ganprune evolve`` does from end to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ganprune.cost.latency_table import LATENCY, to_json
from ganprune.data.sizes import Framing, Size
from ganprune.evolution.coevolution import Progress, coevolve
from ganprune.models.options import CheckpointOptions
from ganprune.parallel.workers import check_workers, spread, threads_per_worker
from ganprune.pipeline.checks import check_references
from ganprune.pipeline.config import configured_task, grow, read_config
from ganprune.pipeline.front import save_fronts
from ganprune.pipeline.job import Job, begin
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.search import Search, latency_facts, prepare
from ganprune.pipeline.task import Task, load_task, load_what_can_be
from ganprune.runs.directory import CONFIG, LOGBOOK, STATE, RunDirectory
from ganprune.settings.evolve import EvolveSettings
from ganprune.settings.fields import changed


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
    dry_run: bool = True,
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
        threads: CPU threads: as many individuals are scored at once, with one each, and both sides are fine-tuned at
            once, with half of them each; None for this machine's, divided among the workers. The same number gives the
            same result with any number of workers.
        workers: processes that evaluate; 1 for this one. A script needs ``if __name__ == "__main__"`` with more.
        cluster: address of a Dask scheduler (tcp://HOST:PORT), or its scheduler file, whose workers evaluate instead.
        reporter: whom to tell how far it is.
        dry_run: whether every stage is tried once, on a few images, before any long work.

    Returns:
        The run directory: summary, compact generators, samples.

    Raises:
        UserError: something given can't be used; nothing has been written then.
        Interrupted: Ctrl-C or SIGTERM; :func:`resume` goes on.
    """
    check_workers(workers, cluster)
    settings, networks = settings or EvolveSettings(), networks or CheckpointOptions()

    def load(options: CheckpointOptions) -> Task:
        return load_task(checkpoint, data, size, device, options)

    needed = settings.needs_discriminators
    job = begin(
        "evolve", settings, lambda: load(networks) if needed else load_what_can_be(load, networks),
        searches=True, out=out, threads=threads_per_worker(threads, workers), reporter=reporter, dry_run=dry_run,
    )  # fmt: skip
    configuration = job.configuration()
    search = prepare(job.task, job.settings, job.reporter.stage)
    with (
        spread(
            search.fitness, search.toolboxes, workers=workers, cluster=cluster, report=job.reporter.stage
        ) as stop_workers,
        job.claim(out) as directory,
    ):
        if search.latency:
            facts = latency_facts(job.settings, configuration)
            directory.write_json(LATENCY, to_json(search.latency, **facts))  # before there is a run
        directory.write_json(CONFIG, configuration)
        job.reporter.directory.append(directory.directory)
        return _search_and_finish(job, directory, search, stop_workers)


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
        options: settings, and ``checkpoint``, ``data``, ``size``, ``load_size``, ``values``, ``background``, ``pairs``,
            ``threads``, ``epoch``, ``side``, ``trained`` and ``only``, that were given once more. They have to be those
            of the run, but for the settings that may grow (generations, max_evaluations, max_seconds), which may be
            larger.
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
        reporter.directory.append(directory.directory)
        config, settings = read_config(directory, "evolve")
        check_references(settings.search, operators or {})
        check_workers(workers, cluster)
        settings = changed(settings, **grow(config, settings, options or {}))
        job = begin(
            "evolve", settings, lambda: configured_task(config, device or config["device"], factories),
            searches=True, began_with=config, threads=config["threads"], reporter=reporter,
        )  # fmt: skip
        now = str(job.task.device)
        if now != config["device"]:
            job.reporter.stage(f"on {now} instead of {config['device']}: results may differ in their last digits")
        latency = directory.read_json(LATENCY) if settings.needs_latency else None
        search = prepare(job.task, job.settings, job.reporter.stage, latency)
        with spread(
            search.fitness, search.toolboxes, workers=workers, cluster=cluster, report=job.reporter.stage
        ) as stop_workers:
            directory.write_json(CONFIG, {**config, "settings": settings.to_json(), "device": now})
            return _search_and_finish(job, directory, search, stop_workers, resuming=True)


def _search_and_finish(
    job: Job,
    directory: RunDirectory,
    search: Search,
    stop_workers: Callable[[], Any],
    *,
    resuming: bool = False,
) -> RunDirectory:
    """Search, make compact, fine-tune, evaluate and write everything into ``directory``."""
    settings, reporter = job.settings.search, job.reporter
    done = directory.read_json(STATE)["step"] if resuming and directory.exists(STATE) else 0

    def keep_fronts(progress: Progress) -> None:
        save_fronts(directory, search)  # after each step, so that an interrupted search has them too
        if reporter.search:
            reporter.search(progress)

    doing = "co-evolving" if len(search.strategies) > 1 else "evolving"
    reporter.stage(f"{doing} {job.task.whom}", search.expected(settings.generations, done))
    elites = coevolve(
        search.toolboxes, generations=settings.generations, schedule=settings.schedule, run=directory,
        seed=job.settings.seed, max_evaluations=settings.max_evaluations, max_seconds=settings.max_seconds,
        resume=resuming, callback=keep_fronts, on_evaluation=reporter.evaluation,
    )  # fmt: skip
    stop_workers()
    save_fronts(directory, search, picture=True)
    searched = job.seconds
    counts = directory.read_jsonl(LOGBOOK)[-1]
    compact, summary = job.materialise(directory, search.builders, elites, counts=counts)
    job.finish(directory, compact, {**summary, "seconds": job.seconds, "seconds_search": searched})
    return directory
