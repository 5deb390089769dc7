"""One pair of generators against the original pair: size, speed and, on test or validation images, quality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ganprune.cost import profile
from ganprune.data.images import UnpairedImages
from ganprune.data.sizes import Size, read_size
from ganprune.losses import cycle_consistency, discriminator_aware, generator_aware
from ganprune.metrics.measures import Measures
from ganprune.models.architecture import input_channels
from ganprune.models.cyclegan import OTHER, CycleGAN

BATCH = 32


@torch.inference_mode()
def evaluate(
    original: CycleGAN,
    generators: Mapping[str, nn.Module],
    images: UnpairedImages,
    *,
    discriminator_output: str = "map",
    measures: Measures | None = None,
) -> dict[str, dict[str, Any]]:
    """Return every figure of both sides, as ``summary.json`` holds them.

    Args:
        original: the unpruned CycleGAN; its discriminators judge.
        generators: the compact generators by side; each is the other's partner in the cycle term. Where only one side
            is pruned, the original's helper is.
        images: the data; figures against the truth where file names match in both domains.
        discriminator_output: how L_DisA compares; see ``FitnessSettings``.
        measures: on which images, and what beside losses and figures against the truth; None for test images and no
            more.

    Returns:
        Side -> parameters, memory_mb, macs, latency_ms, measured_on (test or validation), features (whose, if
        any), metrics.
    """
    measures = measures or Measures(images)
    originals = {name: side.generator for name, side in original.items()}
    tested = Translations(original, originals, measures), Translations(original, generators, measures)
    table = {}
    for name in original:
        table[name] = {
            **size_figures(originals[name], generators[name], images.size),
            "latency_ms": latency_figures(originals[name], generators[name], images.size),
            "measured_on": measures.role,
            **({"features": measures.features.name} if measures.features else {}),
            "metrics": {
                "original": tested[0].figures(name),
                "compact": tested[1].figures(name, tested[0], discriminator_output),
            },
        }
    return table


def size_figures(original: nn.Module, compact: nn.Module, size: int | Size) -> dict[str, Any]:
    """Return parameters, memory and MACs (both conventions) of one generator before and after."""
    channels = input_channels(original)
    counts = {"original": profile.parameters(original), "compact": profile.parameters(compact)}
    macs = {
        name: profile.macs(profile.weight_counts(network), profile.layer_positions(network, channels, size))
        for name, network in (("original", original), ("compact", compact))
    }
    return {
        "parameters": {**counts, "ratio": counts["original"] / counts["compact"]},
        "memory_mb": {"original": profile.memory_mb(original), "compact": profile.memory_mb(compact)},
        "macs": {
            convention: {
                "original": macs["original"][convention],
                "compact": macs["compact"][convention],
                "ratio": macs["original"][convention] / macs["compact"][convention],
            }
            for convention in profile.CONVENTIONS
        },
    }


def latency_figures(original: nn.Module, compact: nn.Module, size: int | Size) -> dict[str, float]:
    """Return median milliseconds per image of both generators, taking turns, and their ratio."""
    weight = next(original.parameters())
    example = torch.zeros(1, input_channels(original), *read_size(size), device=weight.device, dtype=weight.dtype)
    times = profile.latency_ms({"original": original, "compact": compact}, example)
    return {**times, "speedup": times["original"] / times["compact"]}


class Translations:
    """Images of both domains as one pair of generators translates them, and translates them back.

    Args:
        original: whose discriminators judge.
        generators: by side.
        measures: which images, and what they are measured by.
    """

    def __init__(self, original: CycleGAN, generators: Mapping[str, nn.Module], measures: Measures):
        self.measures = measures
        self.device = device = original.device
        real = {name: measures.images_of(side.source).tensor() for name, side in original.items()}
        fake = {name: run(generators[name], real[name], device) for name in original}
        backward = {name: generators.get(OTHER[name], original.helpers.get(OTHER[name])) for name in original}
        back = {name: run(network, fake[name], device) for name, network in backward.items() if network is not None}
        judges = {name: side.discriminator for name, side in original.items() if side.discriminator is not None}
        self.judged = {name: run(judge, fake[name], device) for name, judge in judges.items()}
        # Compared and shown is what was asked for, not what was mirrored for the networks' sake.
        self.real, self.fake, self.back = (
            {name: measures.images.cut(tensor) for name, tensor in tensors.items()} for tensors in (real, fake, back)
        )

    def figures(self, name: str, reference: Translations | None = None, output: str = "map") -> dict[str, float]:
        """Return with a reference l_disa and l_gena, then l_cyc and what else is measured, as far as they apply."""
        figures = {}
        if reference:
            if name in self.judged:
                figures["l_disa"] = float(discriminator_aware(self.judged[name], reference.judged[name], output))
            figures["l_gena"] = float(generator_aware(self.fake[name], reference.fake[name]))
        if name in self.back:
            figures["l_cyc"] = float(cycle_consistency(self.back[name], self.real[name]))
        return figures | self.measures.figures(name, self.fake[name], self.device)


def run(network: nn.Module, images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Apply a network to (N, C, H, W) images in batches; the result is on the CPU."""
    return torch.cat([network(part.to(device)).cpu() for part in images.split(BATCH)])
