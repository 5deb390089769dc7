"""Test images translated by the original and by compact generators, and every figure of each single image."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ganprune.data.images import UnpairedImages
from ganprune.metrics.evaluate import against, translations
from ganprune.metrics.measures import Measures
from ganprune.metrics.rows import compute_figures
from ganprune.models.cyclegan import SOURCE, CycleGAN
from ganprune.report.page.contents import Case, Gallery
from ganprune.report.page.pictures import chosen, data_uri, levels_apart

PIXELS = 200 * 64 * 64  # of a domain's test images that are translated at most: all of the shipped ones
LEAST = 12  # images that are translated, however large
ALL_AT_ONCE = ("real", "fake", "recovered", "answers", "fake_original", "answers_original")
PAIRED = ("paired", "truth", "true_ink")

Figures = dict[str, list[float]]  # name of a figure -> its value on each image


@dataclass(frozen=True)
class Measured:
    """One direction's test images.

    Attributes:
        names: of the files.
        total: test images that there are; those measured may be fewer.
        known: of the original generator, then of each compact one, what it makes of them; see
            :mod:`ganprune.metrics.rows`.
        figures: of the same, per image.
        paired: whether the truth is known of all of them.
    """

    names: Sequence[str]
    total: int
    known: Sequence[Mapping[str, Any]]
    figures: Sequence[Figures]
    paired: bool


def few(images: UnpairedImages, *, pixels: int = PIXELS) -> UnpairedImages:
    """Return images of which only some test images are left: those with a truth, spread evenly, if any has one.

    Args:
        images: the data.
        pixels: of each domain, at most; but :data:`LEAST` images.
    """
    most = max(LEAST, pixels // (images.frame[0] * images.frame[1]))
    fewer = copy.copy(images)
    pairs = list({second: (first, second) for first, second in images.pairs("test")}.values())
    places = dict(zip("AB", zip(*_spread(pairs, most), strict=True), strict=True)) if pairs else {}
    fewer.domains = {}
    for domain, split in images.domains.items():
        indices = places.get(domain, _spread(range(len(split.test)), most))
        test = split.test.with_paths([split.test.paths[index] for index in indices])
        fewer.domains[domain] = replace(split, test=test)
    return fewer


def _spread(values: Sequence[Any], most: int) -> list[Any]:
    count = min(most, len(values))
    return [values[number * len(values) // count] for number in range(count)]


@torch.inference_mode()
def measure(
    original: CycleGAN,
    compact: Sequence[Mapping[str, nn.Module]],
    images: UnpairedImages,
    output: str = "map",
    *,
    pixels: int = PIXELS,
) -> dict[str, Measured]:
    """Translate test images, and return what is known of them by direction.

    Args:
        original: the unpruned CycleGAN.
        compact: of each run, its compact generators by side.
        images: the data.
        output: how L_DisA compares; see ``FitnessSettings``.
        pixels: see :func:`few`.
    """
    subset = few(images, pixels=pixels)
    measures = Measures(subset, sets=False)  # what is asked is how single images vary
    before = translations(original, {name: side.generator for name, side in original.items()}, measures)
    after = [translations(original, generators, measures) for generators in compact]
    found = {}
    for name, side in original.items():
        known = [before[name], *(against(each[name], before[name], output) for each in after)]
        tests = subset[side.source].test
        found[name] = Measured(
            [tests.name(path) for path in tests.paths], len(images[side.source].test), known,
            [_per_image(each) for each in known], "truth" in before[name],
        )  # fmt: skip
    return found


def _per_image(known: Mapping[str, Any]) -> Figures:
    """Return every figure that one image has by itself."""
    figures: Figures = {}
    for index in range(len(known["fake"])):
        one = {name: known[name][index : index + 1] for name in (*ALL_AT_ONCE, *PAIRED) if known.get(name) is not None}
        for name, value in compute_figures({**known, **one}).items():
            figures.setdefault(name, []).append(value)
    return figures


def gallery(side: str, title: str, found: Measured, variants: Sequence[str], *, most: int, budget: int) -> Gallery:
    """Return the test images of a direction that a page shows.

    Args:
        side: "A2B" or "B2A".
        title: the same in words.
        found: what :func:`measure` knows of them.
        variants: names of what made the translations: "original", then each compact generator.
        most: images shown, at most.
        budget: characters of their data URIs, at most; but one image.
    """
    known, original = found.known, found.known[0]["fake"]
    change = [levels_apart(each["fake"], original) for each in known[1:]]
    gains = []
    if found.paired:
        apart = [levels_apart(each["paired"], each["truth"]) for each in known]
        gains = [[a - b for a, b in zip(apart[0], compact, strict=True)] for compact in apart[1:]]
    cases: list[Case] = []
    for index in chosen([max(each) for each in zip(*change, strict=True)], most):
        uris = [data_uri(each["fake"][index]) for each in known]
        source = data_uri(known[0]["real"][index])
        truth = data_uri(known[0]["truth"][index]) if found.paired else None
        budget -= len(source) + len(truth or "") + sum(map(len, uris))
        if budget < 0 and cases:
            break
        cases.append(
            Case(
                found.names[index], source, truth, uris, [each[index] for each in change],
                [each[index] for each in gains],
            )
        )  # fmt: skip
    cases.sort(key=lambda case: -max(case.change))
    height, width = original.shape[-2:]
    return Gallery(side, title, variants, (height, width), len(found.names), found.total, cases)


def sources_of(original: CycleGAN, images: UnpairedImages, side: str, count: int) -> torch.Tensor:
    """Return a few test images that a side translates, (N, C, H, W) in [-1, 1]."""
    tests = images[SOURCE[side]].test
    return tests.tensor(range(min(count, len(tests))))
