"""What a search works with: from settings to networks, fitness, toolboxes and strategies of both sides."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deap.base import Toolbox

from ganprune.errors import UserError, did_you_mean
from ganprune.evolution.coevolution import SCHEDULES
from ganprune.evolution.registry import REGISTRY, resolve
from ganprune.evolution.strategy import Strategy
from ganprune.evolution.toolbox import make_toolbox
from ganprune.filters.builder import NetworkBuilder
from ganprune.filters.space import ENCODINGS, FilterSpace
from ganprune.fitness import CycleFitness, FitnessSettings, check_channels, make_builders
from ganprune.latency.measure import measure_latency
from ganprune.latency.table import LatencyTable, from_json
from ganprune.models.checkpoint import SIDES
from ganprune.settings import EvolveSettings
from ganprune.task import Task
from ganprune.training import TrainingSettings
from ganprune.tuning import TuningSettings, tuned

OPERATORS = ("algorithm", "select", "mate", "mutate", "init")
SLOPES = [step / 10 for step in range(11)]  # from equal numbers of filters to equal shares
USED_UP = 0.9  # the share of a budget that counts as all of it
# Weights of the fine-tune's terms, found by scripts/finetuning.py on validation images: docs/finetuning.md.
DISTILLED: dict[str, float] = {
    "learning_rate": 5e-4, "lam": 20.0, "identity": 0.0, "adversarial": 0.5, "distil": 10.0, "disa": 0.1, "augment": 1.0
}  # fmt: skip
OBJECTIVES: dict[str, dict[str, float]] = {
    "distil": DISTILLED,
    "features": {**DISTILLED, "features": 1.0},
    "cyclegan": {"learning_rate": 2e-4, "identity": 0.5},  # as Zhu et al. train, and the paper
}


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
        return sum(s.size * s.later * steps for s, steps in zip(self.strategies.values(), left, strict=True))


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
    for builder in search.builders.values():
        builder.space.round_to(settings.round_to)  # first, so that latencies are measured at numbers that can be
    tables = latency_tables(task, settings, search.builders, latency, stage)
    fitness = make_fitness(task, settings, search.builders, tables)
    set_budgets(fitness, settings)
    strategies = {name: make_strategy(settings, name) for name in fitness}
    toolboxes = make_toolboxes(fitness, strategies, settings)
    seconds = search.seconds + time.perf_counter() - started
    return replace(search, fitness=fitness, toolboxes=toolboxes, strategies=strategies, seconds=seconds, latency=tables)


def rebuild(task: Task, settings: EvolveSettings, stage: Callable[..., Any]) -> Search:
    """Trace the generators and take moments, to build networks as a run with these settings does.

    There is nothing to search with in it: no operator is resolved, so that settings read from a file name no import.

    Raises:
        UserError: a generator that can't be pruned.
    """
    started = time.perf_counter()
    stage("tracing the generators" + (" and taking moments" if settings.reconstruct else ""))
    builders = make_builders(
        task.cyclegan, task.images, encoding=settings.encoding, reconstruct=settings.reconstruct,
        calibration_images=settings.calibration_images,
    )  # fmt: skip
    builders = tuned(builders, task.cyclegan, task.images, tuning_settings(settings))
    return Search(builders, {}, {}, {}, time.perf_counter() - started)


def check_settings(settings: EvolveSettings, sides: Sequence[str] = SIDES) -> None:
    """Resolve every name in the settings, so that a mistake is found before anything is written.

    Args:
        settings: of the run.
        sides: those that are searched, where that is known already.
    """
    check_terms(settings)
    for kind in OPERATORS:
        for specification in specifications(settings, kind):
            resolve(kind, specification)
    size = sum(make_strategy(settings, side).size for side in sides)
    if settings.max_evaluations is not None and settings.max_evaluations < size:
        raise UserError(
            "max evaluations", settings.max_evaluations,
            f"{size} or more, what the first generation of {'both sides' if len(sides) > 1 else sides[0]} takes",
            "Raise --max-evaluations, or lower --population.",
        )  # fmt: skip


def check_terms(settings: EvolveSettings) -> None:
    """Check all but the operators: what has a meaning without a search, and for settings read from a file too."""
    fitness_settings(settings)
    finetune_settings(settings)
    tuning_settings(settings)
    for name, choices in (("schedule", SCHEDULES), ("encoding", ENCODINGS)):
        value = getattr(settings, name)
        if value not in choices:
            raise UserError(name, value, " or ".join(choices), did_you_mean(value, choices))


def check_objectives(task: Task, settings: EvolveSettings) -> None:
    """Check that what the settings train with is there: CycleGAN's objective takes more than a generator.

    Raises:
        UserError: a judge, a way back or images of the target are missing, or can't be given to a generator.
    """
    asked = {"finetune": (settings.finetune, settings.finetune_steps > 0)}
    asked["tune"] = (settings.tune, tuning_settings(settings).wanted)
    for option, (objective, wanted) in asked.items():
        if objective != "cyclegan" or not wanted:
            continue
        for name, side in task.cyclegan.items():
            there = {
                "a discriminator": side.discriminator is not None,
                "a generator that translates back": task.cyclegan.reverse(name) is not None,
                f"images of domain {side.target}": side.target in task.images.domains,
            }
            missing = [what for what, found in there.items() if not found]
            if missing:
                found = f"cyclegan for {name}, without {missing[0]}"
                raise UserError(option, found, "distil: it takes nothing but the generator", f"Give --{option} distil.")
            check_channels(task.cyclegan, task.images, name, identity=OBJECTIVES["cyclegan"]["identity"] > 0)
    for name in task.cyclegan:
        check_channels(task.cyclegan, task.images, name, identity=settings.identity > 0)


def check_references(settings: EvolveSettings, given: Mapping[str, str]) -> None:
    """Check that operators which a saved run takes from a module were given again by the caller, and no others."""
    for kind in OPERATORS:
        saved = getattr(settings, kind)
        if kind in given and given[kind] != saved:
            raise UserError(f"--{kind}", given[kind], f"{saved}, as the run began", "Leave it out, or start a new run.")
        names = [specification.partition(":")[0] for specification in specifications(settings, kind)]
        if kind not in given and any(name not in REGISTRY[kind] for name in names):
            raise UserError(kind, f"{saved} from the run's file", "it on the command line too", f"Add --{kind} {saved}")


def specifications(settings: EvolveSettings, kind: str) -> list[str]:
    """Return what the settings name of a kind of :data:`OPERATORS`: for algorithms one for each side."""
    return [*algorithms(settings).values()] if kind == "algorithm" else [getattr(settings, kind)]


def algorithms(settings: EvolveSettings) -> dict[str, str]:
    """Return each side's algorithm: one specification for both, or two joined by a slash, A2B's first.

    Raises:
        UserError: more than two, or an empty one.
    """
    parts = [part.strip() for part in settings.algorithm.split("/")]
    if len(parts) > 2 or not all(parts):
        known = [part for part in parts if part.partition(":")[0].lower() in REGISTRY["algorithm"]][:2]
        remedy = f"Did you mean {'/'.join(known)!r}?" if known else did_you_mean(parts[0], REGISTRY["algorithm"])
        expected = "one algorithm, or A2B's and B2A's joined by a slash"
        raise UserError("algorithm", settings.algorithm or "''", expected, remedy)
    return dict(zip(SIDES, (parts[0], parts[-1]), strict=True))


def fitness_settings(settings: EvolveSettings) -> FitnessSettings:
    """Return the part of the settings that the fitness is made of."""
    fields = FitnessSettings.__dataclass_fields__
    return FitnessSettings(**{name: getattr(settings, name) for name in fields})


def tuning_settings(settings: EvolveSettings) -> TuningSettings:
    """Return how the settings want individuals tuned before they are scored."""
    rate = OBJECTIVES.get(settings.tune, DISTILLED)["learning_rate"]
    return TuningSettings(
        steps=settings.tune_steps,
        passes=settings.tune_passes,
        objective=settings.tune,
        batch=settings.tune_batch,
        learning_rate=rate,
        seed=settings.seed,
        precision="float32" if settings.precision == "auto" else settings.precision,
    )


def finetune_settings(settings: EvolveSettings) -> TrainingSettings:
    """Return the final fine-tune's training settings; its second half decays the learning rate."""
    constant = settings.finetune_steps // 2
    terms = {"lam": settings.lam, **OBJECTIVES[settings.finetune]}
    if settings.finetune_learning_rate:
        terms["learning_rate"] = settings.finetune_learning_rate
    return TrainingSettings(
        steps=constant, decay_steps=settings.finetune_steps - constant, batch=settings.finetune_batch,
        precision=settings.precision, seed=settings.seed, **terms,  # type: ignore[arg-type]
    )  # fmt: skip


