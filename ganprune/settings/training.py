"""TrainingSettings: the objective and schedule of a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ganprune.errors import UserError, did_you_mean

TAUGHT = ("distil", "disa", "feature_matching", "features")  # the terms that need a teacher


@dataclass(frozen=True)
class TrainingSettings:
    """What a training run does; the defaults are CycleGAN's except ``batch`` and the step counts.

    Attributes:
        steps: steps at the constant learning rate.
        decay_steps: further steps, while the rate falls linearly to 0.
        batch: images of each domain per step (1 in the paper).
        learning_rate, betas: of Adam, for generators and discriminators.
        discriminator_rate: learning rate of the discriminators, in learning rates of the generators.
        lam: weight of the cycle term.
        identity: weight of the identity term, times ``lam``; 0 leaves it out.
        adversarial: weight of the adversarial term.
        distil: weight of the L1 distance to the teacher's images; needs a teacher, as the three below do.
        disa: weight of L_DisA (Eq. 5), judged by the teacher's discriminator.
        feature_matching: weight of the relative L1 distance of what the teacher's discriminator sees in both images;
            see ``feature_matching``.
        features: weight of the distance of features inside the generators; see ``FeatureDistillation``.
        pool: size of the image pool that discriminators are trained from.
        augment: enlarge-and-crop factor (286/256 in the paper); 1 for none. Half of the images are mirrored.
        precision: "float32", or "bfloat16" for mixed precision (about twice as fast where it is supported).
        seed: of everything random.
    """

    steps: int
    decay_steps: int = 0
    batch: int = 4
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    discriminator_rate: float = 1.0
    lam: float = 10.0
    identity: float = 0.5
    adversarial: float = 1.0
    distil: float = 0.0
    disa: float = 0.0
    feature_matching: float = 0.0
    features: float = 0.0
    pool: int = 50
    augment: float = 286 / 256
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("steps", "decay_steps", "lam", "identity", "adversarial", *TAUGHT, "pool"):
            if not 0 <= getattr(self, field) < math.inf:
                raise UserError(field, getattr(self, field), "0 or more", f"Correct --{field.replace('_', '-')}.")
        if self.batch < 1:
            raise UserError("batch", self.batch, "1 or more", "Correct --batch.")
        if not 0 < self.learning_rate < math.inf:
            raise UserError("learning rate", self.learning_rate, "above 0", "Correct --learning-rate.")
        if not 0 < self.discriminator_rate < math.inf:
            raise UserError("discriminator rate", self.discriminator_rate, "above 0", "1 is the generators' own.")
        if not 1 <= self.augment <= 4:
            raise UserError("augment", self.augment, "a factor from 1 to 4", "Correct --augment.")
        if not 0 <= self.seed < 2**32:
            raise UserError("seed", self.seed, "a whole number from 0 to 4294967295", "Correct --seed.")
        if self.precision not in ("float32", "bfloat16"):
            raise UserError("precision", self.precision, "float32 or bfloat16", "Correct --precision.")

    @property
    def total(self) -> int:
        return self.steps + self.decay_steps

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON data."""
        return {**asdict(self), "betas": list(self.betas)}

    def rate(self, step: int) -> float:
        """Learning rate of 0-based step ``step``: constant, then falling linearly to 0."""
        if step < self.steps:
            return self.learning_rate
        return self.learning_rate * (1 - (step - self.steps + 1) / (self.decay_steps + 1))


def with_all_terms(saved: Any) -> Any:
    """Return settings that a file holds with what the version which wrote it did not know: no such terms, one rate.

    Args:
        saved: ``TrainingSettings.to_json()`` of some version; anything else is returned as it is.
    """
    return {**dict.fromkeys(TAUGHT, 0.0), "discriminator_rate": 1.0, **saved} if isinstance(saved, Mapping) else saved


OBJECTIVES = ("distil", "cyclegan")


@dataclass(frozen=True)
class TuningSettings:
    """How each individual is tuned before it is scored.

    Attributes:
        steps: training steps; 0 for as many as ``passes`` says.
        passes: passes over the tuning images where ``steps`` is 0.
        objective: "distil" or "cyclegan".
        batch: images per step.
        learning_rate: Adam's, constant.
        share: share of the training images that it uses, drawn once from ``seed``.
        seed: of the choice of images and, with the bits, of their order.
        precision: "float32", or "bfloat16" for mixed precision.
    """

    steps: int = 0
    passes: float = 0.0
    objective: str = "distil"
    batch: int = 4
    learning_rate: float = 5e-4
    share: float = 0.1
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise UserError("tune", self.objective, " or ".join(OBJECTIVES), did_you_mean(self.objective, OBJECTIVES))
        for field, value, low in (
            ("tune steps", self.steps, 0),
            ("tune passes", self.passes, 0),
            ("tune batch", self.batch, 1),
        ):
            if not low <= value < math.inf:
                raise UserError(field, value, f"{low} or more", f"Correct --{field.replace(' ', '-')}.")

    @property
    def wanted(self) -> bool:
        return self.steps > 0 or self.passes > 0
