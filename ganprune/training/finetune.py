"""The final fine-tune of a compact pair: interrupted, it goes on exactly; diverging, it goes back to its last good
weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune.data.images import UnpairedImages
from ganprune.errors import UserError
from ganprune.filters.slicing import Keep
from ganprune.models.cyclegan import CycleGAN
from ganprune.models.weights import weights_digest
from ganprune.runs.interruption import Interruption
from ganprune.settings.terms import TERMS
from ganprune.settings.training import TrainingSettings
from ganprune.training import TENSORS_NAME, CycleGANTrainer, read_metadata

SAVE_SECONDS = 60.0
WINDOWS = 20  # that the steps are divided into, to see whether they lead anywhere
LEAST_WINDOW = 10
WORSE = 2.0  # a window's loss, as a multiple of the first's, that no fine-tune recovers from

Report = Callable[[int, int, dict[str, float]], Any]


def finetune(
    cyclegan: CycleGAN,
    images: UnpairedImages,
    compact: Mapping[str, nn.Module],
    settings: TrainingSettings,
    report: Report | None = None,
    *,
    filters: Mapping[str, Keep] | None = None,
    keep: Path | None = None,
    save_seconds: float = SAVE_SECONDS,
) -> dict[str, int]:
    """Train the compact generators in place, with copies of the original discriminators.

    Args:
        cyclegan: the original.
        images: its images.
        compact: side -> generator.
        settings: objective and schedule.
        report: called as ``report(step, total, losses)`` after each step.
        filters: side -> which filters were kept; see :class:`CycleGANTrainer`.
        keep: folder in which the training's state is kept, every ``save_seconds``, when it is interrupted and at its
            end. What is there of the same training goes on. Who needs it no longer removes the file
            :data:`TENSORS_NAME`.
        save_seconds: see ``keep``.

    Returns:
        ``diverged_at`` and ``weights_of``, two step numbers, if it diverged: at the first it was given up, and the
        weights are those of the second. Empty if all was well.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; with ``keep`` the last step is saved.
    """
    teacher = cyclegan if any(getattr(settings, term) for term in TERMS) else None
    origin = weights_digest(compact)
    trainer = CycleGANTrainer(
        cyclegan.with_generators(compact), images.whole_training(), settings, teacher=teacher, filters=filters
    )
    result = {name: side.generator for name, side in trainer.result().items()}  # averages, where these are kept
    guard = Guard(result, settings)
    if keep is not None and (keep / TENSORS_NAME).exists():
        known = read_metadata(keep / TENSORS_NAME)
        # A run that was given more generations may have other elites.
        if known.get("origin") == origin and known.get("settings") == settings.to_json():
            guard.load(*trainer.load(keep))
    saved, facts = time.monotonic(), {"origin": origin}
    begun_at = trainer.step
    with Interruption() as interruption:
        for losses in trainer.train():
            if not guard.good(trainer.step, losses):
                break
            if report:
                report(trainer.step, settings.total, losses)
            due = interruption.requested is not None or time.monotonic() - saved >= save_seconds
            if keep is not None and due:
                trainer.save(keep, facts={**facts, **guard.facts()}, tensors=guard.kept)
                saved = time.monotonic()
            interruption.check()
    trainer.finish()
    if keep is not None and trainer.step > begun_at and not guard.outcome:
        trainer.save(keep, facts={**facts, **guard.facts()}, tensors=guard.kept)  # what follows may fail, too
    for name in compact if settings.average else ():
        compact[name].load_state_dict(result[name].state_dict())
    return guard.outcome


class Guard:
    """Watches a fine-tune and keeps its last good weights.

    It diverges when a loss or a weight is not finite, or when the terms that compare with what is wanted (the teacher's
    images and features, cycle, identity) are, over a window of steps, :data:`WORSE` times what they were at first. GAN
    terms go up and down anyhow.

    Args:
        networks: the compact generators.
        settings: weights of the terms, and how many steps there are.

    Attributes:
        kept: the last good weights.
        outcome: what :func:`finetune` returns; empty while all is well.
    """

    def __init__(self, networks: Mapping[str, nn.Module], settings: TrainingSettings):
        self.networks = nn.ModuleDict(networks)
        self.weights = {term: weight for term, weight in settings.weights.items() if term != "adversarial"}
        self.window, self.total = max(LEAST_WINDOW, settings.total // WINDOWS), settings.total
        self.first: float | None = None
        self.sum, self.step = 0.0, 0
        self.outcome: dict[str, int] = {}
        self.kept = self._copy()

    def good(self, step: int, losses: Mapping[str, float]) -> bool:
        """Take note of a step's losses; return False, with the last good weights back in place, if it diverged."""
        self.sum += sum(self.weights.get(name.rpartition("_")[0], 0.0) * value for name, value in losses.items())
        bad, due = not all(map(math.isfinite, losses.values())), step % self.window == 0
        if due:
            mean, self.sum = self.sum / self.window, 0.0
            self.first = mean if self.first is None else self.first
            bad = bad or mean > WORSE * self.first
        if due or step == self.total:
            bad = bad or not all(bool(value.isfinite().all()) for value in self.networks.state_dict().values())
        if bad:
            self.networks.load_state_dict(self.kept)
            self.outcome = {"diverged_at": step, "weights_of": self.step}
        elif due:
            self.kept, self.step = self._copy(), step
        return not bad

    def facts(self) -> dict[str, Any]:
        """Return the numbers to save beside :attr:`kept`."""
        return {"guard": {"first": self.first, "sum": self.sum, "step": self.step}}

    def load(self, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Continue from what was saved.

        Raises:
            UserError: it is damaged.
        """
        try:
            guard = facts["guard"]
            self.first, self.sum, self.step = guard["first"], guard["sum"], guard["step"]
            self.kept = {key: tensors[key].to(value) for key, value in self.kept.items()}
        except (KeyError, TypeError) as error:
            raise UserError(TENSORS_NAME, f"no {error}", "the state of a fine-tune", "Remove the file.") from error

    def _copy(self) -> dict[str, torch.Tensor]:
        return {key: value.detach().clone() for key, value in self.networks.state_dict().items()}
