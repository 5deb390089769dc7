"""What ``ganprune pick`` does: any point of a run's Pareto front as compact generators, without searching again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ganprune.errors import UserError
from ganprune.evolution.individual import Individual, unpack_bits
from ganprune.filters.saving import read_description
from ganprune.models.options import SIDES
from ganprune.pipeline.config import configured_task, open_finished, read_config
from ganprune.pipeline.front import Front, read_fronts
from ganprune.pipeline.job import begin
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.search import Search, rebuild
from ganprune.runs.directory import CONFIG, LOGBOOK, SUMMARY, RunDirectory
from ganprune.settings.fields import changed
from ganprune.settings.pick import Criterion

# What each criterion bounds from above: for the ratio, since more of that is smaller, its negative.
BUDGETS: dict[str, Callable[[Front, Mapping[str, Any]], float]] = {
    "max_macs": lambda front, point: point["macs_per_image"],
    "max_params": lambda front, point: point["parameters"],
    "target_ratio": lambda front, point: -front.original["parameters"] / point["parameters"],
}


def choose(fronts: Mapping[str, Front], criterion: Criterion) -> dict[str, int]:
    """Return, for each side that has a front, the index of the point that the criterion wants.

    Raises:
        UserError: there is none; the message says the smallest there is.
    """
    if criterion.knee:
        return {name: front.knee for name, front in fronts.items()}
    if criterion.index is not None:
        return _numbered(fronts, criterion.index)
    if (least := criterion.min_quality) is not None:
        return {
            name: next(i for i, point in enumerate(front.points) if point["relative_quality"] >= least)
            for name, front in fronts.items()
        }
    return _within(fronts, criterion)


def _numbered(fronts: Mapping[str, Front], numbers: tuple[int, int]) -> dict[str, int]:
    for name, number in zip(SIDES, numbers, strict=True):
        last = len(fronts[name].points) - 1 if name in fronts else 0
        if not 0 <= number <= last:
            expected = f"0 to {last}, the points of the front" if name in fronts else "0: this side has no front"
            raise _refused("index", f"{number} for {name}", expected)
    return {name: number for name, number in zip(SIDES, numbers, strict=True) if name in fronts}


def _within(fronts: Mapping[str, Front], criterion: Criterion) -> dict[str, int]:
    """Return the points of lowest loss that a budget allows; the smallest one where several are equal."""
    ((field, given),) = criterion.to_json().items()
    ratio = field == "target_ratio"
    limit = -given if ratio else given
    chosen, smallest = {}, {}
    for name, front in fronts.items():
        taken = [BUDGETS[field](front, point) for point in front.points]
        smallest[name] = min(taken)
        fitting = [(point["quality"], i) for i, point in enumerate(front.points) if taken[i] <= limit]
        if fitting:
            chosen[name] = min(fitting)[1]
    if len(chosen) < len(fronts):
        # Rounded so that the number shown is one that works.
        shown = {name: f"{math.floor(-v * 100) / 100:g}" if ratio else f"{v:.0f}" for name, v in smallest.items()}
        bound = shown[max(smallest, key=lambda name: smallest[name])]
        listed = ", ".join(f"{name} {text}" for name, text in shown.items())
        expected = f"{bound} or {'less' if ratio else 'more'} (the smallest points there are: {listed})"
        raise _refused(field, given, expected)
    return chosen


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
        began_with=config, out=out, threads=threads, reporter=reporter,
    )  # fmt: skip
    chosen = {name: _chosen(source, name, fronts, indices) for name in job.task.cyclegan}
    for name in job.task.cyclegan:
        job.reporter.stage(f"{name}: {_described(name, fronts, indices)}")
    search = rebuild(job.task, job.settings, job.reporter.stage)
    _check_bits(source, search, chosen)
    with job.claim(out) as directory:
        counts = source.read_jsonl(LOGBOOK)[-1]
        compact, summary = job.materialise(directory, search.builders, chosen, counts=counts)
        facts = {"from": str(path), "criterion": criterion.to_json(), "points": indices}
        directory.write_json(CONFIG, {**config, **job.configuration(**facts)})  # not before: it can't be resumed
        job.finish(directory, compact, {**summary, "seconds": job.seconds, "picked_from": str(path), "points": indices})
    return directory


def _chosen(source: RunDirectory, name: str, fronts: Mapping[str, Front], indices: Mapping[str, int]) -> Individual:
    """Return a side's chosen point, or, where it has no front, the elite that the finished run made compact."""
    if name in fronts:
        return fronts[name].individual(indices[name])
    figures = open_finished(source.directory).read_json(SUMMARY)["sides"][name]["search"]
    elite = Individual(unpack_bits(read_description(source.path(name))["bits"]))
    elite.fitness.values = (figures["fitness"],)
    elite.terms = {key: value for key, value in figures.items() if key not in ("fitness", "reference_fitness")}
    return elite


def _described(name: str, fronts: Mapping[str, Front], indices: Mapping[str, int]) -> str:
    if name not in fronts:
        return "no front, since another algorithm searched it: its elite"
    front, index = fronts[name], indices[name]
    point = front.points[index]
    size, macs = (front.original[name] / point[name] for name in ("parameters", "macs_per_image"))
    share = f"{point['relative_quality']:.0%} of the best quality"
    return f"point {index}, {size:.2f}x smaller, {macs:.2f}x fewer MACs, {share}"


def _check_bits(source: RunDirectory, search: Search, chosen: Mapping[str, Individual]) -> None:
    for name, individual in chosen.items():
        try:
            search.builders[name].space.check(individual)
        except UserError as error:
            found = f"bits of side {name} that the generator does not have ({error.value})"
            raise UserError(
                str(source.directory), found, error.expected, "Restore the run's files, or its checkpoint."
            ) from error


def _refused(field: str, value: Any, expected: str) -> UserError:
    return UserError(field.replace("_", " "), value, expected, f"Correct --{field.replace('_', '-')}.")
