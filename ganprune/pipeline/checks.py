"""Checks of settings and networks before any long work begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganprune.errors import UserError, did_you_mean
from ganprune.evolution.coevolution import SCHEDULES
from ganprune.evolution.registry import REGISTRY, resolve
from ganprune.filters.space import ENCODINGS
from ganprune.fitness import check_channels
from ganprune.models.options import SIDES
from ganprune.pipeline.search import OPERATORS, make_strategy, specifications
from ganprune.pipeline.task import Task
from ganprune.settings.evolve import OBJECTIVES, EvolveSettings, finetune_settings, fitness_settings, tuning_settings


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
