"""What ``ganprune inspect`` finds: what a checkpoint is, what of it can be pruned, and what a search of it will take.

Nothing is written and nothing is searched. Without images it looks at files only; with images it also asks the
discriminators and times a few evaluations.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ganprune.cost.profile import layer_positions, macs, memory_mb, parameters, weight_counts
from ganprune.data.sizes import Framing, Size, read_size, round_up
from ganprune.device import resolve_device, resolve_precision, set_threads
from ganprune.filters.reconstruction import solvable_layers, weight_matrix
from ganprune.filters.space import ENCODINGS, FilterSpace
from ganprune.fitness import CycleFitness
from ganprune.metrics.evaluate import run
from ganprune.models.architecture import describe, input_channels, output_channels, specification
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.cyclegan import CycleGAN
from ganprune.models.options import CheckpointOptions
from ganprune.models.sizing import check_size, size_multiple
from ganprune.pipeline.checks import check_objectives
from ganprune.pipeline.search import make_fitness, make_strategy, rebuild
from ganprune.pipeline.task import Task, load_task
from ganprune.settings.evolve import EvolveSettings

TIMED = 3  # evaluations that are timed
SCORED = 64  # images of each domain that a discriminator is shown
DEFAULT_SIZE = 256  # side length of images where none are given


def inspect_checkpoint(
    path: str | Path,
    data: str | Path | None = None,
    *,
    size: int | Size | Framing | None = None,
    networks: CheckpointOptions | None = None,
    settings: EvolveSettings | None = None,
    device: str = "auto",
    threads: int | None = None,
    stage: Callable[[str], Any] = lambda text: None,
) -> dict[str, Any]:
    """Return what there is to know of a checkpoint before a search.

    Args:
        path: folder or file.
        data: images, to ask the discriminators and to time evaluations; None to do neither.
        size: of the images; None for the data's own, or 256. Networks are looked at at that, rounded up to what they
            take.
        networks: how the checkpoint is to be read.
        settings: of the search whose cost is wanted; None for the ``quick`` preset.
        device, threads: as a search would have them.
        stage: told what is being done.

    Returns:
        ``notes`` (layout, architectures, what is missing), ``size``, ``sides`` (for each the networks, the groups and
        bits of both encodings and the bytes of its moments), ``warnings``, and with data for each side
        ``discriminator_scores``, and ``search``: evaluations, seconds for each, and for all of it.

    Raises:
        UserError: it can't be read, or a generator can't be pruned; the layer is named.
    """
    set_threads(threads)
    settings = settings or EvolveSettings()
    task: Task | None = None
    if data is None:
        cyclegan = load_cyclegan(path, options=networks, device=resolve_device(device))
        frame = (size.size if isinstance(size, Framing) else size) or DEFAULT_SIZE
        shape = round_up(read_size(frame), size_multiple(cyclegan.generators()))
        check_size(cyclegan, shape)
    else:
        task = load_task(Path(path), Path(data), size, device, networks)
        cyclegan, shape = task.cyclegan, task.images.size
    stage("tracing the generators")
    sides = {name: side_facts(cyclegan, name, shape, settings) for name in cyclegan}
    found: dict[str, Any] = {"notes": cyclegan.notes, "size": list(shape), "sides": sides, "warnings": []}
    if task is not None:
        stage("asking the discriminators")
        for name, side in task.cyclegan.items():
            if scores := discriminator_scores(task, name):
                sides[name]["discriminator_scores"] = scores
                if scores["probably_swapped"]:
                    found["warnings"].append(
                        f"the discriminator of {name} finds real images of domain {side.source} "
                        f"({scores['source_domain']:.3f}) more real than those of domain {side.target} "
                        f"({scores['own_domain']:.3f}), which its generator paints: the files of the two "
                        "discriminators are probably swapped"
                    )
        stage("timing evaluations")
        found["search"] = search_cost(task, settings)
    return found


def side_facts(cyclegan: CycleGAN, name: str, size: Size, settings: EvolveSettings) -> dict[str, Any]:
    """Return a side's networks, groups and bits, and the bytes of its moments, as JSON data."""
    side = cyclegan[name]
    spaces = {encoding: FilterSpace(side.generator, encoding=encoding, size=size) for encoding in ENCODINGS}
    counts = macs(weight_counts(side.generator), layer_positions(side.generator, input_channels(side.generator), size))
    groups = [
        {"name": g.name, "filters": g.size, "written_by": sorted(g.convolutions(produces=True))}
        for g in spaces["grouped"].groups
    ]
    return {
        "generator": network_facts(side.generator) | {"macs": counts},
        "discriminator": None if side.discriminator is None else network_facts(side.discriminator),
        "reverse_generator": cyclegan.reverse(name) is not None,
        "groups": groups,
        "unprunable": dict(spaces["grouped"].unprunable),
        "bits": {encoding: len(space) for encoding, space in spaces.items()},
        "moments_bytes": moments_bytes(side.generator) if settings.scoring.reconstruct else 0,
    }


