"""From a criterion's scores to the filters that it keeps of one generator at a wanted size, and to a network.

Either the same share of every group is kept (*uniform*), or whatever scores highest over all groups (*global*). Both
are an order of all filters; what fits of it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from ganprune.baselines.registry import BASELINES, Baseline
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
    sizes = {}
    for name, space in ((name, subject.space) for name, subject in subjects.items()):
        full, least = (space.parameter_count(bits) for bits in (space.full(), space.repair.least()))
        if ratio > full / least:
            expected = f"at most {full / least:.6g}, with one filter per group of {name}"
            raise UserError("target ratio", ratio, expected, "Lower --target-ratio.")
        sizes[name] = int(full / ratio)
    return sizes


def prune(subject: Subject, baseline: Baseline, seed: int, most: int) -> tuple[Individual, BaselineBuilder]:
    """Return the filters that a baseline keeps of one generator within ``most`` parameters, and what builds them."""
    ranking = baseline.criterion()(subject, seed)
    bits = allocate(subject.space, order_filters(subject.space, ranking.scores, BASELINES[baseline.method].width), most)
    return Individual(bits), BaselineBuilder(subject, ranking, baseline.weights)


def order_filters(space: FilterSpace, scores: np.ndarray, width: str) -> list[int]:
    """Return all bits' indices, those to be kept first in front.

    Each group's highest score comes before everything else, so that no group is left empty. Ties go by place in the
    group, then by index.

    Args:
        space: the filter space.
        scores: (len(space),), higher is kept sooner.
        width: "uniform": by place in the group relative to its size; "global": by score.
    """
    place, share = np.empty(len(space)), np.empty(len(space))
    for start, end in zip(space.offsets[:-1], space.offsets[1:], strict=True):
        place[start + np.argsort(-scores[start:end], kind="stable")] = np.arange(end - start)
        share[start:end] = (place[start:end] + 0.5) / (end - start)
    first = np.where(place == 0, 0, 1)
    keys = (share, first) if width == "uniform" else (share, -scores, first)
    return [int(index) for index in np.lexsort(keys)]


def allocate(space: FilterSpace, order: Sequence[int], most: int) -> list[int]:
    """Return the bits that keep as much of ``order`` as ``most`` parameters allow.

    Each filter is kept that still fits beside those before it, so that no single filter more would fit. Every group
    keeps a prefix of its own part of the order.

    Args:
        space: the filter space.
        order: of all bits, one filter of each group first; see :func:`order_filters`.
        most: parameters of the compact network, biases and norms included.

    Raises:
        UserError: not even one filter per group fits.
    """
    first = set(order[: len(space.groups)])
    bits = [int(index in first) for index in range(len(space))]
    least = space.parameter_count(bits)
    if least > most:
        raise UserError("parameters", most, f"{least} or more, with one filter per group", "Allow more.")
    group_of = np.repeat(np.arange(len(space.groups)), space.group_sizes)
    full: set[int] = set()  # all filters of a group cost the same, so one that does not fit speaks for the rest
    for index in order[len(first) :]:
        if group_of[index] not in full:
            bits[index] = 1
            if space.parameter_count(bits) > most:
                bits[index] = 0
                full.add(group_of[index])
    return bits
