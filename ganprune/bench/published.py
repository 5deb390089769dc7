"""The procedure that the paper's authors published, written as a reference to time against.

Full-size masked networks, read anew for each individual, image after image, every forward pass repeated, PyTorch's own
instance norm.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import nn

from ganprune.bench.case import PARTNER, SIDE, Subject
from ganprune.filters.builder import NetworkBuilder, mask
from ganprune.losses import cycle_consistency, discriminator_aware
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.generator import ImageConv2d, InstanceNorm2d, ReflectionPad2d
from ganprune.settings.training import TuningSettings
from ganprune.training.tuning import TunedBuilder

FASTER: dict[type[nn.Module], type[nn.Module]] = {
    InstanceNorm2d: nn.InstanceNorm2d, ReflectionPad2d: nn.ReflectionPad2d, ImageConv2d: nn.Conv2d,
}  # fmt: skip


@torch.no_grad()
def published_evaluation(subject: Subject, bits: Sequence[int]) -> float:
    """Score one individual as the published code does, without its tuning.

    All networks are read from their files; masked generators stay at full size; for every single image run the
    original, the masked and the partner's generator and, for both images, the discriminator.

    Returns:
        The fitness of Eq. 11.
    """
    loaded = load_cyclegan(subject.folder)
    for network in loaded.networks().values():
        use_pytorchs_layers(network)
    side = loaded[SIDE]
    spaces = {name: subject.fitness[name].space for name in loaded}
    masked = mask(side.generator, spaces[SIDE], bits)
    reverse = mask(loaded[PARTNER].generator, spaces[PARTNER], subject.partner)
    disa = cycle = 0.0
    assert side.discriminator is not None
    real = subject.fitness[SIDE].real
    for image in real.split(1):
        original, fake = side.generator(image), masked(image)
        disa += float(discriminator_aware(side.discriminator(fake), side.discriminator(original)))
        cycle += float(cycle_consistency(reverse(fake), image))
    size = subject.fitness[SIDE].space.size_share(bits)
    return 1.0 / (size + 10.0 * (disa + 10.0 * cycle) / len(real))


def use_pytorchs_layers(network: torch.nn.Module) -> torch.nn.Module:
    """Let a network compute as the published code does, without our faster forms of the same functions."""
    for module in network.modules():
        for ours, theirs in FASTER.items():
            if type(module) is ours:
                module.__class__ = theirs
    return network


def published_tuning_seconds(subject: Subject, bits: Sequence[int], steps: int) -> float:
    """Return the seconds of tuning one masked individual as the paper says, extrapolated from a few steps.

    CycleGAN's objective at batch 1, one pass over a tenth of the training images.
    """
    settings = TuningSettings(steps=steps, objective="cyclegan", batch=1)
    builder = MaskedBuilder(subject.cyclegan[SIDE].generator, subject.fitness[SIDE].space)
    tuned = TunedBuilder(builder, subject.cyclegan, subject.images, SIDE, settings)
    one_pass = len(tuned.images[subject.cyclegan[SIDE].source].train)
    start = time.perf_counter()
    tuned.fresh(bits)
    return (time.perf_counter() - start) / steps * one_pass


class MaskedBuilder(NetworkBuilder):
    """Full-size masked networks, as the published code trains them."""

    def fresh(self, bits: Sequence[int]) -> torch.nn.Module:
        return use_pytorchs_layers(mask(self.generator, self.space, bits))
