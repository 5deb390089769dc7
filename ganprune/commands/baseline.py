"""What ``ganprune baseline`` does: filters by a criterion at a wanted size, and all that follows in ``evolve``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ganprune.baselines.choose import make_subjects, prune, sizes_by_ratio
from ganprune.baselines.registry import Baseline
from ganprune.baselines.subject import Subject
from ganprune.data.sizes import Framing, Size
from ganprune.errors import UserError
from ganprune.evolution.individual import Individual
from ganprune.filters.builder import NetworkBuilder
from ganprune.filters.space import FilterSpace
from ganprune.models.options import CheckpointOptions
from ganprune.pipeline.config import open_finished, read_config, run_networks
from ganprune.pipeline.job import begin
from ganprune.pipeline.reference import reference_of
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.search import latency_tables, make_fitness
from ganprune.pipeline.task import Task, load_task
from ganprune.runs.directory import CONFIG, SUMMARY, RunDirectory
from ganprune.settings.evolve import BudgetSettings, EvolveSettings, SearchSettings, make_settings
from ganprune.settings.fields import changed
from ganprune.settings.training import TuningSettings

COUNTS = {"evaluations": 1, "rescores": 0, "cost": 1, "generation": 0}  # of a side, whose bits are scored once


def sizes_by_run(subjects: Mapping[str, Subject], path: str | Path) -> dict[str, int]:
    """Return the parameters of each side of a finished run.

    Raises:
        UserError: the run was made of generators of another size, or its summary is damaged.
    """
    directory, wanted = open_finished(path), {}
    for name, subject in subjects.items():
        try:
            counts = directory.read_json(SUMMARY)["sides"][name]["parameters"]
            theirs, wanted[name] = int(counts["original"]), int(counts["compact"])
        except (KeyError, TypeError, ValueError) as error:
            found = f"no parameters of side {name} ({error})"
            raise UserError(str(directory.path(SUMMARY)), found, "a finished run's summary", "Restore it.") from error
        own = subject.space.parameter_count(subject.space.full())
        if own != theirs:
            found = f"{path}, made of a generator {name} with {theirs:,} parameters"
            raise UserError("like", found, f"one with {own:,}, as here", "Give the --checkpoint of that run.")
    return wanted


def baseline_settings(
    baseline: Baseline, *, like: str | Path | None = None, preset: str | None = None, **options: Any
) -> EvolveSettings:
    """Return a preset's settings, or those of the run that the baseline is held against, with these options in place.

    Raises:
        UserError: an option or the run can't be used, or there is no size, or more than one.
    """
    if like is None:
        settings = make_settings(preset or "quick", **options)
        if settings.budget.target_ratio is None:
            expected = "how many times fewer parameters are wanted"
            raise UserError("target ratio", "nothing", expected, "Give --target-ratio, or --like RUN.")
    else:
        given = {name: value for name, value in {"preset": preset, **options}.items() if value is not None}
        for name in ("target_ratio", "preset"):
            if name in given:
                option = "--" + name.replace("_", "-")
                raise UserError(option, "given with --like", "one of the two", f"The run decides; leave out {option}.")
        settings = changed(read_config(open_finished(like))[1], **given, target_ratio=None)
    return replace(
        settings,
        search=SearchSettings(algorithm=baseline.method),
        budget=BudgetSettings(target_ratio=settings.budget.target_ratio),
        scoring=replace(settings.scoring, reconstruct=baseline.weights == "reconstructed"),
        tuning=TuningSettings(),
    )


def prune_run(
    baseline: Baseline,
    settings: EvolveSettings,
    checkpoint: str | Path | None = None,
    data: str | Path | None = None,
    *,
    like: str | Path | None = None,
    out: str | Path | None = None,
    size: int | Size | Framing | None = None,
    networks: CheckpointOptions | None = None,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
    dry_run: bool = True,
) -> RunDirectory:
    """Prune the generators as a baseline does, fine-tune and evaluate them, and write a run directory.

    Args:
        baseline: criterion and weights.
        settings: of :func:`baseline_settings`: size (unless ``like``), fine-tune, seed.
        checkpoint, data, size: as for :func:`ganprune.compress`; with ``like``, the run's own unless given.
        like: a finished run; each side gets at most as many parameters as there, and as near to it as filters allow.
        out: new run directory; None for the next free ``runs/baseline-NNN``.
        networks: how the checkpoint is to be read; with ``like``, only the factories that the run was begun with.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads.
        reporter: whom to tell how far it is.
        dry_run: whether every stage is tried once, on a few images, before any long work.

    Raises:
        UserError: something given can't be used; nothing has been written then.
    """
    job = begin(
        "baseline", settings, lambda: _task(checkpoint, data, size, device, like, networks or CheckpointOptions()),
        out=out, threads=threads, reporter=reporter, dry_run=dry_run,
    )  # fmt: skip
    task, settings, reporter = job.task, job.settings, job.reporter
    reporter.stage("tracing the generators")
    subjects = make_subjects(
        task.cyclegan, task.images, encoding=settings.scoring.encoding,
        calibration_images=settings.scoring.calibration_images,
    )  # fmt: skip
    most = sizes_by_run(subjects, like) if like else sizes_by_ratio(subjects, settings.budget.target_ratio or 1)
    builders, chosen = _choose(task, settings, baseline, subjects, most, reporter.stage)
    with job.claim(out) as directory:
        compact, summary = job.materialise(
            directory, builders, chosen, counts={name: count * len(chosen) for name, count in COUNTS.items()},
            reference=reference_of(task, builders, settings.scoring.validation_images),
        )  # fmt: skip
        for figures in summary["sides"].values():
            figures["search"]["evaluations"] = 1
        facts = {"baseline": asdict(baseline), "most_parameters": most, **({"like": str(like)} if like else {})}
        directory.write_json(CONFIG, job.configuration(**facts))  # not before: it can't be resumed
        job.finish(directory, compact, {**summary, "seconds": job.seconds})
    return directory


def _task(
    checkpoint: str | Path | None,
    data: str | Path | None,
    size: int | Size | Framing | None,
    device: str,
    like: str | Path | None,
    networks: CheckpointOptions,
) -> Task:
    """Load what is given; with nothing given, what the run ``like`` was made of, or what is shipped."""
    if like and checkpoint is None and data is None:
        config, _ = read_config(open_finished(like))
        checkpoint, data, size = config["checkpoint"], config["data"], Framing.of(size).over(Framing.from_json(config))
        networks = run_networks(config, networks)
    return load_task(checkpoint, data, size, device, networks)


def _choose(
    task: Task,
    settings: EvolveSettings,
    baseline: Baseline,
    subjects: Mapping[str, Subject],
    most: Mapping[str, int],
    stage: Callable[..., Any],
) -> tuple[dict[str, NetworkBuilder], dict[str, Individual]]:
    """Return both sides' builders, and their bits with the fitness that they have against the original partner."""
    chosen: dict[str, Individual] = {}
    builders: dict[str, NetworkBuilder] = {}
    for name, subject in subjects.items():
        stage(f"{name}: ranking filters ({baseline.method})")
        chosen[name], builders[name] = prune(subject, baseline, settings.seed, most[name])
        stage(f"{name}: {_described(subject.space, chosen[name], most[name])}")
    spaces = {name: subject.space for name, subject in subjects.items()}
    fitness = make_fitness(task, settings, builders, latency_tables(task, settings, spaces, None, stage))
    for name, bits in chosen.items():
        score = fitness[name](bits)
        bits.fitness.values, bits.terms = tuple(score), dict(score.terms)
    return builders, chosen


def _described(space: FilterSpace, bits: Individual, most: int) -> str:
    kept, whole = space.parameter_count(bits), space.parameter_count(space.full())
    short = f"{100 * (1 - kept / most):.2f} % below the {most:,} wanted"
    return f"{sum(bits)} of {len(space)} filters kept: {kept:,} parameters, {whole / kept:.2f}x fewer, {short}"
