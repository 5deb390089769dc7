"""Runs a comparison: every contender with every seed at equal cost, and what came of it.

The yardstick is the *reference fitness* of elites: measured against the original partner on validation images that no
search saw (as far as there are 32 more than the searches score with), in one setting for all (Eq. 11's default weights,
reconstructed weights, float32). Only baselines are scored with the weights that they are asked for. Fitness values of
different runs can't be compared, since they were measured against different partners. Each run is a run directory of
its own, so an interrupted comparison goes on where it was.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganprune.baselines.choose import BaselineBuilder, make_subjects, prune, sizes_by_ratio
from ganprune.baselines.registry import Baseline
from ganprune.baselines.subject import Subject
from ganprune.compare.contenders import Contender, check_contenders
from ganprune.compare.statistics import FORMAT, points, summarise
from ganprune.compare.tables import markdown, write_tables
from ganprune.cost.latency_table import LATENCY, to_json
from ganprune.data.sizes import size_json
from ganprune.data.values import WHITE
from ganprune.errors import UserError
from ganprune.evolution.coevolution import coevolve
from ganprune.evolution.individual import pack_bits, unpack_bits
from ganprune.filters.builder import make_builders
from ganprune.fitness import CycleFitness
from ganprune.parallel.workers import check_workers, spread
from ganprune.pipeline.reference import reference_of
from ganprune.pipeline.rehearsal import rehearse
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.search import Search, make_toolboxes, prepare
from ganprune.pipeline.task import Task, fingerprint
from ganprune.report.curves import plot_curves
from ganprune.runs.directory import CONFIG, LOGBOOK, SUMMARY, RunDirectory, refuse_changes
from ganprune.runs.files import check_format, replace
from ganprune.settings.evolve import EvolveSettings
from ganprune.settings.fields import completed

CURVE = "curve.json"


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Attributes:
        directory: with ``results.csv``, ``curves.csv``, ``table.md``, ``compare.png`` and ``summary.json``.
        summary: contender -> figures, and the tests.
    """

    directory: RunDirectory
    summary: dict[str, Any]


def compare(
    task: Task,
    contenders: Sequence[Contender],
    *,
    max_evaluations: float,
    seeds: Sequence[int],
    out: str | Path,
    target: float | None = None,
    resume: bool = False,
    workers: int = 1,
    cluster: str | None = None,
    report: Callable[[str], Any] = lambda text: None,
    dry_run: bool = True,
) -> Comparison:
    """Run every contender with every seed at equal cost, and compare.

    Args:
        task: the CycleGAN and its images.
        contenders: at least two; the first is the one that effect sizes are measured against.
        max_evaluations: cost of each run, both sides together: evaluations + rescores / 2.
        seeds: one run of each contender for each.
        out: a new directory, or with ``resume`` that of the same comparison.
        target: reference fitness whose cost is asked for; None for the median of all runs' last.
        resume: go on with an interrupted comparison; what is finished is not run again.
        workers, cluster: what evaluates; see :func:`ganprune.commands.evolve.compress`. They change nothing but time.
        report: called with a line of text before each run.
        dry_run: whether what searches do is tried once, on a few images, before any of them begins.

    Raises:
        UserError: contenders, budget or seeds can't be, or ``out`` holds something else or is in use.
        Interrupted: Ctrl-C or SIGTERM.
    """
    contenders = [contender.resolved(task.device) for contender in contenders]
    check_contenders(contenders, max_evaluations, seeds)
    check_workers(workers, cluster)
    if not resume and Path(out).exists():
        RunDirectory.create(out)  # refuses what holds a run, before anything is computed
    if dry_run and not resume:
        _rehearse(task, contenders, report)
    directory = RunDirectory.open(out) if resume else RunDirectory.create(out)
    with directory.locked():
        _begin(directory, _configuration(task, contenders, max_evaluations, seeds), resume)
        runner = Runner(task, contenders, directory, workers, cluster, report)
        curves: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in contenders}
        jobs = [(seed, index, contender) for seed in seeds for index, contender in enumerate(contenders, 1)]
        for number, (seed, index, contender) in enumerate(jobs, 1):
            report(f"{number}/{len(jobs)}: {contender.name}, seed {seed}")
            path = directory.path(f"run-{index:02d}-seed-{seed}")
            curve = runner.run(contender.with_budget(seed, max_evaluations), path, contender.baseline)
            curves[contender.name].append({"seed": seed, **curve})
        summary = summarise(curves, target)
        write_tables(directory, curves, summary)
        replace(directory.path("table.md"), markdown(summary))
        draw(directory.path("compare.png"), curves, summary)
        directory.write_json(SUMMARY, summary)
        return Comparison(directory, summary)


