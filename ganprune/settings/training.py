"""Objective and schedule of trainings: CycleGAN's own, the tuning of individuals, the fine-tune of what was found."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from ganprune.errors import UserError, did_you_mean
from ganprune.settings.fields import Settings, setting
from ganprune.settings.terms import TERMS, TermSettings
from ganprune.specs import Range, given_parameters

PRECISIONS = ("float32", "bfloat16")
MOST_AVERAGE = 0.99999
OWN = ("lam", "identity", "adversarial")  # the weights of the terms that need no teacher

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
class TrainingSettings(TermSettings):
    """What a training run does; the defaults are CycleGAN's except ``batch`` and the step counts.

    The weights of the terms that compare with a teacher are those of :class:`TermSettings`.

    Attributes:
        batch: 1 in the paper.
        learning_rate, betas: of Adam, for generators and discriminators.
        discriminator_rate: learning rate of the discriminators, in learning rates of the generators.
        identity: 0 leaves it out.
        adversarial: weight of the adversarial term.
        pool: what discriminators are trained from.
        cycle_noise: deviation of the normal noise on a translation before it is translated back, in grey levels of 255.
            Without it generators hide what the cycle needs in patterns too faint to see (C. Chu et al., 2017); noise
            drowns these (D. Bashkirova et al., NeurIPS 2019).
        augment: 286/256 in the paper. Half of the images are mirrored.
        average: how much of the generators' averaged weights stays with each step; they are the result then.
        precision: "bfloat16" is about twice as fast where it is supported.
    """

    steps: int = setting(20000, "Steps at the constant learning rate.", low=0, common=True)
    decay_steps: int = setting(0, "Further steps, rate falling to 0.", low=0, common=True)
    batch: int = setting(4, "Images of each domain per step.", low=1, common=True)
    learning_rate: float = setting(2e-4, "Adam's rate.", above=0)
    betas: tuple[float, float] = (0.5, 0.999)
    discriminator_rate: float = setting(1.0, above=0)
    lam: float = setting(10.0, "Weight of the cycle term.", low=0)
    identity: float = setting(0.5, "Weight of identity, times --lam.", low=0)
    adversarial: float = setting(1.0, low=0)
    pool: int = setting(50, "Size of the image pool.", low=0)
    augment: float = setting(286 / 256, "Enlarge-and-crop factor, 1 for none; CycleGAN's is 286/256.", low=1, high=4)
    shift: int = setting(0, "Pixels by which images are moved each way at most, 0 for none.", low=0)
    cycle_noise: float = setting(
        0.0,
        "Noise between both halves of a cycle, grey levels of 255: no hidden patterns; 0 for none.",
        low=0,
        high=255,
    )
    average: float = setting(
        0.0, "Decay of a running average of the generators' weights, the result then; 0 for none.",
        low=0, high=MOST_AVERAGE,
    )  # fmt: skip
    precision: str = setting("float32", "float32, or bfloat16 for mixed precision.", choices=PRECISIONS)
    seed: int = setting(0, "Of everything random.", low=0, high=2**32 - 1, common=True)

    @property
    def total(self) -> int:
        return self.steps + self.decay_steps

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term of a generator's objective, by name."""
        own = {term: getattr(self, term) for term in ("adversarial", *TERMS)}
        return {**own, "cycle": self.lam, "identity": self.lam * self.identity}

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON data."""
        return {**asdict(self), "betas": list(self.betas)}

    def rate(self, step: int) -> float:
        """Learning rate of 0-based step ``step``: constant, then falling linearly to 0."""
        if step < self.steps:
            return self.learning_rate
        return self.learning_rate * (1 - (step - self.steps + 1) / (self.decay_steps + 1))


def read_objective(text: str) -> dict[str, float]:
    """Return the settings of an objective, ``NAME`` or ``NAME:TERM=WEIGHT,...`` with other weights than its own.

    Raises:
        UserError: an unknown objective or term, or a weight that can't be.
    """
    name, _, options = text.partition(":")
    if name not in OBJECTIVES:
        expected = f"{', '.join(tuple(OBJECTIVES)[:-1])} or {tuple(OBJECTIVES)[-1]}"
        raise UserError("finetune", text, expected, did_you_mean(name, OBJECTIVES))
    names = [each.name for each in fields(TrainingSettings)]
    weights = given_parameters(
        "finetune", name, TrainingSettings, options, ranges=dict.fromkeys(names, Range(0, math.inf)),
        hidden=[each for each in names if each not in (*OWN, *TERMS)],
    )  # fmt: skip
    return {**OBJECTIVES[name], **weights}


@dataclass(frozen=True)
class TuningSettings(Settings):
    """How each individual is tuned before it is scored.

    Attributes:
        objective: in "distil" the side's own original teaches.
        steps, passes: passes count where there are no steps; both 0 for no tuning.
    """

    objective: str = setting(
        "distil", "Tuning of each individual before scoring: distil, or cyclegan (the paper's).",
        option="tune", choices=("distil", "cyclegan"), searches=True,
    )  # fmt: skip
    steps: int = setting(
        0, "Steps of that tuning; 0 for none, or for --tune-passes.", option="tune_steps", low=0, searches=True
    )
    passes: float = setting(
        0.0, "Passes of that tuning over a tenth of the training images.", option="tune_passes", low=0, searches=True
    )
    batch: int = setting(4, "Images per step of that tuning.", option="tune_batch", low=1, searches=True)

    @property
    def wanted(self) -> bool:
        return self.steps > 0 or self.passes > 0

    @property
    def learning_rate(self) -> float:
        """Adam's, constant."""
        return OBJECTIVES[self.objective]["learning_rate"]


@dataclass(frozen=True)
class FinetuneSettings(Settings):
    """The final fine-tune of a compact pair.

    Attributes:
        objective: "distil" (the original's images, what its discriminators say of them, and the cycle), "features"
            (that and features inside the generators) or "cyclegan" (the paper's); see :func:`read_objective`.
        steps: the second half decays the learning rate.
        learning_rate: Adam's; None for the objective's own (5e-4 distilled, 2e-4 as CycleGAN).
    """

    objective: str = setting(
        "distil", "Final fine-tune: distil, features, or cyclegan (the paper's); weights as in distil:ssim=1.",
        option="finetune",
    )  # fmt: skip
    steps: int = setting(700, "Steps of the final fine-tune; 0 for none.", option="finetune_steps", low=0, common=True)
    batch: int = setting(4, "Images of each domain per step of the fine-tune.", option="finetune_batch", low=1)
    learning_rate: float | None = setting(
        None, "Learning rate of the fine-tune.", option="finetune_learning_rate", above=0
    )
    average: float = setting(
        0.0, "Decay of a running average of the fine-tuned weights, the result then; 0 for none.",
        option="finetune_average", low=0, high=MOST_AVERAGE, added=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        read_objective(self.objective)

    def training(self, *, lam: float, precision: str, seed: int) -> TrainingSettings:
        """Return what the trainer is to do.

        Args:
            lam: weight of the cycle term, where the objective has none of its own.
            precision, seed: of the run.
        """
        terms: dict[str, Any] = {"lam": lam, **read_objective(self.objective)}
        if self.learning_rate:
            terms["learning_rate"] = self.learning_rate
        constant = self.steps // 2
        return TrainingSettings(
            steps=constant, decay_steps=self.steps - constant, batch=self.batch, average=self.average,
            precision=precision, seed=seed, **terms,
        )  # fmt: skip
