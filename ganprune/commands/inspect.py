"""What ``ganprune inspect`` finds: what a checkpoint is, what of it can be pruned, and what a search of it will take.

Nothing is written and nothing is searched. Without images it looks at files only; with images it also asks the
discriminators and measures parts of a search: see :mod:`ganprune.commands.prediction`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from ganprune.commands.prediction import held_bytes, moments_bytes, positions, predict
from ganprune.cost.profile import macs, memory_mb, parameters, weight_counts
from ganprune.data.sizes import Framing, Size, read_size, round_up
from ganprune.device import resolve_device, set_threads
from ganprune.errors import UserError
from ganprune.filters.groups import tie_blocks
from ganprune.filters.space import FilterSpace
from ganprune.models.architecture import describe, input_channels, output_channels, specification
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.cyclegan import CycleGAN
from ganprune.models.options import CheckpointOptions
from ganprune.models.sizing import check_size, size_multiple, small_size
from ganprune.pipeline.directions import gather_evidence, warnings_of
from ganprune.pipeline.ranges import range_notes
from ganprune.pipeline.statistics import statistics_notes
from ganprune.pipeline.task import Task, load_task
from ganprune.settings.evolve import EvolveSettings

TRACED = 64  # side length of the images that generators are traced with: groups are the same at any size
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
        data: images, to ask the discriminators and to predict a search; None to do neither.
        size: of the images; None for the data's own, or 256. Networks are looked at at that, rounded up to what they
            take.
        networks: how the checkpoint is to be read.
        settings: of the search whose cost is wanted; None for the ``quick`` preset.
        device, threads: as a search would have them.
        stage: told what is being done.

    Returns:
        ``notes`` (layout, architectures, what is missing), ``taken_for`` (what was inferred), ``size``, ``sides`` (for
        each the networks, the groups and bits of both encodings and the bytes of its moments), ``warnings``, and with
        data for each side ``discriminator_scores``, and ``search``: what
        :func:`ganprune.commands.prediction.predict` says.

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
    held = held_bytes()
    stage("tracing the generators")
    multiple = task.images.multiple if task else size_multiple(cyclegan.generators())
    spaces, seconds = trace(cyclegan, shape, multiple)
    sides = {name: side_facts(cyclegan, name, spaces[name], shape, settings) for name in cyclegan}
    taken_for = task.taken_for if task else cyclegan.taken_for
    found: dict[str, Any] = {
        "notes": [*cyclegan.notes, *(task.images.notes if task else [])],
        "taken_for": taken_for,
        "size": list(shape),
        "sides": sides,
        "warnings": [*statistics_notes(task), *range_notes(task)] if task else [],
    }
    if task is not None:
        stage("asking the networks which way round they are")
        evidence = gather_evidence(task)
        for name, preference in evidence.preferences.items():
            sides[name]["discriminator_scores"] = asdict(preference)
        found["warnings"] += warnings_of(evidence)
        stage("measuring parts of a search")
        if settings.scoring.encoding != "grouped":
            spaces, seconds = trace(cyclegan, shape, multiple, settings.scoring.encoding)
        found["search"] = predict(task, settings, spaces, seconds, held)
    return found


def trace(
    cyclegan: CycleGAN, size: Size, multiple: int, encoding: str = "grouped"
) -> tuple[dict[str, FilterSpace], float]:
    """Return both sides' filter spaces, and the seconds that they took."""
    started = time.perf_counter()
    spaces = {name: traced(side.generator, size, multiple, encoding) for name, side in cyclegan.items()}
    return spaces, time.perf_counter() - started


def traced(generator: nn.Module, size: Size, multiple: int, encoding: str) -> FilterSpace:
    """Return a generator's filter space, traced with a small image, or one of ``size`` where that is not taken.

    Raises:
        UserError: it can't be pruned; the layer is named.
    """
    small = small_size(size, TRACED, multiple)
    if small != size:
        try:
            return FilterSpace(generator, encoding=encoding, size=small)
        except UserError:  # the whole size says whether it is only that
            pass
    return FilterSpace(generator, encoding=encoding, size=size)


def side_facts(
    cyclegan: CycleGAN, name: str, space: FilterSpace, size: Size, settings: EvolveSettings
) -> dict[str, Any]:
    """Return a side's networks, groups and bits, and the bytes of its moments, as JSON data.

    Args:
        cyclegan: what is inspected.
        name: of the side.
        space: its generator's, "grouped".
        size: of the images.
        settings: of the search.
    """
    side = cyclegan[name]
    counts = macs(weight_counts(side.generator), positions(side.generator, size))
    groups = [
        {"name": g.name, "filters": g.size, "written_by": sorted(g.convolutions(produces=True))} for g in space.groups
    ]
    return {
        "generator": network_facts(side.generator) | {"macs": counts},
        "discriminator": None if side.discriminator is None else network_facts(side.discriminator),
        "reverse_generator": cyclegan.reverse(name) is not None,
        "groups": groups,
        "unprunable": dict(space.unprunable),
        "bits": {"grouped": len(space), "tied": sum(group.size for group in tie_blocks(space.groups))},
        "moments_bytes": moments_bytes(side.generator) if settings.scoring.reconstruct else 0,
    }


def network_facts(network: nn.Module) -> dict[str, Any]:
    """Return a network's architecture and size."""
    return {
        "architecture": describe(network), "specification": specification(network), "parameters": parameters(network),
        "memory_mb": memory_mb(network), "channels": [input_channels(network), output_channels(network)],
    }  # fmt: skip
