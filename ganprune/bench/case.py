"""What is timed: a pair of generators, individuals of one side at a MAC share, and their partner."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from ganprune.cost.network_cost import Budget, NetworkCost
from ganprune.data.images import UnpairedImages
from ganprune.evolution.operators.initialization import initDensity
from ganprune.filters.builder import make_builders
from ganprune.fitness import CycleFitness
from ganprune.models.checkpoint import save_cyclegan
from ganprune.models.cyclegan import CycleGAN

SIDE, PARTNER = "A2B", "B2A"
MAC_SHARE = 0.25


@dataclass(frozen=True)
class Subject:
    """One pair of generators with the individuals that are timed on it."""

    cyclegan: CycleGAN
    folder: Path
    images: UnpairedImages
    fitness: dict[str, CycleFitness]
    individuals: list[list[int]]
    partner: list[int]


def make_subject(cyclegan: CycleGAN, folder: Path, images: UnpairedImages, *, scored: int, individuals: int) -> Subject:
    """Trace, take moments, and draw individuals at the MAC share.

    Args:
        cyclegan: the original.
        folder: where the published procedure finds its files; written here.
        images: the data.
        scored: validation images per evaluation.
        individuals: how many are drawn.
    """
    save_cyclegan(cyclegan, folder)
    builders = make_builders(cyclegan, images)
    spaces = {}
    for name, builder in builders.items():
        cost = NetworkCost.of(cyclegan[name].generator, builder.space, images.size)
        most = MAC_SHARE * cost.macs(builder.space.full())
        spaces[name] = builder.space.with_repair(fits=Budget(cost, {"macs": most}))
    fitness = {
        name: CycleFitness(cyclegan, images, name, builders=builders, spaces=spaces, validation_images=scored)
        for name in cyclegan
    }
    random.seed(0)
    order = (PARTNER, *[SIDE] * individuals)
    drawn = [spaces[side].cut(initDensity(spaces[side].group_sizes, 0.8, 0.9)) for side in order]
    return Subject(cyclegan, folder, images, fitness, drawn[1:], drawn[0])