def latency_tables(
    task: Task, settings: EvolveSettings, builders: Mapping[str, NetworkBuilder], saved: Any, stage: Callable[..., Any]
) -> dict[str, LatencyTable]:
    """Return both sides' latency tables, the saved ones or measured now; none where the settings need none."""
    if not needs_latency(settings):
        return {}
    spaces = {name: builder.space for name, builder in builders.items()}
    if saved is not None:
        return from_json(saved, spaces, task.images.size)
    stage("measuring the latency of every layer")
    generators = {name: side.generator for name, side in task.cyclegan.items()}
    return measure_latency(generators, spaces, task.images.size)


def needs_latency(settings: EvolveSettings) -> bool:
    """Return whether a run with these settings predicts latencies."""
    return settings.cost == "latency" or settings.max_latency_ms is not None


def make_fitness(
    task: Task,
    settings: EvolveSettings,
    builders: Mapping[str, NetworkBuilder],
    latency: Mapping[str, LatencyTable],
) -> dict[str, CycleFitness]:
    """Return both sides' fitness, sharing their networks."""
    terms = fitness_settings(settings)
    return {
        name: CycleFitness(
            task.cyclegan, task.images, name, settings=terms, builders=builders,
            validation_images=settings.validation_images,
            precision=settings.precision, latency=latency.get(name),
        )
        for name in task.cyclegan
    }  # fmt: skip


