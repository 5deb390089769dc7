"""What ``ganprune evolve`` is asked, and its presets. Plain data, so that ``--help`` shows it without heavy imports.

What a setting is, its help says; under "Attributes" is what else there is to know of one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ganprune.errors import UserError, did_you_mean
from ganprune.evolution.registry import names
from ganprune.settings.fields import Settings, changed, part, setting
from ganprune.settings.fitness import FitnessSettings
from ganprune.settings.terms import DISCRIMINATOR, TERMS
from ganprune.settings.training import PRECISIONS, FinetuneSettings, TrainingSettings, TuningSettings

FEATURES_HELP = "inception (FID and KID) or none."


def _listed(kind: str) -> str:
    return ", ".join(names(kind)) + "; NAME:KEY=VALUE,..., or package.module:function."


@dataclass(frozen=True)
class BudgetSettings(Settings):
    """How small every individual is at least.

    Attributes:
        target_ratio: None is as 1.
        max_macs: counted at input size.
        width_slope: None for :func:`ganprune.pipeline.budgets.find_slope`.
        round_to: for groups of at least twice as many filters.
    """

    target_ratio: float | None = setting(
        8.0, "This many times fewer parameters; 1: no bound.", low=1, common=True, searches=True
    )
    max_macs: float | None = setting(None, "At most this many MACs per image.", above=0, common=True, searches=True)
    max_latency_ms: float | None = setting(
        None, "At most this predicted time per image on this machine, by --target.", above=0, common=True, searches=True
    )
    width_slope: float | None = setting(
        None,
        "First individuals are cut to n * filters ** this; 0: equal numbers, 1: shares.",
        low=-2,
        high=2,
        searches=True,
    )
    round_to: int = setting(
        1, "Keep filters in multiples of this many per layer, 1: any number.", low=1, common=True, searches=True
    )


@dataclass(frozen=True)
class SearchSettings(Settings):
    """How the search goes.

    Attributes:
        algorithm, select, mate, mutate, init: specifications, with parameters as in ``ga:reproduction=0.2``.
        generations: not counting generation 0.
    """

    algorithm: str = setting(
        "ga", "Search algorithm, or two as A2B/B2A: " + _listed("algorithm"), common=True, searches=True
    )
    population: int = setting(16, "Individuals per side (the paper's K).", common=True, searches=True)
    generations: int = setting(
        10, "Generations (the paper's T).", low=1, common=True, may_grow=True, shared=True, searches=True
    )
    max_evaluations: float | None = setting(
        None, "Stop before this cost: evaluations + rescores / 2.", above=0, may_grow=True, shared=True, searches=True
    )
    max_seconds: float | None = setting(
        None, "Stop the search after this time.", above=0, common=True, may_grow=True, shared=True, searches=True
    )
    select: str = setting("selTournament:tournsize=3", "Selection: " + _listed("select"), searches=True)
    mate: str = setting("cxGroup", "Crossover: " + _listed("mate"), searches=True)
    mutate: str = setting("mutGroupOrFlip", "Mutation: " + _listed("mutate"), searches=True)
    init: str = setting("initMixed:low=1,high=1", "First individuals: " + _listed("init"), searches=True)
    schedule: str = setting(
        "alternate", "alternate, simultaneous or separate.", choices=("alternate", "simultaneous", "separate"),
        searches=True,
    )  # fmt: skip


@dataclass(frozen=True)
class ScoringSettings(Settings):
    """How a bit string becomes a network (see ``FilterSpace``), and how many images that is scored on."""

    encoding: str = setting("grouped", "grouped, or tied as in the authors' code.", choices=("grouped", "tied"))
    reconstruct: bool = setting(True, "Closed-form weights, or sliced ones.", searches=True)
    calibration_images: int = setting(32, "Training images whose statistics reconstruct weights.", low=1)
    validation_images: int = setting(32, "Validation images that score.", low=1)


@dataclass(frozen=True)
class MeasureSettings(Settings):
    """What the final figures are measured by, beside what is always measured."""

    features: str = setting("none", "Whose features the final distances are measured on: " + FEATURES_HELP)
    inception_weights: str | None = setting(None, "File of torch-fidelity's weights.  [default: download them]")


@dataclass(frozen=True)
class EvolveSettings(Settings):
    """Everything that decides what ``ganprune evolve`` does, besides the checkpoint and the images.

    Attributes:
        preset: name of the preset that the defaults came from.
    """

    preset: str = setting("quick")
    budget: BudgetSettings = part(BudgetSettings(), "Size of the result")
    search: SearchSettings = part(SearchSettings(), "Search")
    fitness: FitnessSettings = part(FitnessSettings(), "Search")
    scoring: ScoringSettings = part(ScoringSettings(), "Search")
    tuning: TuningSettings = part(TuningSettings(), "Search")
    finetune: FinetuneSettings = part(FinetuneSettings(), "Fine-tuning and figures")
    measures: MeasureSettings = part(MeasureSettings(), "Fine-tuning and figures")
    precision: str = setting(
        "auto", "float32, bfloat16 (mixed), or auto: bfloat16 where it is native.", choices=("auto", *PRECISIONS)
    )
    seed: int = setting(1, "Of everything random.", low=0, high=2**32 - 1, common=True, shared=True)

    @property
    def needs_latency(self) -> bool:
        """Whether a run with these settings predicts latencies."""
        return self.fitness.cost == "latency" or self.budget.max_latency_ms is not None

    @property
    def needs_discriminators(self) -> bool:
        """Whether the search or a training asks discriminators; figures that do are left out where there are none."""
        asking = ["adversarial", *(name for name, term in TERMS.items() if term.view in DISCRIMINATOR)]
        weights = self.finetune.training(lam=self.fitness.lam, precision="float32", seed=self.seed).weights
        trained = self.finetune.steps > 0 and any(weights[term] for term in asking)
        tuned = self.tuning.wanted and self.tuning.objective == "cyclegan"
        return self.fitness.loss == "disa" or trained or tuned

    @property
    def training(self) -> TrainingSettings:
        """What the trainer is to do in the last fine-tune."""
        return self.finetune.training(lam=self.fitness.lam, precision=self.precision, seed=self.seed)


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {},
    # For 256x256 and more, where a pass takes 16 times as long: fewer images score, smaller batches train.
    "large": {"calibration_images": 16, "validation_images": 8, "finetune_batch": 1, "finetune_steps": 1000},
    # The paper, exactly: Eq. 11, Algorithm 1 with raw roulette, rates of the authors' code, no reconstruction.
    "paper": {
        "population": 32,
        "generations": 100,
        "select": "selRoulette",
        "mate": "cxTwoPoint",
        "mutate": "mutFlipSegment",
        "init": "initUniform:density=0.5",
        "algorithm": "ga:reproduction=0.2,crossover=0.7,mutation=0.1,novel=false",
        "identity": 0.5,
        "target_ratio": None,
        "precision": "float32",
        "reconstruct": False,
        "tune": "cyclegan",
        "tune_passes": 1.0,
        "tune_batch": 1,
        "finetune": "cyclegan",
        "finetune_steps": 2000,
        "finetune_batch": 1,
    },
}


def make_settings(preset: str = "quick", **options: Any) -> EvolveSettings:
    """Return a preset's settings with those options, by the names of the command line, that are not None in place.

    ``max_macs`` or ``max_latency_ms`` without ``target_ratio`` takes the place of the preset's ``target_ratio``.

    Raises:
        UserError: an unknown preset or option, or a value that can't be.
    """
    if preset not in PRESETS:
        raise UserError("preset", preset, " or ".join(PRESETS), did_you_mean(preset, PRESETS))
    given = {name: value for name, value in options.items() if value is not None}
    values = dict(PRESETS[preset])
    if any(name in given for name in ("max_macs", "max_latency_ms")):
        values["target_ratio"] = None  # a budget of one's own takes the place of the preset's
    return changed(replace(EvolveSettings(), preset=preset), **{**values, **given})
