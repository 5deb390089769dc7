"""The options of a whole run and their presets; plain data, so that ``--help`` can show them without heavy imports."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ganprune.errors import UserError, did_you_mean
from ganprune.settings.fitness import FitnessSettings
from ganprune.settings.training import TrainingSettings, TuningSettings

# Weights of the fine-tune's terms, found by scripts/finetuning.py on validation images: docs/finetuning.md.
DISTILLED: dict[str, float] = {
    "learning_rate": 5e-4, "lam": 20.0, "identity": 0.0, "adversarial": 0.5, "distil": 10.0, "disa": 0.1, "augment": 1.0
}  # fmt: skip


OBJECTIVES: dict[str, dict[str, float]] = {
    "distil": DISTILLED,
    "features": {**DISTILLED, "features": 1.0},
    "cyclegan": {"learning_rate": 2e-4, "identity": 0.5},  # as Zhu et al. train, and the paper
}


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


def needs_latency(settings: EvolveSettings) -> bool:
    """Return whether a run with these settings predicts latencies."""
    return settings.cost == "latency" or settings.max_latency_ms is not None


NAMES = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}


PRECISIONS = ("auto", "float32", "bfloat16")


FINETUNES = ("distil", "features", "cyclegan")


@dataclass(frozen=True)
class EvolveSettings:
    """Everything that decides what ``ganprune evolve`` does, besides the checkpoint and the images.

    Attributes:
        preset: name of the preset that the defaults came from.
        algorithm: "ga", with parameters as ``ga:reproduction=0.2``.
        population: individuals per side, K.
        generations: T, not counting generation 0.
        max_evaluations: stop before this cost (evaluations + rescores / 2) is exceeded.
        max_seconds: stop the search after this many seconds.
        select, mate, mutate, init: operator specifications.
        gamma, lam, identity, loss, cost, discriminator_output, cycle_norm: the fitness; see ``FitnessSettings``.
        target_ratio: every individual has at least this many times fewer parameters than the original; None or 1 for
            no bound.
        max_macs: every individual takes at most this many multiply-accumulates per image (counted at input size).
        max_latency_ms: every individual is predicted to take at most this many milliseconds per image.
        width_slope: to meet a budget, groups are cut to n * size ** width_slope filters: 0 for equal numbers, 1 for
            equal shares; None for :func:`ganprune.pipeline.budgets.find_slope`.
        round_to: groups of filters keep multiples of this, where they have at least twice as many.
        encoding: "grouped" or "tied".
        schedule: "alternate", "simultaneous" or "separate".
        reconstruct: whether weights are reconstructed in closed form.
        calibration_images: training images whose statistics reconstruct weights.
        tune: "distil" or "cyclegan": how each individual is tuned before it is scored, if at all.
        tune_steps: steps of that; 0 for as many as ``tune_passes`` says.
        tune_passes: passes over a tenth of the training images; 0 for no tuning.
        tune_batch: images per tuning step.
        validation_images: validation images that score.
        finetune: the objective of the final fine-tune: "distil" (the original's images, what its discriminators say
            of them, and the cycle), "features" (that and features inside the generators) or "cyclegan" (the paper's).
        finetune_steps: its steps; 0 for none. The second half decays the learning rate.
        finetune_batch: images of each domain per step.
        finetune_learning_rate: Adam's; None for the objective's own (5e-4 distilled, 2e-4 as CycleGAN).
        features: whose features the final distances are measured on: "shipped", "inception", "none" or "auto";
            see :class:`ganprune.metrics.measures.Wanted`.
        inception_weights: file of the weights for "inception"; None to download them.
        precision: "float32", "bfloat16" (mixed), or "auto": bfloat16 where the hardware multiplies it natively.
        seed: of everything random.
    """

    preset: str = "quick"
    algorithm: str = "ga"
    population: int = 16
    generations: int = 10
    max_evaluations: float | None = None
    max_seconds: float | None = None
    select: str = "selTournament:tournsize=3"
    mate: str = "cxGroup"
    mutate: str = "mutGroupOrFlip"
    init: str = "initMixed:low=1,high=1"
    gamma: float = 10.0
    lam: float = 10.0
    identity: float = 0.0
    loss: str = "disa"
    cost: str = "params"
    discriminator_output: str = "map"
    cycle_norm: str = "l2"
    target_ratio: float | None = 8.0
    max_macs: float | None = None
    max_latency_ms: float | None = None
    width_slope: float | None = None
    round_to: int = 1
    encoding: str = "grouped"
    schedule: str = "alternate"
    reconstruct: bool = True
    calibration_images: int = 32
    tune: str = "distil"
    tune_steps: int = 0
    tune_passes: float = 0.0
    tune_batch: int = 4
    validation_images: int = 32
    finetune: str = "distil"
    finetune_steps: int = 700
    finetune_batch: int = 4
    finetune_learning_rate: float | None = None
    features: str = "auto"
    inception_weights: str | None = None
    precision: str = "auto"
    seed: int = 1

    def __post_init__(self) -> None:
        self._check_types()
        least = {"generations": 1, "calibration_images": 1, "validation_images": 1, "finetune_batch": 1, "round_to": 1}
        for field, low in {**least, "finetune_steps": 0}.items():
            if getattr(self, field) < low:
                _refuse(field, getattr(self, field), f"{low} or more")
        above = dict.fromkeys(("max_evaluations", "max_seconds", "finetune_learning_rate"), 0)
        above |= {"max_macs": 0, "max_latency_ms": 0}
        for field, low in above.items():
            limit = getattr(self, field)
            if limit is not None and not low < limit < math.inf:
                _refuse(field, limit, f"a number above {low}")
        if self.target_ratio is not None and not 1 <= self.target_ratio < math.inf:
            _refuse("target_ratio", self.target_ratio, "1 (no bound) or more")
        if self.width_slope is not None and not -2 <= self.width_slope <= 2:
            _refuse("width_slope", self.width_slope, "a number from -2 to 2")
        if not 0 <= self.seed < 2**32:
            _refuse("seed", self.seed, "a whole number from 0 to 4294967295")
        if self.precision not in PRECISIONS:
            _refuse("precision", self.precision, ", ".join(PRECISIONS))
        if self.finetune not in FINETUNES:
            expected = f"{', '.join(FINETUNES[:-1])} or {FINETUNES[-1]}"
            raise UserError("finetune", self.finetune, expected, did_you_mean(self.finetune, FINETUNES))

    def _check_types(self) -> None:
        """Settings may come from a file that somebody has edited."""
        for field in fields(self):
            value, kinds = getattr(self, field.name), set(str(field.type).split(" | "))
            kind = "None" if value is None else type(value).__name__
            if kind not in kinds and not (kind == "int" and "float" in kinds):
                _refuse(field.name, value, NAMES[min(kinds - {"None"})])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _refuse(field: str, value: Any, expected: str) -> None:
    raise UserError(field.replace("_", " "), value, expected, f"Correct --{field.replace('_', '-')}.")


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {},
    # The paper, exactly: Eq. 11, Algorithm 1 with raw roulette, rates of the authors' code, no reconstruction.
    "paper": {
        "population": 32,
        "generations": 100,
        "select": "selRoulette",
        "mate": "cxTwoPoint",
        "mutate": "mutFlipSegment",
        "init": "initUniform:density=0.5",
        "algorithm": "ga:reproduction=0.2,crossover=0.7,mutation=0.1",
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


def make_settings(preset: str, **options: Any) -> EvolveSettings:
    """Return a preset's settings with those options that are not None put in their place.

    ``max_macs`` or ``max_latency_ms`` without ``target_ratio`` takes the place of the preset's ``target_ratio``.

    Raises:
        UserError: an unknown preset or option, or a value that can't be.
    """
    known = [field.name for field in fields(EvolveSettings) if field.name != "preset"]
    for name in options:
        if name not in known:
            raise UserError("option", name, "a setting of a run", did_you_mean(name, known))
    if preset not in PRESETS:
        raise UserError("preset", preset, " or ".join(PRESETS), did_you_mean(preset, PRESETS))
    base = EvolveSettings(preset=preset, **PRESETS[preset])
    given = {name: value for name, value in options.items() if value is not None}
    if any(name in given for name in ("max_macs", "max_latency_ms")) and "target_ratio" not in given:
        base = replace(base, target_ratio=None)  # a budget of one's own takes the place of the preset's
    return replace(base, **given)