def _rehearse(task: Task, contenders: Sequence[Contender], report: Callable[[str], Any]) -> None:
    """Try what the contenders' searches do with networks; those that do the same, once."""
    reporter = Reporter(lambda text, total=None: report(text), note=report)
    settings = [contender.settings for contender in contenders if not contender.baseline]
    for each in {(s.scoring, s.fitness, s.tuning, s.precision): s for s in settings}.values():
        rehearse(task, each, reporter, finishes=False)


def _configuration(task: Task, contenders: Sequence[Contender], cost: float, seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "command": "compare", "format": FORMAT, "checkpoint": task.checkpoint, "data": task.data,
        "load_size": None, **task.images.framing.to_json(), "networks": task.networks.to_json(),
        "max_evaluations": cost, "seeds": list(seeds),
        "contenders": {contender.name: contender.to_json() for contender in contenders}, **fingerprint(task),
    }  # fmt: skip


def _begin(directory: RunDirectory, config: Mapping[str, Any], resume: bool) -> None:
    """Write the comparison's configuration, or check that an interrupted one is the same comparison."""
    if not resume:
        directory.check_free(CONFIG)
        directory.write_json(CONFIG, config)
        return
    saved = directory.read_json(CONFIG)
    if not isinstance(saved, dict) or saved.get("command") != "compare":
        raise UserError("resume", str(directory.directory), "a run of ganprune compare", "Check the path.")
    check_format(saved, FORMAT, directory.path(CONFIG))
    asked = {name: value for name, value in config.items() if name != "seeds"}  # more of them may be added
    known = saved.get("contenders")
    asked["contenders"] = {**dict.fromkeys(known if isinstance(known, dict) else ()), **asked["contenders"]}
    saved = {"values": {}, "background": WHITE, **saved}  # which older comparisons do not say
    if isinstance(known, dict):
        saved["contenders"] = {
            name: completed(EvolveSettings, each) if isinstance(each, dict) else each for name, each in known.items()
        }
    refuse_changes(saved, asked, "the comparison began", "Repeat its options, or use a new --out.")
    directory.write_json(CONFIG, config)


