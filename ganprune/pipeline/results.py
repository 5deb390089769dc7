"""What a run leaves behind: compact generators, the summary, a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune import __version__
from ganprune.evolution.individual import Individual, pack_bits
from ganprune.filters.builder import NetworkBuilder
from ganprune.filters.saving import load_generator, save_generator
from ganprune.fitness import CycleFitness
from ganprune.metrics.evaluate import evaluate, run
from ganprune.metrics.measures import Measures, Wanted
from ganprune.models.architecture import describe
from ganprune.models.options import SIDES, CheckpointOptions
from ganprune.pipeline.reference import reference_fitness
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.search import algorithms
from ganprune.pipeline.task import Task
from ganprune.report.figures import save_grid, zoom_for
from ganprune.runs.directory import RunDirectory
from ganprune.settings.evolve import EvolveSettings
from ganprune.training.finetune import finetune

SUMMARY_FORMAT = 1
SAMPLES = 12


def materialise(
    task: Task,
    settings: EvolveSettings,
    directory: RunDirectory,
    builders: Mapping[str, NetworkBuilder],
    chosen: Mapping[str, Individual],
    reporter: Reporter,
    *,
    counts: Mapping[str, Any],
    reference: Mapping[str, CycleFitness] | None = None,
    keep: Path | None = None,
) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    """Make both sides' individuals compact networks, fine-tune, evaluate and write the pair into ``directory``.

    Args:
        task: the original and its images.
        settings: the fine-tune, and what the fitness was made of.
        directory: where ``A2B.*`` and ``B2A.*`` go; the caller writes the rest.
        builders: side -> what makes networks of bits.
        chosen: side -> individual with the fitness and terms it was found with.
        reporter: whom to tell how far it is.
        counts: what was searched for them: evaluations, rescores, cost, generation.
        reference: by side; None for :func:`ganprune.pipeline.reference.reference_fitness`.
        keep: folder for the state of the fine-tune, to go on with if it is interrupted.

    Returns:
        The compact generators, and what ``summary.json`` holds but for the time taken.
    """
    compact = {name: builders[name].final(bits).requires_grad_(True) for name, bits in chosen.items()}
    outcome = finetune_pair(task, settings, compact, reporter, keep=keep) if settings.finetune.steps else {}
    reporter.stage("evaluating on test images")
    save_pair(directory, task, compact, chosen, settings)
    reference = reference or reference_fitness(task, settings, builders)
    return compact, summarise(task, settings, counts, reference, chosen, compact) | outcome


def finetune_pair(
    task: Task,
    settings: EvolveSettings,
    compact: Mapping[str, nn.Module],
    reporter: Reporter,
    *,
    keep: Path | None,
) -> dict[str, Any]:
    """Fine-tune compact generators in place.

    Returns:
        What a summary says of a fine-tune that diverged, under "finetune"; empty if all was well.
    """
    reporter.stage(f"fine-tuning {task.whom}, compact", settings.finetune.steps)
    outcome = finetune(task.cyclegan, task.images, compact, settings.training, reporter.training, keep=keep)
    if outcome:
        reporter.stage(
            "the fine-tune diverged at step {diverged_at}: the weights of step {weights_of} are kept".format(**outcome)
        )
    return {"finetune": outcome} if outcome else {}


def save_pair(
    directory: RunDirectory,
    task: Task,
    compact: Mapping[str, nn.Module],
    elites: Mapping[str, Individual],
    settings: EvolveSettings,
) -> None:
    """Write the compact generators with what is needed to build them."""
    for name, network in compact.items():
        architecture = describe(task.cyclegan[name].generator)
        save_generator(
            network, directory.path(name), architecture=architecture, bits=pack_bits(elites[name]), side=name,
            encoding=settings.scoring.encoding, **task.images.framing.to_json(),
        )  # fmt: skip


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
    loaded = {}
    for name in sides:
        factory = networks.factory("generator", name) if networks else None
        loaded[name] = load_generator(directory.path(name), factory=factory, device=device)
    return loaded


def summarise(
    task: Task,
    settings: EvolveSettings,
    counts: Mapping[str, Any],
    reference: Mapping[str, CycleFitness],
    elites: Mapping[str, Individual],
    compact: Mapping[str, nn.Module],
) -> dict[str, Any]:
    """Return what ``summary.json`` holds, but for the time taken."""
    sides = measure(task, settings, compact)
    for name, figures in sides.items():
        elite = elites[name]
        figures["algorithm"] = algorithms(settings.search)[name].partition(":")[0]
        figures["search"] = {
            **(elite.terms or {}), "fitness": elite.scalar_fitness, "reference_fitness": reference[name](elite)[0],
        }  # fmt: skip
    return {
        "format": SUMMARY_FORMAT, "ganprune": __version__, "torch": torch.__version__, "seed": settings.seed,
        "threads": torch.get_num_threads(), "device": str(task.device), "evaluations": counts["evaluations"],
        "rescores": counts["rescores"], "cost": counts["cost"], "generations": counts["generation"],
        "images": task.images.counts(), "data_sha256": task.images.digest(), "sides": sides,
    }  # fmt: skip


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
