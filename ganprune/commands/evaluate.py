"""What ``ganprune evaluate`` does: the figures of a run's compact generators, or of a checkpoint's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ganprune.assets import default_checkpoint, default_images
from ganprune.data.sizes import Framing, Size
from ganprune.deploy.speed import add_speed
from ganprune.device import set_threads
from ganprune.errors import UserError
from ganprune.metrics.measures import Wanted
from ganprune.models.checkpoint import CONFIG_NAME
from ganprune.models.options import CheckpointOptions
from ganprune.pipeline.config import open_finished, read_config, run_networks
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.results import load_pair, measure
from ganprune.pipeline.task import load_task
from ganprune.runs.directory import CONFIG, RunDirectory
from ganprune.settings.evolve import EvolveSettings


def evaluate_run(
    path: str | Path,
    *,
    data: Path | None = None,
    size: int | Size | Framing | None = None,
    wanted: Wanted | None = None,
    networks: CheckpointOptions | None = None,
    speed: int = 0,
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
        speed: how often a run's original and compact are timed for "speed" of each side (see ``add_speed``); 0: never.
        device, threads, reporter: as for :func:`compress`.

    Raises:
        UserError: ``path`` is neither, or something wanted can't be had.
    """
    reporter, settings, networks = reporter or Reporter(), EvolveSettings(), networks or CheckpointOptions()
    set_threads(threads)
    if not Path(path).exists():
        raise UserError("run", str(path), "a run directory or a checkpoint's folder", "Check the path.")
    directory, compact = RunDirectory(path), None
    if directory.exists(CONFIG) and not directory.exists(CONFIG_NAME):  # a pretraining run is a checkpoint
        config, settings = read_config(open_finished(path))
        images = data or config["data"] or default_images()
        checkpoint = config["checkpoint"] or default_checkpoint()
        networks = run_networks(config, networks)
        task = load_task(checkpoint, images, size or Framing.from_json(config), device, networks)
        compact = load_pair(directory, task.device, task.cyclegan, networks)
    elif data is None:
        raise UserError("data", "nothing", "images to evaluate a checkpoint on", "Give --data with the checkpoint.")
    else:
        task = load_task(path, data, size, device, networks)
        for note in task.cyclegan.notes:
            reporter.note(note)
    if task.images.size_note:
        reporter.stage(task.images.size_note)
    own = {name: side.generator for name, side in task.cyclegan.items()}
    sides = measure(task, settings, compact or own, wanted)
    if compact and speed:
        reporter.stage("timing original and compact")
        add_speed(sides, own, compact, task.images.size, repeats=speed)
    return sides