@dataclass(eq=False)
class Runner:
    """Runs searches one after the other, sharing networks and moments among those that allow it.

    Args:
        task: the CycleGAN and its images.
        contenders: all that will be run: the reference images are those that none of them scores with.
        directory: of the comparison; it keeps measured latencies, where settings ask for them.
        workers, cluster: what evaluates; see :func:`ganprune.commands.evolve.compress`.
        report: told with a line of text what happens.
    """

    task: Task
    contenders: Sequence[Contender]
    directory: RunDirectory
    workers: int
    cluster: str | None
    report: Callable[[str], Any]

    def __post_init__(self) -> None:
        self.skip = max(contender.settings.scoring.validation_images for contender in self.contenders)
        self._subjects: dict[tuple[str, int], dict[str, Subject]] = {}
        self._prepared: tuple[object, Search] | None = None
        self._references: dict[str, dict[str, CycleFitness]] = {}

    def run(self, settings: EvolveSettings, path: Path, baseline: Baseline | None = None) -> dict[str, Any]:
        """Run one search, or go on with it, or read what it gave; see :func:`score_elites` for the result.

        A baseline is no search: its curve is a single point at cost 0, so a level line.
        """
        directory = RunDirectory(path)
        if directory.exists(CURVE):
            return dict(directory.read_json(CURVE))
        if baseline:
            reference = reference_of(self.task, self._prune(settings, baseline, path), self.skip)
        else:
            self._search(settings, path)
            reference = self.reference(settings.scoring.encoding)
        curve = score_elites(directory.read_jsonl(LOGBOOK), reference)
        directory.write_json(CURVE, curve)
        return curve

    def _prune(self, settings: EvolveSettings, baseline: Baseline, path: Path) -> dict[str, BaselineBuilder]:
        """Return both sides' builders, and write what was chosen as the logbook of a search that costs nothing."""
        encoding, count = key = settings.scoring.encoding, settings.scoring.calibration_images
        if key not in self._subjects:
            self._subjects[key] = make_subjects(
                self.task.cyclegan, self.task.images, encoding=encoding, calibration_images=count
            )
        most = sizes_by_ratio(self._subjects[key], settings.budget.target_ratio or 1)
        log, builders, started = [], {}, time.perf_counter()
        for name, subject in self._subjects[key].items():
            bits, builders[name] = prune(subject, baseline, settings.seed, most[name])
            elite = {"side": name, "generation": 0, "cost": 0, "best": None, "elite": pack_bits(bits)}
            log.append({**elite, "timing": {"seconds": time.perf_counter() - started}})
        RunDirectory.create(path).write_jsonl(LOGBOOK, log)
        return builders

    def _search(self, settings: EvolveSettings, path: Path) -> None:
        search = self.prepare(settings)
        _, toolboxes = make_toolboxes(search.fitness, settings.search)
        forget(search)  # lest a run find what an earlier one translated
        with spread(search.fitness, toolboxes, workers=self.workers, cluster=self.cluster, report=self.report):
            coevolve(
                toolboxes, generations=settings.search.generations, schedule=settings.search.schedule,
                max_evaluations=settings.search.max_evaluations, seed=settings.seed, run=path,
                resume=RunDirectory(path).exists(CONFIG),
            )  # fmt: skip
        forget(search)

    def prepare(self, settings: EvolveSettings) -> Search:
        """Return networks and fitness for these settings, the last ones if they serve."""
        # Which images an individual is tuned on, and in which order, comes from the seed.
        seed = settings.seed if settings.tuning.wanted else None
        key = (settings.scoring, settings.fitness, settings.budget, settings.tuning, settings.precision, seed)
        if self._prepared is None or self._prepared[0] != key:
            self._prepared = None  # let go of the old moments before new ones are taken ...
            gc.collect()  # ... now, since toolboxes and strategies hold each other
            saved = self.directory.read_json(LATENCY) if self.directory.exists(LATENCY) else None
            search = prepare(self.task, settings, lambda *stage: None, saved)
            if search.latency and saved is None:
                size = size_json(self.task.images.size)
                self.directory.write_json(
                    LATENCY, to_json(search.latency, batch=1, target=settings.fitness.target, size=size)
                )
            self._prepared = key, search
        return self._prepared[1]

    def reference(self, encoding: str) -> dict[str, CycleFitness]:
        """Return the fitness that elites of all runs are compared by."""
        if encoding not in self._references:
            builders = make_builders(self.task.cyclegan, self.task.images, encoding=encoding)
            self._references[encoding] = reference_of(self.task, builders, self.skip)
        return self._references[encoding]


def score_elites(log: Sequence[Mapping[str, Any]], reference: Mapping[str, CycleFitness]) -> dict[str, Any]:
    """Score the elite of every line of a logbook by the reference fitness of its side.

    Returns:
        ``steps``, one for each line: side, generation, cost, seconds, fitness and reference fitness of its elite, and
        ``best``: the mean over the sides of the best reference fitness so far.
    """
    steps: list[dict[str, Any]] = []
    best: dict[str, float] = {}
    for line in log:
        score = reference[line["side"]](unpack_bits(line["elite"]))
        best[line["side"]] = max(best.get(line["side"], 0.0), score[0])
        steps.append({
            "side": line["side"], "generation": line["generation"], "cost": line["cost"],
            "seconds": line["timing"]["seconds"], "fitness": line["best"], "reference": score[0],
            "n": score.terms["n"], "best": sum(best.values()) / len(best) if len(best) == len(reference) else None,
        })  # fmt: skip
    for side in reference.values():
        side.forget()
    return {"steps": steps}


def forget(search: Search) -> None:
    """Drop all images and networks that a search has kept."""
    for name, fitness in search.fitness.items():
        fitness.forget()
        search.builders[name].forget()


def draw(path: Path, curves: Mapping[str, Sequence[Mapping[str, Any]]], summary: Mapping[str, Any]) -> None:
    """Draw the best reference fitness so far against cost."""
    seeds = len(summary["seeds"])
    plot_curves(
        path, {name: [points(run) for run in runs] for name, runs in curves.items()},
        x_label="cost (evaluations + rescores / 2, both sides)",
        y_label="best reference fitness so far (mean of both sides)",
        title=f"mean of {seeds} seed{'s' * (seeds > 1)}; bands from the lowest to the highest",
    )  # fmt: skip
