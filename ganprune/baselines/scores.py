"""Criteria that score every filter by itself: its weights, its activations, or nothing at all."""

from __future__ import annotations

import random

import numpy as np
import torch

from ganprune.baselines.subject import Ranking, Subject
from ganprune.filters.layers import Layer, hooks, layer_at
from ganprune.filters.space import combine, norms

BATCH = 8


def l1(subject: Subject, seed: int = 0) -> Ranking:
    """Rank filters by the L1 norm of their weights (Li et al., *Pruning filters for efficient ConvNets*, ICLR 2017).

    Norms are relative to the mean of their layer, so that layers can be compared and coupled ones averaged.

    Args:
        subject: the generator.
        seed: not used; nothing is drawn.
    """
    return Ranking(norms(subject.space, subject.generator))


def chance(subject: Subject, seed: int = 0) -> Ranking:
    """Rank filters at random, as a control.

    Args:
        subject: the generator; each side draws its own numbers.
        seed: of the draw.
    """
    draw = random.Random(f"{seed}:{subject.side}")
    return Ranking(np.array([draw.random() for _ in range(len(subject.space))]))


@torch.no_grad()
def trimming(subject: Subject, seed: int = 0) -> Ranking:
    """Rank filters by how seldom they are zero: network trimming (Hu et al., arXiv:1607.03250, 2016).

    Their APoZ, the average percentage of zeros after the activation, is measured in what the next layers read, and
    averaged where several read a filter.

    Args:
        subject: the generator.
        seed: not used; nothing is drawn.
    """
    channels = subject.space.channels(produces=False)
    zeros: dict[str, torch.Tensor] = {}
    counts = dict.fromkeys(channels, 0)

    def count(name: str, layer: Layer, inputs: tuple[torch.Tensor, ...]) -> None:
        zeros[name] = zeros.get(name, 0) + (inputs[0] == 0).sum((0, 2, 3))  # of (B, C_in, H, W)
        counts[name] += inputs[0][:, 0].numel()

    with hooks({name: layer_at(subject.generator, name) for name in channels}, count):
        for part in subject.calibration.split(BATCH):
            subject.generator(part)
    shares = {(name, channels[name]): (total / counts[name]).cpu().numpy() for name, total in zeros.items()}
    return Ranking(1.0 - combine(subject.space, shares))
