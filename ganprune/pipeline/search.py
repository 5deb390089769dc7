"""What a search works with: from settings to networks, fitness, toolboxes and strategies of both sides."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

from deap.base import Toolbox

from ganprune.cost.latency import PYTORCH, measure_latency
from ganprune.cost.latency_table import LatencyTable, from_json
from ganprune.cost.network_cost import NetworkCost
from ganprune.deploy.layers import onnxruntime_engine
from ganprune.errors import UserError, did_you_mean
from ganprune.evolution.algorithms.strategy import Strategy
from ganprune.evolution.registry import canonical, names, resolve
from ganprune.evolution.toolbox import make_toolbox
from ganprune.filters.builder import NetworkBuilder, make_builders
from ganprune.filters.space import FilterSpace
from ganprune.fitness import CycleFitness
from ganprune.models.options import SIDES
from ganprune.pipeline.budgets import hold_to_budgets
from ganprune.pipeline.task import Task
from ganprune.settings.evolve import EvolveSettings, SearchSettings
from ganprune.training.tuning import tuned

OPERATORS = ("algorithm", "select", "mate", "mutate", "init")


@dataclass(frozen=True)
class Search:
    """What a search works with, both sides: bits -> network, its fitness, and a DEAP toolbox with a strategy."""

    builders: Mapping[str, NetworkBuilder]
    fitness: Mapping[str, CycleFitness]
    toolboxes: Mapping[str, Toolbox]
    strategies: Mapping[str, Strategy]
    seconds: float
    latency: Mapping[str, LatencyTable] = field(default_factory=dict)  # by side; none where nothing asks for it

    def expected(self, generations: int, done: int = 0) -> int:
        """Return about how many individuals are still to be scored after ``done`` of the steps of both sides."""
        sides = len(self.strategies)  # they take turns
        left = (generations + 1 - (done + sides - 1 - turn) // sides for turn in range(sides))
        return sum(s.population * s.later * steps for s, steps in zip(self.strategies.values(), left, strict=True))


def prepare(task: Task, settings: EvolveSettings, stage: Callable[..., Any], latency: Any = None) -> Search:
    """Trace the generators, take moments and set up both sides' search; writes nothing.

    Args:
        task: the CycleGAN and its images.
        settings: of the run.
        stage: told when a stage begins.
        latency: the content of the run's ``latency.json``, where it has one; else latencies that the settings ask for
            are measured.

    Raises:
        UserError: a generator that can't be pruned, a budget that nothing can meet, or damaged latencies.
    """
    search = rebuild(task, settings, stage)
    started = time.perf_counter()
    # Multiples come before budgets, so that latencies are measured at numbers that can be.
    spaces = {name: b.space.with_repair(multiple=settings.budget.round_to) for name, b in search.builders.items()}
    tables = latency_tables(task, settings, spaces, latency, stage)
    for name, space in spaces.items():
        cost = NetworkCost.of(task.cyclegan[name].generator, space, task.images.size, tables.get(name))
        spaces[name] = hold_to_budgets(cost, settings.budget, name)
    fitness = make_fitness(task, settings, search.builders, tables, spaces)
    strategies, toolboxes = make_toolboxes(fitness, settings.search)
    seconds = search.seconds + time.perf_counter() - started
    return replace(search, fitness=fitness, toolboxes=toolboxes, strategies=strategies, seconds=seconds, latency=tables)


def rebuild(task: Task, settings: EvolveSettings, stage: Callable[..., Any]) -> Search:
    """Trace the generators and take moments, to build networks as a run with these settings does.

    There is nothing to search with in it: no operator is resolved, so that settings read from a file name no import.

    Raises:
        UserError: a generator that can't be pruned.
    """
    started, scoring = time.perf_counter(), settings.scoring
    stage("tracing the generators" + (" and taking moments" if scoring.reconstruct else ""))
    builders = make_builders(
        task.cyclegan, task.images, encoding=scoring.encoding, reconstruct=scoring.reconstruct,
        calibration_images=scoring.calibration_images,
    )  # fmt: skip
    builders = tuned(
        builders, task.cyclegan, task.images, settings.tuning, seed=settings.seed, precision=settings.precision
    )
    return Search(builders, {}, {}, {}, time.perf_counter() - started)


def specifications(settings: SearchSettings, kind: str) -> list[str]:
    """Return what the settings name of a kind of :data:`OPERATORS`, by registered name; an algorithm for each side."""
    return [*algorithms(settings).values()] if kind == "algorithm" else [canonical(kind, getattr(settings, kind))]


def algorithms(settings: SearchSettings) -> dict[str, str]:
    """Return each side's algorithm, by its registered name: one for both, or two joined by a slash, A2B's first.

    Raises:
        UserError: more than two, or an empty one.
    """
    parts = [canonical("algorithm", part) for part in settings.algorithm.split("/")]
    if len(parts) > 2 or not all(parts):
        known = [part for part in parts if part.partition(":")[0] in names("algorithm")][:2]
        remedy = f"Did you mean {'/'.join(known)!r}?" if known else did_you_mean(parts[0], names("algorithm"))
        expected = "one algorithm, or A2B's and B2A's joined by a slash"
        raise UserError("algorithm", settings.algorithm or "''", expected, remedy)
    return dict(zip(SIDES, (parts[0], parts[-1]), strict=True))


def latency_tables(
    task: Task, settings: EvolveSettings, spaces: Mapping[str, FilterSpace], saved: Any, stage: Callable[..., Any]
) -> dict[str, LatencyTable]:
    """Return both sides' latency tables, the saved ones or measured now; none where the settings need none.

    Raises:
        UserError: the saved ones are damaged, or a package is missing that the settings' target needs.
    """
    if not settings.needs_latency:
        return {}
    if saved is not None:
        return from_json(saved, spaces, task.images.size)
    exported, threads = settings.fitness.target == "onnxruntime", settings.fitness.target_threads
    stage("measuring the latency of every layer" + (f", exported, threads: {threads}" if exported else ""))
    generators = {name: side.generator for name, side in task.cyclegan.items()}
    engine = onnxruntime_engine(threads) if exported else PYTORCH
    return measure_latency(generators, spaces, task.images.size, engine)


def latency_facts(settings: EvolveSettings, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``latency.json`` says of its measurement, from the settings and the ``config.json`` of its run."""
    facts = {name: configuration[name] for name in ("torch", "size", "device", "threads")}
    target = settings.fitness.target
    if target == "onnxruntime":
        facts |= {"device": "cpu", "threads": settings.fitness.target_threads, target: version(target)}
    return {"batch": 1, "target": target, **facts}


