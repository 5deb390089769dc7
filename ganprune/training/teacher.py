"""What is asked of the original during a fine-tune, computed once for images that come round again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ganprune.data.images import ImageSet
from ganprune.device import images_at_once
from ganprune.models.cyclegan import Side
from ganprune.models.scores import judged
from ganprune.settings.training import TrainingSettings
from ganprune.training.augmentation import Batch
from ganprune.training.distillation import seen_by, tapped

CHUNK = 16  # images, at most, that are asked for together: always the same, lest a digit depend on which came first
MOST_BYTES = 2**30  # of the answers that are kept


@dataclass(frozen=True)
class Lesson:
    """What the original makes of one step's images.

    Attributes:
        images: its images, (B, C, H, W).
        said: its discriminator's scores of them; None where nothing is compared with that.
        seen: what its discriminator sees in them, layer by layer; empty where nothing is compared with that.
        features: inside the generator, layer by layer.
    """

    images: torch.Tensor
    said: torch.Tensor | None
    seen: list[torch.Tensor]
    features: list[torch.Tensor]


class Teacher:
    """One side of the original, asked about training images.

    Answers are kept if a training is long enough for every image to come up, mirrored and not, and if they fit into
    :data:`MOST_BYTES`. Features and what the discriminator sees are too large for that, and asked for each time.

    Args:
        side: the original's.
        images: the training images of its source.
        settings: says what is compared and how many images a training takes.
        paths: of the layers inside the generator whose features are compared.
    """

    def __init__(self, side: Side, images: ImageSet, settings: TrainingSettings, paths: Sequence[str]):
        self.side, self.images, self.paths = side, images, paths
        there = side.discriminator is not None
        self.compares_sight = there and settings.feature_matching > 0
        self.compares_words = there and settings.disa > 0
        entries = 2 * len(images)  # each may be mirrored
        size = images[0].numel() * torch.float32.itemsize if len(images) else 0
        self.keeps = not paths and entries <= settings.total * settings.batch and entries * size <= MOST_BYTES
        self.chunk = min(CHUNK, images_at_once(images.frame, next(side.generator.parameters()).device))
        self.kept: dict[tuple[int, bool], tuple[torch.Tensor, torch.Tensor | None]] = {}

    @property
    def compares(self) -> bool:
        """Whether its discriminator is asked about images."""
        return self.compares_words or self.compares_sight

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Lesson:
        """Return what the original makes of a batch, on the batch's device."""
        features: list[torch.Tensor] = []
        if self.keeps and batch.keys is not None:
            images, said = self._recall(batch.keys, batch.images.device)
        else:
            images, features = tapped(self.side.generator, self.paths, batch.images)
            images = images.float()
            said = None if self.compares_sight else self._judge(images)
        if not self.compares_sight or self.side.discriminator is None:
            return Lesson(images, said, [], features)
        said, seen = seen_by(self.side.discriminator, images)
        return Lesson(images, said.float(), seen, features)

    def _judge(self, images: torch.Tensor) -> torch.Tensor | None:
        discriminator = self.side.discriminator
        return judged(discriminator, images).float() if self.compares_words and discriminator is not None else None

    def _recall(
        self, keys: Sequence[tuple[int, bool]], device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        for key in keys:
            if key not in self.kept:
                self._learn(key[0] // self.chunk * self.chunk, mirrored=key[1], device=device)
        images, said = zip(*(self.kept[key] for key in keys), strict=True)
        return torch.stack(images), torch.stack(said) if self.compares_words else None

    def _learn(self, first: int, *, mirrored: bool, device: torch.device) -> None:
        """Ask about the images of one chunk."""
        indices = range(first, min(first + self.chunk, len(self.images)))
        real = self.images.tensor(indices).to(device)
        images = self.side.generator(real.flip(-1) if mirrored else real).float()
        said = self._judge(images)
        for place, index in enumerate(indices):
            self.kept[index, mirrored] = images[place], None if said is None else said[place]
