"""What ``ganprune evaluate`` does: the figures of a run's compact generators, or of a checkpoint's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ganprune.data.sizes import Framing, Size
from ganprune.deploy.speed import speed_figures
from ganprune.device import resolve_device, set_threads
from ganprune.errors import UserError
from ganprune.metrics.measures import Wanted
from ganprune.models.options import CheckpointOptions
from ganprune.pipeline.generators import holds_run, load_trained
from ganprune.pipeline.job import taken_for_lines
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.results import measure
from ganprune.pipeline.task import load_task
from ganprune.settings.evolve import EvolveSettings
from ganprune.settings.export import SpeedSettings


def evaluate_run(
    path: str | Path,
    *,
    data: Path | None = None,
    size: int | Size | Framing | None = None,
    wanted: Wanted | None = None,
    networks: CheckpointOptions | None = None,
    timing: SpeedSettings | None = None,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the figures of a run's compact generators, or of a checkpoint's own.

    Args:
        path: the folder of the run or checkpoint.
        data: other images; a checkpoint needs them.
        size: another size of the images.
        wanted: what is measured; None for a run's final figures.
        timing: whether and how often a run's original and compact are timed: ``speed`` of each side (see
            :func:`ganprune.deploy.speed.speed_figures`), and ``latency_ms`` becomes the same; None for not at all.
        device, threads, reporter: as for :func:`ganprune.commands.evolve.compress`.

    Raises:
        UserError: ``path`` is neither, or something wanted can't be had.
    """
    reporter = reporter or Reporter()
    set_threads(threads)
    if not Path(path).exists():
        raise UserError("run", str(path), "a run directory or a checkpoint's folder", "Check the path.")
    trained = load_trained(path, networks=networks, device=resolve_device(device)) if holds_run(path) else None
    if trained and trained.unfinished:
        reporter.note(trained.unfinished)
    if trained:
        framing = Framing.of(size).over(trained.framing)
        task = load_task(trained.checkpoint, data or trained.data, framing, device, trained.networks)
    elif data is None:
        raise UserError("data", "nothing", "images to evaluate a checkpoint on", "Give --data with the checkpoint.")
    else:
        task = load_task(path, data, size, device, networks)
        for note in (*task.cyclegan.notes, *task.images.notes, *taken_for_lines(task.images.taken_for)):
            reporter.note(note)
    if task.images.size_note:
        reporter.stage(task.images.size_note)
    own = {name: side.generator for name, side in task.cyclegan.items()}
    settings, generators = (trained.settings, trained.generators) if trained else (EvolveSettings(), own)
    sides = measure(task, settings, generators, wanted)
    if trained and timing and timing.speed:
        reporter.stage("timing original and compact")
        for name, figures in sides.items():
            ratio = figures["macs"]["input_size"]["ratio"]
            found = speed_figures(own[name], trained.generators[name], task.images.size, ratio, repeats=timing.repeats)
            figures["speed"] = found
            figures["latency_ms"] = {key: found["eager"][key] for key in ("original", "compact", "speedup")}
    return sides