def make_fitness(
    task: Task,
    settings: EvolveSettings,
    builders: Mapping[str, NetworkBuilder],
    latency: Mapping[str, LatencyTable],
    spaces: Mapping[str, FilterSpace] | None = None,
) -> dict[str, CycleFitness]:
    """Return both sides' fitness, sharing their networks; ``spaces`` have the repair, where not the builders'."""
    return {
        name: CycleFitness(
            task.cyclegan, task.images, name, settings=settings.fitness, builders=builders, spaces=spaces,
            validation_images=settings.scoring.validation_images,
            precision=settings.precision, latency=latency.get(name),
        )
        for name in task.cyclegan
    }  # fmt: skip


def make_strategy(settings: SearchSettings, side: str) -> Strategy:
    """Return a new strategy for a side, of the settings' algorithm and population."""
    operator = resolve("algorithm", algorithms(settings)[side])
    strategy: Strategy = operator.function(**{"population": settings.population, **operator.parameters})
    return strategy


def make_toolboxes(
    fitness: Mapping[str, CycleFitness], settings: SearchSettings
) -> tuple[dict[str, Strategy], dict[str, Toolbox]]:
    """Return a new strategy for each side, and a toolbox with that and the settings' operators."""
    strategies, toolboxes = {}, {}
    for name, side in fitness.items():
        strategies[name] = make_strategy(settings, name)
        toolboxes[name] = make_toolbox(
            side.space, side, select=settings.select, mate=settings.mate, mutate=settings.mutate, init=settings.init
        )
        strategies[name].register(toolboxes[name])
    return strategies, toolboxes
