"""Checks of settings and networks before any long work begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganprune.data.pixels import CHANNELS
from ganprune.deploy.files import require_packages
from ganprune.errors import UserError
from ganprune.evolution.registry import REGISTRY, resolve
from ganprune.fitness import check_channels
from ganprune.models.architecture import output_channels
from ganprune.models.imagenet import load_efficientnet
from ganprune.pipeline.search import OPERATORS, make_strategy, specifications
from ganprune.pipeline.task import Task
from ganprune.settings.evolve import EvolveSettings, SearchSettings
from ganprune.settings.fields import changed
from ganprune.settings.terms import DISCRIMINATOR, IMAGENET, TERMS
from ganprune.settings.training import OBJECTIVES, read_objective
from ganprune.training.trainer import TRAINING


def check_search(settings: SearchSettings, sides: Sequence[str]) -> None:
    """Resolve every operator, so that a mistake is found before anything is written.

    Args:
        settings: of the search.
        sides: those that are searched; none where that is not known yet.
    """
    for kind in OPERATORS:
        for specification in specifications(settings, kind):
            resolve(kind, specification)
    size = sum(make_strategy(settings, side).population for side in sides)
    if settings.max_evaluations is not None and settings.max_evaluations < size:
        raise UserError(
            "max evaluations", settings.max_evaluations,
            f"{size} or more, what the first generation of {'both sides' if len(sides) > 1 else sides[0]} takes",
            "Raise --max-evaluations, or lower --population.",
        )  # fmt: skip


def check_target(settings: EvolveSettings) -> None:
    """Check that the packages are installed which predict the latencies that the settings ask for.

    Raises:
        UserError: one is missing.
    """
    if settings.needs_latency and settings.fitness.target == "onnxruntime":
        require_packages("target onnxruntime")


def check_objectives(task: Task, settings: EvolveSettings) -> None:
    """Check that what the settings train with is there: CycleGAN's objective takes more than a generator.

    Raises:
        UserError: a discriminator, a reverse generator or images of the target are missing, or can't be given to a
            generator.
    """
    asked = {"finetune": (settings.finetune.objective, settings.finetune.steps > 0)}
    asked["tune"] = (settings.tuning.objective, settings.tuning.wanted)
    for option, (objective, wanted) in asked.items():
        objective = objective.partition(":")[0]
        if objective != "cyclegan" or not wanted:
            continue
        for name, side in task.cyclegan.items():
            there = {
                "a discriminator": side.discriminator is not None,
                "a reverse generator": task.cyclegan.reverse(name) is not None,
                f"images of domain {side.target}": side.target in task.images.domains,
            }
            missing = [what for what, found in there.items() if not found]
            if missing:
                found = f"cyclegan for {name}, without {missing[0]}"
                raise UserError(option, found, "distil: it takes nothing but the generator", f"Give --{option} distil.")
            check_channels(task.cyclegan, task.images, name, identity=OBJECTIVES["cyclegan"]["identity"] > 0)
    if settings.finetune.steps:
        _check_terms(task, settings.finetune.objective)
    for name in task.cyclegan:
        check_channels(task.cyclegan, task.images, name, identity=settings.fitness.identity > 0)


def _check_terms(task: Task, objective: str) -> None:
    """Check that the terms that were asked for by name have what they need: no one would see that one was left out."""
    own, weights = OBJECTIVES[objective.partition(":")[0]], read_objective(objective)
    views = {term: TERMS[term].view for term in TERMS if weights.get(term, 0) > 0 and not own.get(term)}
    for term, view in views.items():
        for name, side in task.cyclegan.items():
            if view in DISCRIMINATOR and side.discriminator is None:
                found = f"{term} for {name}, without a discriminator"
                raise UserError("finetune", found, "terms that need none", f"Leave {term} out.")
            if view == IMAGENET and output_channels(side.generator) not in CHANNELS:
                found = f"{term} for {name}, whose images have {output_channels(side.generator)} channels"
                raise UserError("finetune", found, "colour or greyscale images", f"Leave {term} out.")
    if IMAGENET in views.values():
        load_efficientnet(TRAINING)


def check_references(settings: SearchSettings, given: Mapping[str, str]) -> None:
    """Check that operators which a saved run takes from a module were given again by the caller, and no others."""
    for kind in OPERATORS:
        saved = getattr(settings, kind)
        if kind in given and specifications(changed(settings, **{kind: given[kind]}), kind) != specifications(
            settings, kind
        ):
            raise UserError(f"--{kind}", given[kind], f"{saved}, as the run began", "Leave it out, or start a new run.")
        names = [specification.partition(":")[0] for specification in specifications(settings, kind)]
        if kind not in given and any(name not in REGISTRY[kind] for name in names):
            raise UserError(kind, f"{saved} from the run's file", "it on the command line too", f"Add --{kind} {saved}")
