"""One side of a training step: the terms of its generator's objective, its discriminator's loss, and their gradients.

A side only reads what the other side changes, and only at the end of a step, so both are computed at the same time.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ganprune.losses import adversarial
from ganprune.models.cyclegan import Side
from ganprune.models.scores import judged
from ganprune.settings.training import TrainingSettings
from ganprune.training.augmentation import Batch, ImagePool
from ganprune.training.taught import Taught
from ganprune.training.views import Inside


@dataclass(frozen=True)
class Update:
    """What one side adds to the step of one optimiser.

    Attributes:
        losses: means over elements, unweighted, by name.
        gradients: of each of the optimiser's parameters; None where the side has none.
    """

    losses: dict[str, torch.Tensor] = field(default_factory=dict)
    gradients: Sequence[torch.Tensor | None] = ()


@dataclass(frozen=True)
class TrainedSide:
    """A side with everything that its objective is made of.

    Attributes:
        side: the generator that is trained.
        settings: weights of the terms.
        pool: the generator's earlier images.
        reverse: the reverse generator, where the cycle counts.
        adversary: the discriminator that is trained against the generator, if there is one.
        taught: the terms that compare with the original.
    """

    side: Side
    settings: TrainingSettings
    pool: ImagePool
    reverse: nn.Module | None = None
    adversary: nn.Module | None = None
    taught: Taught | None = None

    @property
    def learns(self) -> bool:
        """Whether any term of the objective applies."""
        taught = self.taught is not None and self.taught.distances
        identity = self.settings.identity * self.settings.lam
        return bool(taught or self.adversary is not None or identity or self.reverse is not None)

    def updates(
        self, real: Mapping[str, Batch], parameters: Mapping[str, Sequence[nn.Parameter]], step: int
    ) -> dict[str, Update]:
        """Return what this side adds to both optimisers' steps; the networks stay as they are, running moments move on.

        Args:
            real: a batch of each domain.
            parameters: of each optimiser, "generator" and "discriminator".
            step: decides which earlier images the discriminator is shown, and the noise of the cycle.
        """
        updates = {}
        updates["generator"], fake = self.generator_update(real, parameters["generator"], step)
        if self.adversary is not None:
            draw = random.Random(f"{self.settings.seed}:{self.side.name}:{step}")
            older = self.pool.query(fake, draw)
            updates["discriminator"] = self.discriminator_update(
                real[self.side.target].images, older, parameters["discriminator"]
            )
        return updates

    def generator_update(
        self, real: Mapping[str, Batch], parameters: Sequence[nn.Parameter], step: int
    ) -> tuple[Update, torch.Tensor]:
        """Return the generator's losses and gradients, and its images, (B, C, H, W)."""
        terms, fake = self._terms(real, step)
        weights = self.settings.weights
        objective = sum((weights[term] * value for term, value in terms.items()), torch.zeros((), device=fake.device))
        return self._update(objective, terms, parameters), fake.detach()

    def discriminator_update(
        self, real: torch.Tensor, fake: torch.Tensor, parameters: Sequence[nn.Parameter]
    ) -> Update:
        """Return the discriminator's loss and gradients for real images and generated ones, (B, C, H, W) each."""
        assert self.adversary is not None
        with self._autocast():
            output = judged(self.adversary, torch.cat([real, fake])).float()
        loss = 0.5 * (adversarial(output[: len(real)], True) + adversarial(output[len(real) :], False))
        return self._update(loss, {"discriminator": loss}, parameters)

    def _update(
        self, objective: torch.Tensor, terms: Mapping[str, torch.Tensor], parameters: Sequence[nn.Parameter]
    ) -> Update:
        losses = {f"{term}_{self.side.name}": value.detach() for term, value in terms.items()}
        return Update(losses, torch.autograd.grad(objective, parameters, allow_unused=True))

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        # No weight is used twice inside, and the cache of cast weights belongs to all threads.
        enabled = self.settings.precision == "bfloat16"
        device = next(self.side.generator.parameters()).device
        return torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)

    def _noisy(self, fake: torch.Tensor, step: int) -> torch.Tensor:
        """Return the images as the reverse generator gets them; drawn on the CPU, so the same on every device."""
        if not self.settings.cycle_noise:
            return fake
        draw = random.Random(f"{self.settings.seed}:{self.side.name}:{step}:noise").getrandbits(62)
        noise = torch.randn(fake.shape, generator=torch.Generator().manual_seed(draw))
        return fake + noise.to(fake) * (self.settings.cycle_noise / 127.5)

    def _terms(self, real: Mapping[str, Batch], step: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return the terms of the objective, unweighted, and the generator's images."""
        source, settings = real[self.side.source].images, self.settings
        terms: dict[str, torch.Tensor] = {}
        with self._autocast():
            inputs = torch.cat([source, real[self.side.target].images]) if settings.identity else source
            inside = Inside() if self.taught is None else self.taught.teacher.inside
            outputs, views = inside.run(self.side.generator, inputs, original=False)  # one pass for both
            outputs = outputs.float()
            fake = outputs[: len(source)]
            if self.adversary is not None:
                terms["adversarial"] = adversarial(judged(self.adversary, fake).float(), True)
            if self.reverse is not None:
                terms["cycle"] = F.l1_loss(self.reverse(self._noisy(fake, step)).float(), source)
            if settings.identity:
                terms["identity"] = F.l1_loss(outputs[len(source) :], real[self.side.target].images)
            if self.taught is not None:
                own = {view: [tensor[: len(source)] for tensor in tensors] for view, tensors in views.items()}
                terms |= self.taught(real[self.side.source], fake, own)
        return terms, fake
