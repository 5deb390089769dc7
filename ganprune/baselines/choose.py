"""From a criterion's scores to the filters that it keeps of one generator at a wanted size, and to a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ganprune.baselines.allocation import allocate, order_filters
from ganprune.baselines.registry import Baseline
from ganprune.baselines.subject import Ranking, Subject
from ganprune.data.images import UnpairedImages
from ganprune.errors import UserError
from ganprune.evolution.individual import Individual
from ganprune.filters.builder import NetworkBuilder
from ganprune.filters.layers import layer_at
from ganprune.filters.space import FilterSpace
from ganprune.models.cyclegan import CycleGAN


class BaselineBuilder(NetworkBuilder):
    """Builds compact networks of one generator as a baseline would.

    Args:
        subject: the generator.
        ranking: of its filters, by the method.
        weights: "own", what the method leaves; "sliced", the original's; or "reconstructed".
    """

    def __init__(self, subject: Subject, ranking: Ranking, weights: str):
        super().__init__(subject.generator, subject.space)
        self.reconstruction = subject.reconstruction if weights == "reconstructed" else None
        self._rescaled = ranking.rescaled if weights == "own" else None

    def fresh(self, bits: Sequence[int]) -> nn.Module:
        network = super().fresh(bits)
        for name, factors in (self._rescaled(bits) if self._rescaled else {}).items():
            layer = layer_at(network, name)
            shape = (-1, 1, 1, 1) if isinstance(layer, nn.ConvTranspose2d) else (1, -1, 1, 1)
            layer.weight.data.mul_(torch.as_tensor(factors).to(layer.weight).view(shape))
        return network


@dataclass(frozen=True)
class Pruned:
    """One side's filters as a baseline chooses them, and what makes networks of them."""

    bits: Individual
    builder: BaselineBuilder


def make_subjects(
    cyclegan: CycleGAN, images: UnpairedImages, *, encoding: str, calibration_images: int
) -> dict[str, Subject]:
    """Trace both generators; nothing is measured before a criterion asks for it."""
    subjects = {}
    for name, side in cyclegan.items():
        space = FilterSpace(side.generator, encoding=encoding, size=images.size)
        calibration = images.calibration(side.source, calibration_images).to(cyclegan.device)
        subjects[name] = Subject(name, side.generator, space, calibration, images[side.source].train)
    return subjects


def sizes_by_ratio(subjects: Mapping[str, Subject], ratio: float) -> dict[str, int]:
    """Return how many parameters each side may keep for ``ratio`` times fewer than it has.

    Raises:
        UserError: one filter per group takes more.
    """
    for name, subject in subjects.items():
        space = subject.space
        most = space.parameter_count(space.full()) / space.parameter_count(space.repair.least())
        if ratio > most:
            expected = f"at most {most:.6g}, with one filter per group of {name}"
            raise UserError("target ratio", ratio, expected, "Lower --target-ratio.")
    return {name: int(s.space.parameter_count(s.space.full()) / ratio) for name, s in subjects.items()}


def prune(subject: Subject, baseline: Baseline, seed: int, most: int) -> Pruned:
    """Return the filters that a baseline keeps of one generator within ``most`` parameters."""
    ranking = baseline.criterion()(subject, seed)
    bits = allocate(subject.space, order_filters(subject.space, ranking.scores, baseline.width), most)
    return Pruned(Individual(bits), BaselineBuilder(subject, ranking, baseline.weights))
