"""What a search works with: from settings to networks, fitness, toolboxes and strategies of both sides."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deap.base import Toolbox

from ganprune.errors import UserError, did_you_mean
from ganprune.evolution.coevolution import SCHEDULES
from ganprune.evolution.registry import REGISTRY, resolve
from ganprune.evolution.strategy import Strategy
from ganprune.evolution.toolbox import make_toolbox
from ganprune.filters.builder import NetworkBuilder
from ganprune.filters.space import ENCODINGS
from ganprune.fitness import CycleFitness, FitnessSettings, make_builders
from ganprune.settings import EvolveSettings
from ganprune.task import Task
from ganprune.training import TrainingSettings
from ganprune.tuning import TuningSettings, tuned

OPERATORS = ("algorithm", "select", "mate", "mutate", "init")
FINETUNE_RATE = {"distil": 5e-4, "cyclegan": 2e-4}


@dataclass(frozen=True)
class Search:
    """What a search works with, both sides: bits -> network, its fitness, and a DEAP toolbox with a strategy."""

    builders: Mapping[str, NetworkBuilder]
    fitness: Mapping[str, CycleFitness]
    toolboxes: Mapping[str, Toolbox]
    strategies: Mapping[str, Strategy]
    seconds: float

    def expected(self, generations: int, done: int = 0) -> int:
        """Return about how many individuals are still to be scored after ``done`` of the steps of both sides."""
        steps = 2 * (generations + 1) - done
        strategy = next(iter(self.strategies.values()))
        return strategy.size * strategy.later * steps if steps else 0


def prepare(task: Task, settings: EvolveSettings, stage: Callable[..., Any]) -> Search:
    """Trace the generators, take moments and set up both sides' search; writes nothing.

    Raises:
        UserError: a generator that can't be pruned, or a budget that nothing can meet.
    """
    started = time.perf_counter()
    stage("tracing the generators" + (" and taking moments" if settings.reconstruct else ""))
    builders = make_builders(
        task.cyclegan, task.images, encoding=settings.encoding, reconstruct=settings.reconstruct,
        calibration_images=settings.calibration_images,
    )  # fmt: skip
    builders = tuned(builders, task.cyclegan, task.images, tuning_settings(settings))
    fitness = make_fitness(task, settings, builders)
    set_budgets(fitness, settings)
    strategies = {name: make_strategy(settings) for name in fitness}
    toolboxes = make_toolboxes(fitness, strategies, settings)
    return Search(builders, fitness, toolboxes, strategies, time.perf_counter() - started)


def check_settings(settings: EvolveSettings) -> None:
    """Resolve every name in the settings, so that a mistake is found before anything is written."""
    fitness_settings(settings)
    finetune_settings(settings)
    tuning_settings(settings)
    for name, choices in (("schedule", SCHEDULES), ("encoding", ENCODINGS)):
        value = getattr(settings, name)
        if value not in choices:
            raise UserError(name, value, " or ".join(choices), did_you_mean(value, choices))
    for kind in OPERATORS:
        resolve(kind, getattr(settings, kind))
    size = make_strategy(settings).size
    if settings.max_evaluations is not None and settings.max_evaluations < 2 * size:
        raise UserError(
            "max evaluations", settings.max_evaluations,
            f"{2 * size} or more, what the first generation of both sides takes",
            "Raise --max-evaluations, or lower --population.",
        )  # fmt: skip


def check_references(settings: EvolveSettings, given: Mapping[str, str]) -> None:
    """Check that operators which a saved run takes from a module were given again by the caller, and no others."""
    for kind in OPERATORS:
        saved = getattr(settings, kind)
        if kind in given and given[kind] != saved:
            raise UserError(f"--{kind}", given[kind], f"{saved}, as the run began", "Leave it out, or start a new run.")
        if kind not in given and saved.partition(":")[0] not in REGISTRY[kind]:
            raise UserError(kind, f"{saved} from the run's file", "it on the command line too", f"Add --{kind} {saved}")


def fitness_settings(settings: EvolveSettings) -> FitnessSettings:
    """Return the part of the settings that the fitness is made of."""
    fields = FitnessSettings.__dataclass_fields__
    return FitnessSettings(**{name: getattr(settings, name) for name in fields})


def tuning_settings(settings: EvolveSettings) -> TuningSettings:
    """Return how the settings want individuals tuned before they are scored."""
    rate = FINETUNE_RATE.get(settings.tune, 0.0)
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
    rate = settings.finetune_learning_rate or FINETUNE_RATE[settings.finetune]
    distil = settings.finetune == "distil"
    return TrainingSettings(
        steps=constant, decay_steps=settings.finetune_steps - constant, batch=settings.finetune_batch,
        learning_rate=rate, lam=1.0 if distil else settings.lam,
        identity=0.0 if distil else 0.5, adversarial=0.1 if distil else 1.0, distil=10.0 if distil else 0.0,
        augment=1.0 if distil else 286 / 256, precision=settings.precision, seed=settings.seed,
    )  # fmt: skip


def make_fitness(
    task: Task, settings: EvolveSettings, builders: Mapping[str, NetworkBuilder]
) -> dict[str, CycleFitness]:
    """Return both sides' fitness, sharing their networks."""
    terms = fitness_settings(settings)
    return {
        name: CycleFitness(
            task.cyclegan, task.images, name, settings=terms, builders=builders,
            validation_images=settings.validation_images,
            precision=settings.precision,
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
    return {
        name: CycleFitness(task.cyclegan, task.images, name, builders=builders, skip=settings.validation_images)
        for name in task.cyclegan
    }


def set_budgets(fitness: Mapping[str, CycleFitness], settings: EvolveSettings) -> None:
    """Make repair hold every individual to the settings' target ratio and MACs.

    Raises:
        UserError: a budget that nothing can meet.
    """
    for side in fitness.values():
        limits: dict[Callable[[Sequence[int]], float], float] = {}
        if settings.target_ratio is not None:
            limits[side.space.parameter_count] = side.space.parameter_count(side.space.full()) / settings.target_ratio
        if settings.max_macs is not None:
            limits[side.macs] = settings.max_macs
        if limits:
            side.space.limit(functools.partial(_fits, limits), "target-ratio or max-macs")


def _fits(limits: Mapping[Callable[[Sequence[int]], float], float], bits: Sequence[int]) -> bool:
    return all(count(bits) <= most for count, most in limits.items())


def make_strategy(settings: EvolveSettings) -> Strategy:
    """Return a new strategy of the settings' algorithm and population."""
    operator = resolve("algorithm", settings.algorithm)
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
