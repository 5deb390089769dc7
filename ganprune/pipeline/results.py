"""What a run leaves behind, and what is made of it: compact generators, figures, a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune.filters.saving import load_generator
from ganprune.metrics.evaluate import evaluate, run
from ganprune.metrics.measures import Measures, Wanted
from ganprune.models.options import SIDES, CheckpointOptions
from ganprune.pipeline.task import Task
from ganprune.report.figures import save_grid, zoom_for
from ganprune.runs.directory import RunDirectory
from ganprune.settings.evolve import EvolveSettings

SAMPLES = 12


def load_pair(
    directory: RunDirectory,
    device: torch.device | str,
    sides: Iterable[str] = SIDES,
    networks: CheckpointOptions | None = None,
) -> dict[str, nn.Module]:
    """Load the compact generators of a run.

    Args:
        directory: of the run.
        device: where they go.
        sides: those that the run pruned.
        networks: names the factories of generators that ganprune does not know.
    """
    networks = networks or CheckpointOptions()
    return {
        name: load_generator(directory.path(name), factory=networks.factory("generator", name), device=device)
        for name in sides
    }


def make_measures(task: Task, settings: EvolveSettings, wanted: Wanted | None = None) -> Measures:
    """Return what figures are measured by.

    Called once before long work begins, so that what can't be had is refused then, and once after it.

    Args:
        task: the images.
        settings: the run's, whose features are taken where ``wanted`` names none.
        wanted: None for a run's final figures, on test images.

    Raises:
        UserError: something wanted can't be had.
    """
    wanted = wanted or Wanted()
    if wanted.features is None:
        weights = wanted.inception_weights or settings.measures.inception_weights
        wanted = replace(wanted, features=settings.measures.features, inception_weights=weights)
    return wanted.measures(task.images, task.device)


def measure(
    task: Task, settings: EvolveSettings, compact: Mapping[str, nn.Module], wanted: Wanted | None = None
) -> dict[str, dict[str, Any]]:
    """Return the figures of both sides; arguments as :func:`make_measures`."""
    return evaluate(
        task.cyclegan, compact, task.images, discriminator_output=settings.fitness.discriminator_output,
        measures=make_measures(task, settings, wanted),
    )  # fmt: skip


@torch.inference_mode()
def draw_samples(path: Path, task: Task, compact: Mapping[str, nn.Module]) -> None:
    """Write a picture of test images: input, original's and compact's translation, and truth where it is known."""
    sections = {}
    pairs = task.images.pairs("test")[:SAMPLES]
    for name, side in task.cyclegan.items():
        source = task.images[side.source].test
        pairs_of_side = pairs if name == "A2B" else [(b, a) for a, b in pairs]
        chosen = [index for index, _ in pairs_of_side] or list(range(min(SAMPLES, len(source))))
        real = source.tensor(chosen)
        rows = {
            "input": real,
            "original": run(side.generator, real, task.device),
            "compact": run(compact[name], real, task.device),
        }
        if pairs:
            rows["truth"] = task.images[side.target].test.tensor([index for _, index in pairs_of_side])
        sections[f"{name} (test images)"] = {label: task.images.cut(row) for label, row in rows.items()}
    save_grid(path, sections, zoom=zoom_for(task.images.frame))
