"""The figures of an evaluation, one row each: what ``summary.json`` holds, and what the printed table shows of it.

A figure is computed from what is known of one side's translation. All images are (N, C, H, W) in [-1, 1] on the CPU:

- ``real``, ``fake``, ``recovered``: source images, their translations, and these translated back;
- ``answers``: the original discriminator's scores of the translations, (N, 1, h, w) or (N, n);
- ``fake_original``, ``answers_original``, ``output``: the same of the original generator's translations, and how L_DisA
  compares; only where a generator is compared with the original;
- ``paired``, ``truth``: the translations whose truth is known, and it; ``true_ink``: the same, where it is shipped ink;
- ``picture``, ``aim``: the same two where there is a truth; else all translations and the original generator's;
- ``patch_distance``: of the translations to the target domain's training images;
- ``features``, ``real_features``: (N, width) and (M, width), of the translations and of the target domain's images;
- ``kernel_distance``: between these, with its deviation;
- ``segmented``: the scores of :func:`ganprune.metrics.segmentation.scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ganprune.losses import cycle_consistency, discriminator_aware, generator_aware
from ganprune.metrics.fid import frechet_distance
from ganprune.metrics.paired import paired_l1, psnr, rms_error, ssim
from ganprune.metrics.picture import picture_error
from ganprune.metrics.segmentation import ink_iou

LESS, MORE = "less", "more"


@dataclass(frozen=True)
class Metric:
    """One figure of a side's translations.

    Attributes:
        name: its key in ``summary.json``.
        label: its name in tables; ``{images}``, ``{features}`` and ``{frechet}`` stand for the images that it is
            measured on, for whose features it is measured on, and for the name that Frechet's distance has on those.
            "" for a figure without a line of its own.
        digits: decimal places that tables show.
        better: "less" or "more".
        needs: what it is computed from. Where one of these is unknown, there is no such figure.
        function: maps what is needed, in that order, to the figure.
        deviation: name of the figure that says how much this one varies; tables show it behind this one.
    """

    name: str
    label: str
    digits: int
    better: str
    needs: tuple[str, ...]
    function: Callable[..., Any]
    deviation: str | None = None


METRICS = [
    Metric("picture_error", "picture error ({images})", 3, LESS, ("patch_distance", "picture", "aim"), picture_error),
    Metric("patch_distance", "patch distance ({images})", 3, LESS, ("patch_distance",), float),
    Metric("l_disa", "L_DisA ({images})", 4, LESS, ("answers", "answers_original", "output"), discriminator_aware),
    Metric("l_gena", "L_GenA ({images})", 4, LESS, ("fake", "fake_original"), generator_aware),
    Metric("l_cyc", "L_cyc ({images})", 4, LESS, ("recovered", "real"), cycle_consistency),
    Metric("frechet", "{frechet} ({images}, {features})", 3, LESS, ("features", "real_features"), frechet_distance),
    Metric("kid", "KID ({images}, {features})", 4, LESS, ("kernel_distance",), itemgetter(0), deviation="kid_std"),
    Metric("kid_std", "", 4, LESS, ("kernel_distance",), itemgetter(1)),
    Metric("paired_l1", "paired L1 ({images})", 4, LESS, ("paired", "truth"), paired_l1),
    Metric("rms_error", "RMS error ({images})", 4, LESS, ("paired", "truth"), rms_error),
    Metric("psnr", "PSNR ({images}, dB)", 2, MORE, ("paired", "truth"), psnr),
    Metric("ssim", "SSIM ({images})", 4, MORE, ("paired", "truth"), ssim),
    Metric("ink_iou", "ink IoU ({images})", 4, MORE, ("paired", "true_ink"), ink_iou),
    Metric("pixel_accuracy", "pixel accuracy ({images})", 4, MORE, ("segmented",), itemgetter("pixel_accuracy")),
    Metric("class_accuracy", "class accuracy ({images})", 4, MORE, ("segmented",), itemgetter("class_accuracy")),
    Metric("mean_iou", "mean IoU ({images})", 4, MORE, ("segmented",), itemgetter("mean_iou")),
]
"""Every figure. A new one is one more row, here or appended from elsewhere."""


def compute_figures(known: Mapping[str, Any]) -> dict[str, float]:
    """Return, by name, every figure that can be computed from what is known of one side's translation."""
    rows = [row for row in METRICS if all(known.get(name) is not None for name in row.needs)]
    return {row.name: float(row.function(*(known[name] for name in row.needs))) for row in rows}
