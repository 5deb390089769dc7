"""What a run's directory holds, and what the page of ``ganprune report`` shows of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune.assets import are_default
from ganprune.data.sizes import Framing
from ganprune.errors import UserError
from ganprune.evolution.individual import unpack_bits
from ganprune.filters.layers import convolutions
from ganprune.filters.space import FilterSpace
from ganprune.metrics.evaluate import size_figures
from ganprune.models.copying import copied
from ganprune.models.options import SIDES, CheckpointOptions
from ganprune.pipeline.config import open_searched, read_config, read_summary, run_networks
from ganprune.pipeline.front import FRONT, SIZE_LABELS, read_fronts
from ganprune.pipeline.results import load_pair
from ganprune.pipeline.task import Task, load_task, load_what_can_be
from ganprune.report.page.again import command_line, settings_table
from ganprune.report.page.charts import Silhouette, front_chart, search_curve, silhouette
from ganprune.report.page.contents import Run, Side
from ganprune.report.page.figures import Samples, cost_rows, figures_of, headline, quality_rows, verdict
from ganprune.report.page.measuring import Measured
from ganprune.runs.directory import LOGBOOK, SEARCHED, SUMMARY, RunDirectory
from ganprune.settings.evolve import EvolveSettings

TITLES = {"A2B": "colour to ink", "B2A": "ink to colour"}  # of the shipped task
FACTS = ("seed", "generations", "evaluations", "rescores", "cost", "seconds", "seconds_search", "device", "threads")
NOTES = 10  # of a logbook


@dataclass
class Record:
    """What a run's directory holds, and what can be loaded with it.

    Attributes:
        label: the directory's path, as it was given.
        directory, config, settings: of the run.
        summary: the run's; before its end what the search knew of it, or nothing.
        state: what is missing of a run that is not finished; "" of a finished one.
        log: lines of its logbook.
        networks: the factories that it was begun with.
        device: where networks go.
        notes: what could not be had, and why.
        measured: by direction, what its test images gave; the page fills it in.
        place: of its generators among the ``known`` of these; 0 is the original.
        galleries: by direction, the number of the gallery that has its pictures.
    """

    label: str
    directory: RunDirectory
    config: dict[str, Any]
    settings: EvolveSettings
    summary: dict[str, Any]
    state: str
    log: list[dict[str, Any]]
    networks: CheckpointOptions
    device: torch.device
    notes: list[str] = field(default_factory=list)
    measured: Mapping[str, Measured] = field(default_factory=dict)
    place: int = 1
    galleries: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path, given: CheckpointOptions, device: torch.device) -> Record:
        """Read a run's directory; its images and networks only when they are asked for.

        Raises:
            UserError: there is no run, or its files are damaged.
        """
        directory = RunDirectory.open(path)
        config, settings = read_config(directory)
        log, summary, state = directory.read_jsonl(LOGBOOK), {}, None
        if directory.exists(SUMMARY) or directory.exists(SEARCHED):
            _, state = open_searched(path)
            summary = read_summary(directory)
        else:
            done = max((line.get("generation", 0) for line in log), default=None)
            far = "before its first generation" if done is None else f"after generation {done}"
            state = f"{path} is not finished: this is what there is {far}. Its generators come later."
        return cls(
            str(path), directory, config, settings, summary, state or "", log, given, device
        )  # fmt: skip

    @property
    def sides(self) -> list[str]:
        """The directions that the run prunes."""
        known = self.summary.get("sides") or {line.get("side") for line in self.log}
        return [name for name in SIDES if name in known]

    @property
    def key(self) -> tuple[str, ...]:
        """The same for runs of the same networks and images."""
        return tuple(str(self.config.get(name)) for name in ("data_sha256", "checkpoint_sha256", "size", "networks"))

    @cached_property
    def task(self) -> Task | None:
        """The CycleGAN and its images, if they are still there."""
        config = self.config

        def load(options: CheckpointOptions) -> Task:
            framing = Framing.from_json(config)
            return load_task(config["checkpoint"], config["data"], framing, str(self.device), options)

        try:
            return load_what_can_be(load, run_networks(config, self.networks))
        except UserError as error:
            self.notes.append(f"{self.label}: no pictures, and nothing of the originals: {error}")
            return None

    @cached_property
    def compact(self) -> dict[str, nn.Module]:
        """The compact generators, if there are any yet."""
        if not self.summary:
            return {}
        try:
            options = run_networks(self.config, self.networks)
            return load_pair(self.directory, self.device, self.sides, options)
        except UserError as error:
            self.notes.append(f"{self.label}: no compact generators: {error}")
            return {}

    @cached_property
    def titles(self) -> dict[str, str]:
        """The directions in words."""
        data = self.config["data"]
        known = TITLES if data is None or are_default(Path(data)) else {}
        return {name: f"{name}: {known[name]}" if name in known else name for name in self.sides}

    @property
    def samples(self) -> dict[str, Samples]:
        """Figures per image, of the sides whose images were measured."""
        evaluated = self.directory.exists(SUMMARY)
        return {
            side: Samples(found.figures[0], found.figures[self.place], found.total if evaluated else len(found.names))
            for side, found in self.measured.items()
        }

    def content(self) -> Run:
        """Return what the page shows of it."""
        figures = self._figures()
        quality = quality_rows(figures, self.samples) if all("metrics" in each for each in figures.values()) else []
        sides = [
            Side(name, self.titles[name], headline(figures.get(name, {})), verdict(quality, number),
                 self._silhouette(name))
            for number, name in enumerate(self.sides)
        ]  # fmt: skip
        fronts = read_fronts(self.directory) if self.directory.exists(FRONT) else {}
        label = SIZE_LABELS.get(self.settings.fitness.cost, f"size ({self.settings.fitness.cost})")
        charts = {name: front_chart(name, self.titles.get(name, name), each, label) for name, each in fronts.items()}
        numbers = " ".join(f"{{{name}}}" if name in fronts else "0" for name in SIDES)
        return Run(
            self.label, self.state, sides, cost_rows(figures), quality, self._quality_note(),
            search_curve(self.log, self.titles), charts,
            f"ganprune pick {shlex.quote(self.label)} --index {numbers}" if fronts else "",
            settings_table(self.settings), self._facts(), command_line(self.config, self.settings, self.label),
        )  # fmt: skip

    def _figures(self) -> dict[str, Any]:
        """Return the figures of each side: the summary's, or the means over the images measured here."""
        found = {}
        for name in self.sides:
            figures = dict(self.summary.get("sides", {}).get(name, {}))
            if "parameters" not in figures and name in self.compact and self.task:
                original = self.task.cyclegan[name].generator
                figures |= size_figures(original, self.compact[name], self.task.images.size)
            if "metrics" not in figures and (sample := self.samples.get(name)):
                figures["metrics"] = {"original": figures_of(sample.original), "compact": figures_of(sample.compact)}
            found[name] = figures
        return found

    def _quality_note(self) -> str:
        found = next(iter(self.measured.values()), None)
        if found is None:
            return "No intervals: the images could not be measured again."
        of = "all" if len(found.names) == found.total else f"{len(found.names)} of the"
        return (
            f"Small: the 95 % interval of a mean over the test images, a bootstrap of {of} {found.total}; that of a "
            "difference is paired, image by image. Better and worse: it leaves 0 out; for KID, the difference is above "
            "both deviations together. Picture error, patch and Frechet's distance have none: they are of sets."
        )

    def _silhouette(self, side: str) -> Silhouette | None:
        """Return how wide the layers are, of the compact generator or of the search's elite so far."""
        if self.task is None:
            return None
        network = self.task.cyclegan[side].generator
        original = {name: layer.out_channels for name, layer in convolutions(network).items()}
        if side in self.compact:
            kept = {name: layer.out_channels for name, layer in convolutions(self.compact[side]).items()}
        else:
            elites = [line["elite"] for line in self.log if line.get("side") == side]
            if not elites:
                return None
            space = FilterSpace(
                copied(network).cpu(), encoding=self.settings.scoring.encoding, size=self.task.images.size
            )
            kept = {name: outputs for name, (_, outputs) in space.widths(unpack_bits(elites[-1])).items()}
        return silhouette(original, kept) if original.keys() == kept.keys() else None

    def _facts(self) -> list[tuple[str, str]]:
        """Return versions, seeds and counts."""
        known = {**{name: self.config.get(name) for name in ("command", "ganprune", "torch")}, "seed": None}
        known["precision"] = self.settings.precision
        known |= {name: self.summary[name] for name in FACTS if name in self.summary}
        known |= {"seed": self.settings.seed, "device": self.config["device"], "threads": self.config["threads"]}
        known |= {name: self.config.get(name) for name in ("checkpoint", "data", "size", "data_sha256")}
        known["checkpoint_sha256"] = self.config.get("checkpoint_sha256")
        known |= {f"{name} images": count for name, count in self.summary.get("images", {}).items()}
        facts = [
            (name, f"{value:.1f}" if isinstance(value, float) else str(value)) for name, value in known.items()
            if value is not None
        ]  # fmt: skip
        if "finetune" in self.summary:
            text = "the fine-tune diverged at step {diverged_at}: the weights of step {weights_of} were kept"
            facts.append(("note", text.format(**self.summary["finetune"])))
        notes = dict.fromkeys(str(line["note"]) for line in self.log if "note" in line)
        return facts + [("note", note) for note in list(notes)[:NOTES]]
