"""What ``ganprune pick`` does: any point of a run's Pareto front as compact generators, without searching again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ganprune.errors import UserError
from ganprune.evolution.individual import Individual
from ganprune.filters.saving import read_description
from ganprune.models.checkpoint import SIDES
from ganprune.pipeline.config import configured_task, open_finished, read_config
from ganprune.pipeline.front import Front, Point, read_fronts
from ganprune.pipeline.job import begin
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.results import materialise
from ganprune.pipeline.search import Search, rebuild
from ganprune.runs.directory import CONFIG, LOGBOOK, SUMMARY, RunDirectory
from ganprune.settings.fields import changed

BUDGETS: dict[str, Callable[[Front, Point], float]] = {
    "max_macs": lambda front, point: point.macs_per_image,
    "max_params": lambda front, point: point.parameters,
    "target_ratio": lambda front, point: front.parameters / point.parameters,
}


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """Which point of each side's front is wanted: exactly one of these.

    Attributes:
        max_macs: the best quality within this many multiply-accumulates per image (counted at input size).
        max_params: the best quality within this many parameters.
        target_ratio: the best quality with at least this many times fewer parameters than the original.
        min_quality: the smallest that keeps at least this share, in (0, 1], of the front's best quality. "quality" in
            the files is a loss; here it is 1 / loss, so that 1 is the best point and 0.8 allows 1.25 times its loss.
        knee: the point with the most to lose either way.
        index: the number of the point on A2B's and on B2A's front, from 0; 0 for a side without one.

    Raises:
        UserError: none or several are given, or a value can't be.
    """

    max_macs: float | None = None
    max_params: float | None = None
    target_ratio: float | None = None
    min_quality: float | None = None
    knee: bool = False
    index: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        names = ["--" + field.name.replace("_", "-") for field in fields(self)]
        given = ["--" + name.replace("_", "-") for name in self.to_json()]
        if len(given) != 1:
            expected = f"exactly one of {', '.join(names)}"
            raise UserError("criterion", " and ".join(given) or "none", expected, "Say which point is wanted.")
        for name in BUDGETS:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                _refuse(name, value, "a number above 0")
        if self.min_quality is not None and not 0 < self.min_quality <= 1:
            _refuse("min_quality", self.min_quality, "a share of the front's best quality, above 0 and at most 1")

    def to_json(self) -> dict[str, Any]:
        """Return what is given."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None and value is not False}


def choose(fronts: Mapping[str, Front], criterion: Criterion) -> dict[str, int]:
    """Return, for each side that has a front, the index of the point that the criterion wants.

    Raises:
        UserError: there is none; the message says the smallest there is.
    """
    if criterion.knee:
        return {name: front.knee for name, front in fronts.items()}
    if criterion.index is not None:
        return _numbered(fronts, criterion.index)
    if criterion.min_quality is not None:
        least = criterion.min_quality
        return {
            name: next(i for i in range(len(front.points)) if front.relative_quality(i) >= least)
            for name, front in fronts.items()
        }
    return _within(fronts, criterion)


def _numbered(fronts: Mapping[str, Front], numbers: tuple[int, int]) -> dict[str, int]:
    for name, number in zip(SIDES, numbers, strict=True):
        last = len(fronts[name].points) - 1 if name in fronts else 0
        if not 0 <= number <= last:
            expected = f"0 to {last}, the points of the front" if name in fronts else "0: this side has no front"
            _refuse("index", f"{number} for {name}", expected)
    return {name: number for name, number in zip(SIDES, numbers, strict=True) if name in fronts}


def _within(fronts: Mapping[str, Front], criterion: Criterion) -> dict[str, int]:
    """Return the points of lowest loss that a budget allows; the smallest one where several are equal."""
    ((field, limit),) = criterion.to_json().items()
    ratio = field == "target_ratio"  # the one budget of which more is smaller
    chosen, smallest = {}, {}
    for name, front in fronts.items():
        taken = [BUDGETS[field](front, point) for point in front.points]
        losses = [point.terms["quality"] for point in front.points]
        smallest[name] = max(taken) if ratio else min(taken)
        fitting = [(loss, i) for i, (loss, v) in enumerate(zip(losses, taken, strict=True)) if _fits(v, limit, ratio)]
        if fitting:
            chosen[name] = min(fitting)[1]
    if len(chosen) < len(fronts):
        # Rounded so that the number shown is one that works.
        shown = {name: f"{math.floor(v * 100) / 100:g}" if ratio else f"{v:.0f}" for name, v in smallest.items()}
        bound = shown[(min if ratio else max)(smallest, key=lambda name: smallest[name])]
        listed = ", ".join(f"{name} {text}" for name, text in shown.items())
        _refuse(field, limit, f"{bound} or {'less' if ratio else 'more'} (the smallest points there are: {listed})")
    return chosen