def reference_fitness(task: Task, settings: EvolveSettings, search: Search) -> dict[str, CycleFitness]:
    """Return the fitness by which elites of different runs may be compared.

    Against the original partner, on validation images that the search did not see, with Eq. 11's default weights,
    reconstructed and untuned, in float32, whatever the run's own settings were.
    """
    own = settings.reconstruct and not tuning_settings(settings).wanted
    spaces = {name: builder.space for name, builder in search.builders.items()}
    builders = search.builders if own else make_builders(task.cyclegan, task.images, spaces=spaces)
    return reference_of(task, builders, settings.validation_images)


def reference_of(task: Task, builders: Mapping[str, NetworkBuilder], skip: int) -> dict[str, CycleFitness]:
    """Return the reference fitness of these builders' networks, on validation images after the first ``skip``."""
    return {
        name: CycleFitness(task.cyclegan, task.images, name, builders=builders, skip=skip) for name in task.cyclegan
    }


def set_budgets(fitness: Mapping[str, CycleFitness], settings: EvolveSettings) -> None:
    """Make repair hold every individual to the settings' target ratio, MACs and predicted latency.

    Raises:
        UserError: a budget that nothing can meet; the message names the least that is possible.
    """
    for side in fitness.values():
        space, limits = side.space, dict[Callable[[Sequence[int]], float], float]()
        least, full = space.repair([0] * len(space)), space.full()
        counts = {"target_ratio": space.parameter_count, "max_macs": side.macs, "max_latency_ms": side.latency_ms}
        for name, count in counts.items():
            given = getattr(settings, name)
            if given is None:
                continue
            limits[count] = count(full) / given if name == "target_ratio" else given
            if count(least) > limits[count]:
                most = f"at most {count(full) / count(least):.6g}"
                expected = most if name == "target_ratio" else f"{count(least):.6g} or more"
                advice = f"{'Lower' if name == 'target_ratio' else 'Raise'} --{name.replace('_', '-')}."
                fewest = "one filter" if space.multiple == 1 else f"{space.multiple} filters"
                found = f"{expected}, with {fewest} per group of {side.side}"
                raise UserError(name.replace("_", " "), given, found, advice)
        if limits:
            space.slope = find_slope(space, limits) if settings.width_slope is None else settings.width_slope
            space.limit(functools.partial(_fits, limits), "budget")


def find_slope(space: FilterSpace, limits: Mapping[Callable[[Sequence[int]], float], float]) -> float:
    """Return how repair cuts groups to these budgets where the settings do not say it: ``space.slope``.

    Equal numbers of filters, 0, unless both parameters and work are bounded: parameters are in the large groups, work
    is in the narrow ones at full resolution, which equal numbers leave nearly whole. Then it is the least slope at
    which an individual can use up both bounds; if there is none, the parameters' bound says nothing.
    The space's own slope and budget are changed by looking for it.
    """
    allowed = limits.get(space.parameter_count)
    if allowed is None or len(limits) == 1:
        return 0.0
    space.limit(functools.partial(_fits, limits), "budget")
    for slope in SLOPES:
        space.slope = slope
        if space.parameter_count(space.repair(space.full())) >= USED_UP * allowed:
            return slope
    return 0.0


def _fits(limits: Mapping[Callable[[Sequence[int]], float], float], bits: Sequence[int]) -> bool:
    return all(count(bits) <= most for count, most in limits.items())


def make_strategy(settings: EvolveSettings, side: str) -> Strategy:
    """Return a new strategy for a side, of the settings' algorithm and population."""
    operator = resolve("algorithm", algorithms(settings)[side])
    strategy: Strategy = operator.function(**{"population": settings.population, **operator.parameters})
    return strategy


def make_toolboxes(
    fitness: Mapping[str, CycleFitness], strategies: Mapping[str, Strategy], settings: EvolveSettings
) -> dict[str, Toolbox]:
    """Return one toolbox for each side, with the settings' operators and its strategy."""
    toolboxes = {}
    for name, evaluate_side in fitness.items():
        toolbox = make_toolbox(
            evaluate_side.space, evaluate_side,
            select=settings.select, mate=settings.mate, mutate=settings.mutate, init=settings.init,
        )  # fmt: skip
        strategies[name].register(toolbox)
        toolboxes[name] = toolbox
    return toolboxes
