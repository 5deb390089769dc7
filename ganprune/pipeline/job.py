"""What every command that makes compact generators does before and after its own work, once and in one order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune import __version__
from ganprune.device import resolve_precision, set_threads
from ganprune.evolution.individual import Individual, pack_bits, unpack_bits
from ganprune.filters.builder import NetworkBuilder
from ganprune.filters.saving import save_generator
from ganprune.filters.slicing import Keep
from ganprune.filters.space import FilterSpace
from ganprune.fitness import CycleFitness
from ganprune.models.architecture import describe
from ganprune.pipeline.checks import check_objectives, check_search, check_target
from ganprune.pipeline.config import FORMAT, RESUMABLE, has_generators
from ganprune.pipeline.directions import gather_evidence, warnings_of
from ganprune.pipeline.ranges import range_notes
from ganprune.pipeline.reference import reference_fitness
from ganprune.pipeline.rehearsal import rehearse
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.results import draw_samples, make_measures, measure
from ganprune.pipeline.search import algorithms
from ganprune.pipeline.statistics import statistics_notes
from ganprune.pipeline.task import Task, check_fingerprint, fingerprint
from ganprune.runs.directory import CONFIG, SEARCHED, STATE, SUMMARY, RunDirectory
from ganprune.settings.evolve import EvolveSettings
from ganprune.settings.fields import changed
from ganprune.settings.terms import KEPT
from ganprune.training import TENSORS_NAME
from ganprune.training.finetune import finetune
from ganprune.training.taught import compared_views

SUMMARY_FORMAT = 1


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

    def materialise(
        self,
        directory: RunDirectory,
        builders: Mapping[str, NetworkBuilder],
        chosen: Mapping[str, Individual],
        *,
        counts: Mapping[str, Any],
        reference: Mapping[str, CycleFitness] | None = None,
    ) -> tuple[dict[str, nn.Module], dict[str, Any]]:
        """Make both sides' individuals compact networks; tune, save and evaluate these.

        Args:
            directory: where ``A2B.*`` and ``B2A.*`` go; the caller writes the rest.
            builders: side -> what makes networks of bits.
            chosen: side -> individual with the fitness and terms it was found with.
            counts: what was searched for them: evaluations, rescores, cost, generation.
            reference: by side; None for :func:`ganprune.pipeline.reference.reference_fitness`.

        Returns:
            The compact generators, and what ``summary.json`` holds but for the time taken.
        """
        task, settings = self.task, self.settings
        compact = {name: builders[name].final(bits).requires_grad_(True) for name, bits in chosen.items()}
        reference = reference or reference_fitness(task, settings, builders)
        found: dict[str, Any] = {}
        for name, elite in chosen.items():
            fitness = {"fitness": elite.scalar_fitness, "reference_fitness": reference[name](elite)[0]}
            algorithm = algorithms(settings.search)[name].partition(":")[0]
            found[name] = {"algorithm": algorithm, "search": {**(elite.terms or {}), **fitness}}
        del reference  # with the images that it keeps
        summary = {
            "format": SUMMARY_FORMAT, "ganprune": __version__, "torch": torch.__version__, "seed": settings.seed,
            "threads": torch.get_num_threads(), "device": str(task.device), "evaluations": counts["evaluations"],
            "rescores": counts["rescores"], "cost": counts["cost"], "generations": counts["generation"],
            "images": task.images.counts(), "data_sha256": task.images.digest(), "sides": found,
            "seconds": self.seconds,
        }  # fmt: skip
        bits = {name: pack_bits(elite) for name, elite in chosen.items()}
        return compact, self.tune_and_save(directory, compact, bits, summary)

    def tune_and_save(
        self,
        directory: RunDirectory,
        compact: Mapping[str, nn.Module],
        bits: Mapping[str, str],
        summary: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Fine-tune compact generators in place, write them with their packed bits, and evaluate them.

        They are written before the fine-tune and again before they are evaluated, so that whatever happens costs the
        rest of the run at most.

        Args:
            directory: of the run.
            compact: by side.
            bits: of each, packed.
            summary: what is known so far: how they were found, under "sides".

        Returns:
            The summary with the figures of both sides and, under "finetune", what there is to say of a fine-tune that
            diverged.
        """
        task, settings, stage = self.task, self.settings, self.reporter.stage
        outcome = {}
        if settings.finetune.steps:
            if self.command in RESUMABLE and not has_generators(directory, bits):
                self._keep(directory, compact, bits, summary, finetuned=False)
            stage(f"fine-tuning {task.whom}, compact", settings.finetune.steps)
            keep = directory.directory if self.command in RESUMABLE else None
            outcome = finetune(
                task.cyclegan, task.images, compact, settings.training, self.reporter.training,
                filters=self._filters(bits), keep=keep,
            )  # fmt: skip
        if outcome:
            text = "the fine-tune diverged at step {diverged_at}: the weights of step {weights_of} are kept"
            stage(text.format(**outcome))
        self._keep(directory, compact, bits, summary, finetuned=settings.finetune.steps > 0)
        stage("evaluating on test images")
        figures = measure(task, settings, compact)
        sides = {name: {**figures[name], **summary["sides"][name]} for name in figures}
        return {**summary, "sides": sides, **({"finetune": outcome} if outcome else {})}

    def _filters(self, bits: Mapping[str, str]) -> dict[str, Keep] | None:
        """Return which filters each side has kept; None where no term of the fine-tune compares these."""
        if KEPT not in compared_views(self.settings.training):
            return None
        encoding, size = self.settings.scoring.encoding, self.task.images.size
        spaces = {n: FilterSpace(self.task.cyclegan[n].generator, encoding=encoding, size=size) for n in bits}
        return {name: spaces[name].kept(unpack_bits(each)) for name, each in bits.items()}

    def _keep(
        self,
        directory: RunDirectory,
        compact: Mapping[str, nn.Module],
        bits: Mapping[str, str],
        summary: Mapping[str, Any],
        *,
        finetuned: bool,
    ) -> None:
        """Write generators and, where the run has a configuration, what ``open_searched`` needs to go on with them."""
        for name, network in compact.items():
            save_generator(
                network, directory.path(name), architecture=describe(self.task.cyclegan[name].generator),
                bits=bits[name], side=name, encoding=self.settings.scoring.encoding,
                **self.task.images.framing.to_json(),
            )  # fmt: skip
        if self.command in RESUMABLE:
            directory.write_json(SEARCHED, {"finetuned": finetuned, "bits": dict(bits), "summary": dict(summary)})
            directory.path(SUMMARY).unlink(missing_ok=True)  # of a shorter search: these generators are others

    def finish(self, directory: RunDirectory, compact: Mapping[str, nn.Module], summary: Mapping[str, Any]) -> None:
        """Write the picture and the summary: the run is finished then, and needs nothing any more to go on from."""
        draw_samples(directory.path("samples.png"), self.task, compact)
        directory.write_json(SUMMARY, summary)
        for name in (SEARCHED, TENSORS_NAME):
            directory.path(name).unlink(missing_ok=True)


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
    dry_run: bool = False,
) -> Job:
    """Check all that can be checked, then load and read everything; nothing is written.

    Args:
        command: of ganprune.
        settings: what is asked.
        load: loads checkpoint and images.
        searches: whether operators and budget of the search count.
        began_with: the configuration of the run that this goes on from; images and networks have to be its own.
        out: the new run directory, where the user named one.
        threads: CPU threads; None for PyTorch's choice.
        reporter: whom to tell how far it is.
        dry_run: every stage is tried once: see :mod:`ganprune.pipeline.rehearsal`.

    Raises:
        UserError: something given can't be used.
    """
    started, reporter = time.perf_counter(), reporter or Reporter()
    if searches:
        check_search(settings.search, sides=())
    if began_with is None:
        check_target(settings)  # a run that goes on has its latencies
    if out is not None and Path(out).exists():
        RunDirectory.create(out)  # refuses what holds a run, before anything is computed
    threads = set_threads(threads)
    task = load()
    if task.checkpoint and began_with is None:
        for note in (*task.cyclegan.notes, *task.images.notes, *taken_for_lines(task.taken_for)):
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
    if dry_run:
        rehearse(task, settings, reporter, searches=searches)
    if task.checkpoint and began_with is None:
        for warning in (*warnings_of(gather_evidence(task)), *statistics_notes(task), *range_notes(task)):
            reporter.note(f"Warning: {warning}")
    return Job(command, task, settings, threads, reporter, started)


def taken_for_lines(taken_for: Sequence[str]) -> list[str]:
    """Return the block that lists what was inferred; none where nothing was."""
    return ["Taken for, where you say nothing else:", *(f"  {line}" for line in taken_for)] if taken_for else []


def _resolved(settings: EvolveSettings, device: torch.device) -> EvolveSettings:
    """Return the settings with what depends on the place: a precision other than "auto", and whole paths."""
    settings = replace(settings, precision=resolve_precision(settings.precision, device))
    weights = settings.measures.inception_weights
    return changed(settings, inception_weights=str(Path(weights).resolve())) if weights else settings
