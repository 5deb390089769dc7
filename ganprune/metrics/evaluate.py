"""One pair of generators against the original pair: size, speed and, on test or validation images, quality."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ganprune.cost import profile
from ganprune.data.images import UnpairedImages
from ganprune.data.sizes import Size, read_size
from ganprune.device import images_at_once
from ganprune.metrics.measures import Measures
from ganprune.metrics.rows import compute_figures
from ganprune.models.architecture import input_channels
from ganprune.models.cyclegan import OTHER, CycleGAN
from ganprune.models.scores import judged


@torch.inference_mode()
def evaluate(
    original: CycleGAN,
    generators: Mapping[str, nn.Module],
    images: UnpairedImages,
    *,
    discriminator_output: str = "map",
    measures: Measures | None = None,
    timed: bool = True,
) -> dict[str, dict[str, Any]]:
    """Return every figure of both sides, as ``summary.json`` holds them.

    Args:
        original: the unpruned CycleGAN, whose discriminators are asked.
        generators: the compact generators by side; each is the other's partner in the cycle term. Where only one side
            is pruned, the original's helper is.
        images: the data; figures against the truth where file names match in both domains.
        discriminator_output: how L_DisA compares; see ``FitnessSettings``.
        measures: on which images, and what beside losses and figures against the truth; None for test images and no
            more.
        timed: whether latencies are measured; there is no ``latency_ms`` otherwise.

    Returns:
        Side -> parameters, memory_mb, macs, latency_ms, measured_on (test or validation), features (whose, if
        any), metrics.
    """
    measures = measures or Measures(images)
    originals = {name: side.generator for name, side in original.items()}
    before, after = (translations(original, networks, measures) for networks in (originals, generators))
    table = {}
    for name in original:
        table[name] = {
            **size_figures(originals[name], generators[name], images.size),
            **({"latency_ms": latency_figures(originals[name], generators[name], images.size)} if timed else {}),
            "measured_on": measures.role,
            **({"features": measures.features.name} if measures.features else {}),
            "metrics": {
                "original": compute_figures(before[name]),
                "compact": compute_figures(against(after[name], before[name], discriminator_output)),
            },
        }
    return table


def size_figures(original: nn.Module, compact: nn.Module, size: int | Size) -> dict[str, Any]:
    """Return parameters, memory and MACs (both conventions) of one generator before and after."""
    channels, networks = input_channels(original), (original, compact)
    macs = [profile.macs(profile.weight_counts(n), profile.layer_positions(n, channels, size)) for n in networks]

    def compared(before: float, after: float) -> dict[str, float]:
        return {"original": before, "compact": after, "ratio": before / after}

    return {
        "parameters": compared(*map(profile.parameters, networks)),
        "memory_mb": {"original": profile.memory_mb(original), "compact": profile.memory_mb(compact)},
        "macs": {kind: compared(*(each[kind] for each in macs)) for kind in profile.CONVENTIONS},
    }


def latency_figures(original: nn.Module, compact: nn.Module, size: int | Size) -> dict[str, float]:
    """Return median milliseconds per image of both generators, taking turns, and their ratio."""
    weight = next(original.parameters())
    example = torch.zeros(1, input_channels(original), *read_size(size), device=weight.device, dtype=weight.dtype)
    times = profile.latency_ms({"original": original, "compact": compact}, example)
    return {**times, "speedup": times["original"] / times["compact"]}


def translations(
    original: CycleGAN, generators: Mapping[str, nn.Module], measures: Measures
) -> dict[str, dict[str, Any]]:
    """Return, by side, what is known of the images as one pair of generators translates them; see :mod:`.rows`.

    Args:
        original: whose discriminators are asked, and whose helpers translate back where no generator does.
        generators: by side.
        measures: on which images, and what they are measured by.
    """
    device = original.device
    known: dict[str, dict[str, Any]] = {}
    for name, side in original.items():
        real = measures.images_of(side.source).tensor()
        fake = run(generators[name], real, device)
        images = {"real": real, "fake": fake}
        if (reverse := generators.get(OTHER[name], original.helpers.get(OTHER[name]))) is not None:
            images["recovered"] = run(reverse, fake, device)
        # Compared and shown is what was asked for, not what was mirrored for the networks' sake.
        known[name] = {key: measures.images.cut(tensor) for key, tensor in images.items()}
        if side.discriminator is not None:
            known[name]["answers"] = run(functools.partial(judged, side.discriminator), fake, device)
        known[name] |= measures.known(name, known[name]["fake"], device)
    return known


def against(known: Mapping[str, Any], original: Mapping[str, Any], output: str = "map") -> dict[str, Any]:
    """Return what is known of a side's translation, with the original generator's translation of the same images."""
    known = {**known, "fake_original": original["fake"], "answers_original": original.get("answers"), "output": output}
    return known if "truth" in known else {**known, "aim": original["fake"]}


def run(network: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Apply a network to (N, C, H, W) images in batches; the result is on the CPU."""
    parts = images.split(images_at_once((images.shape[2], images.shape[3]), device))
    return torch.cat([network(part.to(device)).cpu() for part in parts])
