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
from ganprune.models.checkpoint import CycleGAN
from ganprune.models.weights import weights_digest
from ganprune.runs.interruption import Interruption
from ganprune.settings.training import TAUGHT, TrainingSettings
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
        keep: folder in which the training's state is kept, every ``save_seconds`` and when it is interrupted. What is
            there of the same training goes on; :func:`drop_state` removes it when it is needed no longer.
        save_seconds: see ``keep``.

    Returns:
        ``diverged_at`` and ``weights_of``, two step numbers, if it diverged: at the first it was given up, and the
        weights are those of the second. Empty if all was well.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; with ``keep`` the last step is saved.
    """
    teacher = cyclegan if any(getattr(settings, term) for term in TAUGHT) else None
    origin = weights_digest(compact)
    trainer = CycleGANTrainer(cyclegan.with_generators(compact), images.whole_training(), settings, teacher=teacher)
    guard = Guard(compact, settings)
    if keep is not None and _is_of(keep / TENSORS_NAME, origin, settings):
        guard.load(*trainer.load(keep))
    saved = time.monotonic()
    with Interruption() as interruption:
        for losses in trainer.train():
            if not guard.good(trainer.step, losses):
                break
            if report:
                report(trainer.step, settings.total, losses)
            due = interruption.requested is not None or time.monotonic() - saved >= save_seconds
            if keep is not None and due:
                trainer.save(keep, facts={"origin": origin, **guard.facts()}, tensors=guard.tensors())
                saved = time.monotonic()
            interruption.check()
    trainer.finish()
    return guard.outcome(trainer.step)


def drop_state(folder: Path) -> None:
    """Remove a training's state from a folder."""
    (folder / TENSORS_NAME).unlink(missing_ok=True)


def _is_of(path: Path, origin: str, settings: TrainingSettings) -> bool:
    """Whether a state is of the same training: a run that was given more generations may have other elites."""
    if not path.exists():
        return False
    saved = read_metadata(path)
    return saved.get("origin") == origin and saved.get("settings") == settings.to_json()


class Guard:
    """Watches a fine-tune and keeps its last good weights.

    It diverges when a loss or a weight is not finite, or when the terms that compare with what is wanted (the teacher's
    images and features, cycle, identity) are, over a window of steps, :data:`WORSE` times what they were at first. GAN
    terms go up and down anyhow.

    Args:
        networks: the compact generators.
        settings: weights of the terms, and how many steps there are.
    """

    def __init__(self, networks: Mapping[str, nn.Module], settings: TrainingSettings):
        self.networks = networks
        self.weights = {
            **{term: getattr(settings, term) for term in TAUGHT},
            "cycle": settings.lam,
            "identity": settings.lam * settings.identity,
        }
        self.window, self.total = max(LEAST_WINDOW, settings.total // WINDOWS), settings.total
        self.first: float | None = None
        self.sum, self.step, self.diverged = 0.0, 0, False
        self.kept = self._copy()

    def good(self, step: int, losses: Mapping[str, float]) -> bool:
        """Take note of a step's losses; return False, with the last good weights back in place, if it diverged."""
        self.sum += sum(self.weights.get(name.rpartition("_")[0], 0.0) * value for name, value in losses.items())
        if not all(map(math.isfinite, losses.values())) or (step == self.total and not self._finite()):
            return self._go_back()
        if step % self.window:
            return True
        mean, self.sum = self.sum / self.window, 0.0
        if self.first is None:
            self.first = mean
        if mean > WORSE * self.first or not self._finite():
            return self._go_back()
        self.kept, self.step = self._copy(), step
        return True

    def outcome(self, step: int) -> dict[str, int]:
        """Return what to say of a training that ended at a step."""
        return {"diverged_at": step, "weights_of": self.step} if self.diverged else {}

    def facts(self) -> dict[str, Any]:
        """Return the numbers to save."""
        return {"guard": {"first": self.first, "sum": self.sum, "step": self.step}}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors to save."""
        return {f"{name}.{key}": value for name, state in self.kept.items() for key, value in state.items()}

    def load(self, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Continue from what was saved.

        Raises:
            UserError: it is damaged.
        """
        try:
            guard = facts["guard"]
            self.first, self.sum, self.step = guard["first"], guard["sum"], guard["step"]
            self.kept = {
                name: {key: tensors[f"{name}.{key}"].to(value) for key, value in state.items()}
                for name, state in self.kept.items()
            }
        except (KeyError, TypeError) as error:
            raise UserError(TENSORS_NAME, f"no {error}", "the state of a fine-tune", "Remove the file.") from error

    def _copy(self) -> dict[str, dict[str, torch.Tensor]]:
        return {
            name: {key: value.detach().clone() for key, value in network.state_dict().items()}
            for name, network in self.networks.items()
        }

    def _finite(self) -> bool:
        return all(bool(value.isfinite().all()) for n in self.networks.values() for value in n.state_dict().values())

    def _go_back(self) -> bool:
        for name, network in self.networks.items():
            network.load_state_dict(self.kept[name])
        self.diverged = True
        return False
