"""One pair of generators against the original pair: size, speed and, on test images, quality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ganprune import profile
from ganprune.data import UnpairedImages
from ganprune.losses import cycle_consistency, discriminator_aware, generator_aware
from ganprune.metrics.paired import paired_l1, psnr
from ganprune.models.checkpoint import OTHER, CycleGAN
from ganprune.models.fitting import image_channels
from ganprune.sizes import Size, read_size

BATCH = 32


@torch.inference_mode()
def evaluate(
    original: CycleGAN,
    generators: Mapping[str, nn.Module],
    images: UnpairedImages,
    *,
    discriminator_output: str = "map",
) -> dict[str, dict[str, Any]]:
    """Return every figure of both sides, as ``summary.json`` holds them.

    Args:
        original: the unpruned CycleGAN; its discriminators judge.
        generators: the compact generators by side; each is the other's partner in the cycle term.
        images: test images give the quality figures; paired ones where file names match in both test folders.
        discriminator_output: how L_DisA compares; see ``FitnessSettings``.

    Returns:
        Side -> parameters, memory_mb, macs, latency_ms, metrics.
    """
    originals = {name: side.generator for name, side in original.items()}
    tested = Translations(original, originals, images), Translations(original, generators, images)
    table = {}
    for name in original:
        table[name] = {
            **size_figures(originals[name], generators[name], images.size),
            "latency_ms": latency_figures(originals[name], generators[name], images.size),
            "metrics": {
                "original": tested[0].figures(name),
                "compact": tested[1].figures(name, tested[0], discriminator_output),
            },
        }
    return table


def size_figures(original: nn.Module, compact: nn.Module, size: int | Size) -> dict[str, Any]:
    """Return parameters, memory and MACs (both conventions) of one generator before and after."""
    channels = image_channels(original)
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
    example = torch.zeros(1, image_channels(original), *read_size(size), device=weight.device, dtype=weight.dtype)
    times = profile.latency_ms({"original": original, "compact": compact}, example)
    return {**times, "speedup": times["original"] / times["compact"]}


class Translations:
    """The test images of both domains as one pair of generators translates them, and translates them back.

    Args:
        original: whose discriminators judge.
        generators: by side.
        images: the data.
    """

    def __init__(self, original: CycleGAN, generators: Mapping[str, nn.Module], images: UnpairedImages):
        self.images = images
        device = next(original["A2B"].generator.parameters()).device
        real = {name: images[side.source].test.tensor() for name, side in original.items()}
        fake = {name: run(generators[name], real[name], device) for name in original}
        back = {name: run(generators[OTHER[name]], fake[name], device) for name in original}
        self.judged = {name: run(side.discriminator, fake[name], device) for name, side in original.items()}
        # Compared and shown is what was asked for, not what was mirrored for the networks' sake.
        self.real, self.fake, self.back = (
            {name: images.cut(tensor) for name, tensor in tensors.items()} for tensors in (real, fake, back)
        )
        self.targets = {name: side.target for name, side in original.items()}

    def figures(self, name: str, reference: Translations | None = None, output: str = "map") -> dict[str, float]:
        """Return l_cyc, with a reference l_disa and l_gena, and with truth paired_l1 and psnr."""
        figures = {}
        if reference:
            figures["l_disa"] = float(discriminator_aware(self.judged[name], reference.judged[name], output))
            figures["l_gena"] = float(generator_aware(self.fake[name], reference.fake[name]))
        figures["l_cyc"] = float(cycle_consistency(self.back[name], self.real[name]))
        truth = self.truth(name)
        if truth:
            sources, drawings = truth
            figures["paired_l1"] = paired_l1(self.fake[name][sources], drawings)
            figures["psnr"] = psnr(self.fake[name][sources], drawings)
        return figures

    def truth(self, name: str) -> tuple[list[int], torch.Tensor] | None:
        """Return the indices of test images whose truth is known, and their true drawings; None if there are none."""
        pairs = self.images.paired_test
        if not pairs:
            return None
        pairs = pairs if name == "A2B" else [(b, a) for a, b in pairs]
        target = self.images[self.targets[name]].test
        return [source for source, _ in pairs], self.images.cut(target.tensor([drawing for _, drawing in pairs]))


def run(network: nn.Module, images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Apply a network to (N, C, H, W) images in batches; the result is on the CPU."""
    return torch.cat([network(part.to(device)).cpu() for part in images.split(BATCH)])
