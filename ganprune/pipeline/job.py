"""What every command that makes compact generators does before and after its own work, once and in one order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune import __version__
from ganprune.device import resolve_precision, set_threads
from ganprune.pipeline.checks import check_objectives, check_search
from ganprune.pipeline.config import FORMAT
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.results import draw_samples, make_measures
from ganprune.pipeline.task import Task, check_fingerprint, fingerprint
from ganprune.runs.directory import CONFIG, STATE, SUMMARY, RunDirectory
from ganprune.settings.evolve import EvolveSettings
from ganprune.settings.fields import changed
from ganprune.training import TENSORS_NAME


@dataclass(frozen=True)
class Job:
    """A task and settings that were checked together: long work may begin.

    Attributes:
        command: of ganprune.
        task: the CycleGAN and its images, which are read.
        settings: with a precision and paths that are resolved.
        threads: CPU threads in force.
        reporter: whom to tell how far it is.
        started: when the job began, as ``time.perf_counter()`` has it.
    """

    command: str
    task: Task
    settings: EvolveSettings
    threads: int
    reporter: Reporter
    started: float

    @property
    def seconds(self) -> float:
        """Seconds since the job began."""
        return time.perf_counter() - self.started

    def configuration(self, **facts: Any) -> dict[str, Any]:
        """Return what ``config.json`` is to hold: all that the command was begun with, and these facts of its own."""
        task = self.task
        return {
            "format": FORMAT, "command": self.command, "ganprune": __version__, "torch": torch.__version__,
            "checkpoint": task.checkpoint, "data": task.data, **task.images.framing.to_json(),
            "device": str(task.device), "threads": self.threads, "networks": task.networks.to_json(), **facts,
            "settings": self.settings.to_json(), **fingerprint(task),
        }  # fmt: skip

    @contextmanager
    def claim(self, out: str | Path | None) -> Iterator[RunDirectory]:
        """Within the block, a new run directory is this process's alone.

        Args:
            out: its path; None for the next free ``runs/COMMAND-NNN``.

        Raises:
            UserError: it holds a run already, another process works in it, or it can't be written.
        """
        directory = RunDirectory.create(out or RunDirectory.next_free("runs", self.command))
        with directory.locked():
            directory.check_free(CONFIG, STATE)
            yield directory

    def finish(self, directory: RunDirectory, compact: Mapping[str, nn.Module], summary: Mapping[str, Any]) -> None:
        """Write the picture and the summary: the run is finished then, and needs no state of a fine-tune any more."""
        draw_samples(directory.path("samples.png"), self.task, compact)
        directory.write_json(SUMMARY, summary)
        directory.path(TENSORS_NAME).unlink(missing_ok=True)


def begin(
    command: str,
    settings: EvolveSettings,
    load: Callable[[], Task],
    *,
    searches: bool = False,
    began_with: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> Job:
    """Check all that can be checked, then load and read everything; nothing is written.

    Args:
        command: of ganprune.
        settings: what is asked.
        load: loads checkpoint and images.
        searches: whether operators and budget of the search count.
        began_with: the configuration of the run that is gone on with, whose images and networks these have to be.
        out: the new run directory, where the user named one.
        threads: CPU threads; None for PyTorch's choice.
        reporter: whom to tell how far it is.

    Raises:
        UserError: something given can't be used.
    """
    started, reporter = time.perf_counter(), reporter or Reporter()
    if searches:
        check_search(settings.search, sides=())
    if out is not None and Path(out).exists():
        RunDirectory.create(out)  # refuses what holds a run, before anything is computed
    threads = set_threads(threads)
    task = load()
    for note in task.cyclegan.notes if task.checkpoint else ():
        reporter.note(note)
    if searches:
        check_search(settings.search, list(task.cyclegan))
    check_objectives(task, settings)
    make_measures(task, settings)
    settings = _resolved(settings, task.device)
    if task.images.size_note:
        reporter.stage(task.images.size_note)
    task.images.read_all()
    if began_with is not None:
        check_fingerprint(task, began_with)
    return Job(command, task, settings, threads, reporter, started)


def _resolved(settings: EvolveSettings, device: torch.device) -> EvolveSettings:
    """Return the settings with what depends on the place: a precision other than "auto", and whole paths."""
    settings = replace(settings, precision=resolve_precision(settings.precision, device))
    weights = settings.measures.inception_weights
    return changed(settings, inception_weights=str(Path(weights).resolve())) if weights else settings
