"""Per-individual tuning, as in the paper: a short fine-tune on a tenth of the training images before scoring.

"distil" matches the images of the side's own original generator, so that no partner is involved and the result can be
kept. "cyclegan" is the paper's objective: LSGAN, cycle and identity terms, with a copy of the discriminator; there the
cycle term involves the partner, so an individual is tuned anew for each one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ganprune.data.images import ImageSet, Split, UnpairedImages
from ganprune.filters.builder import KEPT_NETWORKS, NetworkBuilder
from ganprune.filters.recent import Recent
from ganprune.models.cyclegan import OTHER, CycleGAN
from ganprune.settings.training import TrainingSettings, TuningSettings
from ganprune.training import CycleGANTrainer

SHARE = 0.1  # of the training images, drawn once


# What each objective is made of, where it differs from a training's.
TERMS: dict[str, dict[str, float]] = {
    "distil": {"lam": 0.0, "identity": 0.0, "adversarial": 0.0, "distil": 1.0, "augment": 1.0},
    "cyclegan": {},
}


class TunedBuilder(NetworkBuilder):
    """Builds networks as another builder does, then tunes them.

    Args:
        builder: bits -> untuned network of one side.
        cyclegan: the original; teacher, discriminators and original partner.
        images: the data.
        side: whose networks these are.
        settings: how they are tuned.
        seed: of the choice of images and, with the bits, of their order.
        precision: "float32", or "bfloat16" for mixed precision.
    """

    def __init__(
        self,
        builder: NetworkBuilder,
        cyclegan: CycleGAN,
        images: UnpairedImages,
        side: str,
        settings: TuningSettings,
        *,
        seed: int = 0,
        precision: str = "float32",
    ):
        self.untuned, self.cyclegan, self.side, self.settings = builder, cyclegan, side, settings
        self.seed, self.precision = seed, precision
        self.space, self.needs_partner = builder.space, settings.objective == "cyclegan"
        none = ImageSet([], images.size)
        self.images = {domain: Split(images.tuning(domain, seed, SHARE), none, none) for domain in images.domains}
        self.recent = Recent(KEPT_NETWORKS)
        count = len(self.images[cyclegan[side].source].train)
        self.steps = settings.steps or max(1, math.ceil(settings.passes * count / settings.batch))

    def __getstate__(self) -> dict[str, Any]:
        for split in self.images.values():
            split.train.read_all()  # a worker elsewhere has no such files
        return vars(self)

    def fresh(self, bits: Sequence[int]) -> nn.Module:
        return self.against(bits, self.cyclegan.reverse(self.side))

    def against(self, bits: Sequence[int], partner: nn.Module | None) -> nn.Module:
        """Return the network of ``bits``, tuned with ``partner``, if there is one, as the reverse generator."""
        draw = random.Random(f"{self.seed}:{self.side}:{''.join(map(str, bits))}")
        settings = TrainingSettings(
            steps=self.steps,
            batch=self.settings.batch,
            learning_rate=self.settings.learning_rate,
            precision=self.precision,
            seed=draw.getrandbits(31),
            **TERMS[self.settings.objective],  # type: ignore[arg-type]
        )
        with torch.inference_mode(False), torch.no_grad():
            network = self.untuned.fresh(bits)
        generators = {self.side: network} if partner is None else {self.side: network, OTHER[self.side]: partner}
        with torch.inference_mode(False), torch.enable_grad():
            pair = self.cyclegan.with_generators(generators)
            for _ in CycleGANTrainer(pair, self.images, settings, teacher=self.cyclegan, sides=[self.side]).train():
                pass
        return network

    def forget(self) -> None:
        """Drop the networks that were kept, tuned and untuned."""
        self.recent.clear()
        self.untuned.forget()

    def final(self, bits: Sequence[int]) -> nn.Module:
        """Return the untuned network to fine-tune on all images."""
        return self.untuned.final(bits)


def tuned(
    builders: dict[str, NetworkBuilder],
    cyclegan: CycleGAN,
    images: UnpairedImages,
    settings: TuningSettings,
    *,
    seed: int,
    precision: str,
) -> dict[str, NetworkBuilder]:
    """Return builders that tune, if the settings want that, else the same ones."""
    if not settings.wanted:
        return builders
    precision = "float32" if precision == "auto" else precision
    return {
        name: TunedBuilder(builder, cyclegan, images, name, settings, seed=seed, precision=precision)
        for name, builder in builders.items()
    }