def _fits(value: float, limit: float, ratio: bool) -> bool:
    return value >= limit if ratio else value <= limit


def pick_run(
    path: str | Path,
    criterion: Criterion,
    out: str | Path | None = None,
    *,
    finetune_steps: int | None = None,
    factories: Mapping[str, str | None] | None = None,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> RunDirectory:
    """Make one point of each side's front compact, fine-tune and evaluate it, and write a run directory of its own.

    Args:
        path: a run of ``evolve`` with a front. It may be interrupted, if both sides have one; a finished run's side
            without a front (another algorithm's) gives its elite.
        criterion: which point.
        out: new run directory; None for the next free ``runs/pick-NNN``.
        finetune_steps: None for the run's own setting.
        factories: "generator" and "discriminator" again, where the run's are made by code.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads.
        reporter: whom to tell how far it is.

    Raises:
        UserError: there is no such run, front or point, or ``out`` holds a run already.
    """
    source = RunDirectory.open(path)
    config, settings = read_config(source)
    fronts = read_fronts(source)
    indices = choose(fronts, criterion)
    if finetune_steps is not None:
        settings = changed(settings, finetune_steps=finetune_steps)
    job = begin(
        "pick", settings, lambda: configured_task(config, device, factories),
        out=out, threads=threads, reporter=reporter,
    )  # fmt: skip
    chosen = {name: _chosen(source, name, fronts, indices) for name in job.task.cyclegan}
    for name in job.task.cyclegan:
        job.reporter.stage(f"{name}: {_described(name, fronts, indices)}")
    search = rebuild(job.task, job.settings, job.reporter.stage)
    _check_bits(source, search, chosen)
    with job.claim(out) as directory:
        compact, summary = materialise(
            job.task, job.settings, directory, search.builders, chosen, job.reporter,
            counts=source.read_jsonl(LOGBOOK)[-1],
        )  # fmt: skip
        facts = {"from": str(path), "criterion": criterion.to_json(), "points": indices}
        directory.write_json(CONFIG, job.configuration(**facts))  # not before: it can't be resumed
        job.finish(directory, compact, {**summary, "seconds": job.seconds, "picked_from": str(path), "points": indices})
    return directory


def _chosen(source: RunDirectory, name: str, fronts: Mapping[str, Front], indices: Mapping[str, int]) -> Individual:
    """Return a side's chosen point, or, where it has no front, the elite that the finished run made compact."""
    if name in fronts:
        return fronts[name].points[indices[name]].individual()
    figures = open_finished(source.directory).read_json(SUMMARY)["sides"][name]["search"]
    elite = Individual.from_key(read_description(source.path(name))["bits"])
    elite.fitness.values = (figures["fitness"],)
    elite.terms = {key: value for key, value in figures.items() if key not in ("fitness", "reference_fitness")}
    return elite


def _described(name: str, fronts: Mapping[str, Front], indices: Mapping[str, int]) -> str:
    if name not in fronts:
        return "no front, since another algorithm searched it: its elite"
    front, index = fronts[name], indices[name]
    point = front.points[index]
    ratio = front.parameters / point.parameters, front.macs_per_image / point.macs_per_image
    share = f"{front.relative_quality(index):.0%} of the best quality"
    return f"point {index}, {ratio[0]:.2f}x smaller, {ratio[1]:.2f}x fewer MACs, {share}"


def _check_bits(source: RunDirectory, search: Search, chosen: Mapping[str, Individual]) -> None:
    for name, individual in chosen.items():
        try:
            search.builders[name].space.check(individual)
        except UserError as error:
            found = f"bits of side {name} that the generator does not have ({error.value})"
            raise UserError(
                str(source.directory), found, error.expected, "Restore the run's files, or its checkpoint."
            ) from error


def _refuse(field: str, value: Any, expected: str) -> None:
    raise UserError(field.replace("_", " "), value, expected, f"Correct --{field.replace('_', '-')}.")