def network_facts(network: nn.Module) -> dict[str, Any]:
    """Return a network's architecture and size."""
    return {
        "architecture": describe(network), "specification": specification(network), "parameters": parameters(network),
        "memory_mb": memory_mb(network), "channels": [input_channels(network), output_channels(network)],
    }  # fmt: skip


def moments_bytes(generator: nn.Module) -> int:
    """Return how many bytes the moments of a generator's layers take: G, W and W G of each; see ``LayerMoments``."""
    total = 0
    for layer in solvable_layers(generator).values():
        outputs, unknowns = weight_matrix(layer).shape
        total += (unknowns * unknowns + 2 * outputs * unknowns) * layer.weight.element_size()
    return total


@torch.inference_mode()
def discriminator_scores(task: Task, name: str) -> dict[str, Any] | None:
    """Return how a side's discriminator scores real training images of both domains; None where it can't be asked.

    Returns:
        ``own_domain``, the mean score of images of the domain that its generator paints, ``source_domain``, of those
        that its generator is given, and ``probably_swapped``: whether the source's look more real to it, so that it is
        probably the other side's.
    """
    side, images = task.cyclegan[name], task.images
    domains = (side.target, side.source)
    if side.discriminator is None or any(domain not in images.domains for domain in domains):
        return None
    if images.channels[side.target] != images.channels[side.source]:
        return None  # it can't be shown the other domain's images
    shown = (images[domain].train.tensor(range(min(SCORED, len(images[domain].train)))) for domain in domains)
    own, source = (float(run(side.discriminator, real, task.device).mean()) for real in shown)
    return {"own_domain": own, "source_domain": source, "probably_swapped": own < source}


def search_cost(task: Task, settings: EvolveSettings) -> dict[str, Any]:
    """Time the preparation and a few evaluations of each side, and say what the search would take of both.

    Returns:
        evaluations (as many as there may be), seconds_prepare, seconds_per_evaluation (by side), seconds_search (of
        all evaluations, without the final fine-tune), images_bytes (of the translations that are kept at most),
        images_scored.
    """
    precision = resolve_precision(settings.precision, task.device)
    settings = replace(settings, precision=precision)
    check_objectives(task, settings)
    task.images.read_all()
    search = rebuild(task, settings, lambda *stage: None)
    fitness = make_fitness(task, settings, search.builders, {})
    seconds = {name: time_evaluations(one) for name, one in fitness.items()}
    strategies = {name: make_strategy(settings.search, name) for name in fitness}
    counts = {name: s.population * s.later * (settings.search.generations + 1) for name, s in strategies.items()}
    return {
        "evaluations": replace(search, strategies=strategies).expected(settings.search.generations),
        "seconds_prepare": search.seconds,
        "seconds_per_evaluation": seconds,
        "seconds_search": search.seconds + sum(counts[name] * seconds[name] for name in seconds),
        "images_bytes": sum(one.translated.most for one in fitness.values()),
        "images_scored": {name: len(one.real) for name, one in fitness.items()},
    }


def time_evaluations(fitness: CycleFitness) -> float:
    """Return the median seconds of a few evaluations, of individuals that keep about a third of all filters."""
    draw, times = np.random.default_rng(0), []
    for _ in range(TIMED + 1):  # the first one warms up
        bits = fitness.space.repair((draw.random(len(fitness.space)) < 0.35).astype(int).tolist())
        started = time.perf_counter()
        fitness(bits)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])
