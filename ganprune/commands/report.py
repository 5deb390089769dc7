"""What ``ganprune report`` does: one HTML file that shows what runs gave and cost, and runs their generators."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune import __version__
from ganprune.assets import are_default
from ganprune.data.sizes import Framing
from ganprune.data.values import WHITE
from ganprune.device import resolve_device, set_threads
from ganprune.errors import UserError
from ganprune.evolution.individual import unpack_bits
from ganprune.filters.layers import convolutions
from ganprune.filters.space import FilterSpace
from ganprune.metrics.evaluate import size_figures
from ganprune.models.copying import copied
from ganprune.models.options import SIDES, CheckpointOptions
from ganprune.pipeline.config import open_searched, read_config, read_summary, run_networks
from ganprune.pipeline.front import FRONT, SIZE_LABELS, read_fronts
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.results import load_pair
from ganprune.pipeline.task import Task, load_task, load_what_can_be
from ganprune.report.page.again import command_line, settings_table
from ganprune.report.page.charts import Silhouette, front_chart, search_curve, silhouette
from ganprune.report.page.contents import Comparison, Contents, Gallery, Run, Side
from ganprune.report.page.figures import Samples, cost_rows, figures_of, headline, overview, quality_rows, verdict
from ganprune.report.page.measuring import PIXELS, Measured, gallery, measure, sources_of
from ganprune.report.page.networks import as_data
from ganprune.report.page.render import MARK, render
from ganprune.runs.directory import LOGBOOK, SEARCHED, SUMMARY, RunDirectory
from ganprune.runs.files import make_folder, replace
from ganprune.settings.evolve import EvolveSettings

NAME = "report.html"
QUICK = 64 * 64 * 64  # pixels that the page which evolve writes itself is content with: 64 shipped images
IMAGES, PICTURES = 40, 3_000_000  # shown of each direction at most; characters of all their data URIs
TITLES = {"A2B": "colour to ink", "B2A": "ink to colour"}  # of the shipped task
FACTS = ("seed", "generations", "evaluations", "rescores", "cost", "seconds", "seconds_search", "device", "threads")
NOTES = 10  # of a logbook


@dataclass(frozen=True)
class Report:
    """A page that was written.

    Attributes:
        path: of the file.
        size: in bytes.
        notes: what was left out of it, and why.
    """

    path: Path
    size: int
    notes: Sequence[str] = ()


def write_report(
    paths: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    comparisons: Sequence[Comparison] = (),
    with_original: bool = False,
    images: int = IMAGES,
    max_mb: float = 16.0,
    pixels: int = PIXELS,
    networks: CheckpointOptions | None = None,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> Report:
    """Write one HTML file about runs, finished or not.

    Args:
        paths: of the runs.
        out: of the file, a report that was there before is replaced; None for ``report.html`` in the only run.
        comparisons: what else it shows: see :func:`ganprune.compare.page.read_comparison`.
        with_original: whether the original generators run in the page too.
        images: of each direction, at most.
        max_mb: generators that would make the file larger than this many MB (10^6 bytes) are left out.
        pixels: of each direction's test images that are translated, at most, to know which changed most; but 12 images.
        networks: the factories that the runs were begun with.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads.
        reporter: whom to tell how far it is.

    Raises:
        UserError: there is no such run, its files are damaged, or ``out`` can't be written or is no report.
    """
    reporter = reporter or Reporter()
    place = _place(paths, out)
    set_threads(threads)
    where = resolve_device(device)
    records = [_Record.read(path, networks or CheckpointOptions(), where, reporter) for path in paths]
    shown = [*map(str, paths), *(comparison.label for comparison in comparisons)]
    page = _Page(records, images, max_mb, pixels, with_original)
    contents = page.contents(comparisons, shlex.join(_words(shown, place, with_original)))
    text = render(contents)
    replace(place, text)
    for note in contents.notes:
        reporter.note(note)
    return Report(place, len(text.encode()), contents.notes)


def _place(paths: Sequence[str | Path], out: str | Path | None) -> Path:
    """Return where the file goes.

    Raises:
        UserError: nothing says where, or there is something else already.
    """
    if out is None:
        if len(paths) != 1:
            raise UserError("out", "nothing", "where the page goes", "Give --out page.html.")
        return RunDirectory.open(paths[0]).path(NAME)
    place = Path(out)
    if place.is_dir():
        raise UserError("out", f"{place} (a folder)", "a file such as page.html", "Name a file in it.")
    if place.exists():
        with place.open("rb") as file:
            begin = file.read(600)
        if MARK.encode() not in begin:
            raise UserError("out", f"{place} (there already, no report)", "a new file", "Choose another --out.")
    make_folder(place.parent, field="out")
    return place


def _words(paths: Sequence[str], place: Path, with_original: bool) -> list[str]:
    original = ["--with-original"] if with_original else []
    return ["ganprune", "report", *paths, "--out", str(place), *original]


@dataclass
class _Record:
    """What a run's directory holds, and what can be loaded with it."""

    label: str
    directory: RunDirectory
    config: dict[str, Any]
    settings: EvolveSettings
    summary: dict[str, Any]
    state: str
    log: list[dict[str, Any]]
    networks: CheckpointOptions
    device: torch.device
    reporter: Reporter
    notes: list[str] = field(default_factory=list)
    measured: Mapping[str, Measured] = field(default_factory=dict)
    place: int = 1  # among the known of ``measured``; 0 is the original
    galleries: dict[str, int] = field(default_factory=dict)  # number of the one that has its pictures, by side

    @classmethod
    def read(cls, path: str | Path, given: CheckpointOptions, device: torch.device, reporter: Reporter) -> _Record:
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
            str(path), directory, config, settings, summary, state or "", log, given, device, reporter
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
            "both deviations together."
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


@dataclass
class _Page:
    """Puts runs together."""

    records: Sequence[_Record]
    images: int
    max_mb: float
    pixels: int
    with_original: bool

    def contents(self, comparisons: Sequence[Comparison], command: str) -> Contents:
        galleries = self._galleries()
        runs = []
        for record in self.records:
            try:
                runs.append(record.content())
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                found = f"entries that can't be read ({error!r})"
                remedy = "Restore the run's files."
                raise UserError(str(record.directory.directory), found, "those of a run", remedy) from error
        notes = [note for record in self.records for note in record.notes]
        networks = self._networks(galleries, notes)
        labels = [record.label for record in self.records] + [each.label for each in comparisons]
        names = [Path(label).resolve().name for label in labels]
        draws = "B2A" if any(record.titles.get("B2A", "").endswith(TITLES["B2A"]) for record in self.records) else ""
        return Contents(
            " and ".join(names[:3]) + " and more" * (len(names) > 3), __version__, command, runs, comparisons,
            galleries, networks, draws, overview(runs) if len(runs) > 1 else (), notes,
        )  # fmt: skip

    def _galleries(self) -> list[Gallery]:
        """Measure the test images of runs that share them, and return what is shown of them."""
        groups: dict[tuple[str, ...], list[_Record]] = {}
        for record in self.records:
            if record.compact and record.task:
                if set(record.compact) != set(record.task.cyclegan):
                    found, expected = (", ".join(sides) for sides in (record.compact, record.task.cyclegan))
                    raise UserError(
                        str(record.directory.path(SUMMARY)), f"sides {found}", f"{expected}, as its checkpoint has",
                        "Restore the file.",
                    )  # fmt: skip
                groups.setdefault((*record.key, *record.sides), []).append(record)
        galleries: list[Gallery] = []
        count = sum(len(group[0].sides) for group in groups.values())
        for group in groups.values():
            first = group[0]
            assert first.task is not None
            first.reporter.stage(f"translating test images of {', '.join(record.label for record in group)}")
            output = first.settings.fitness.discriminator_output
            compact = [record.compact for record in group]
            found = measure(first.task.cyclegan, compact, first.task.images, output, pixels=self.pixels)
            for place, record in enumerate(group, 1):
                record.measured, record.place = found, place
            variants = ["original"]
            variants += ["compact"] if len(self.records) == 1 else [record.label for record in group]
            for name, each in found.items():
                for record in group:
                    record.galleries[name] = len(galleries)
                galleries.append(
                    gallery(name, first.titles[name], each, variants, most=self.images,
                            budget=PICTURES // count)
                )  # fmt: skip
        return galleries

    def _networks(self, galleries: Sequence[Gallery], notes: list[str]) -> list[dict[str, Any]]:
        """Return the generators that run in the page, as far as they fit; compact ones first."""
        pictures = sum(
            len(each) for shown in galleries for case in shown.cases for each in (case.source, *case.variants)
        )
        left = self.max_mb * 1e6 - 1.3 * pictures - 200_000  # truths, and all text
        wanted = [("compact", record) for record in self.records]
        originals = {record.key: record for record in reversed(self.records)}  # runs of one task have the same
        wanted += [("original", record) for record in originals.values() if self.with_original]
        result: list[dict[str, Any]] = []
        for kind, record in wanted:
            for name in record.sides:
                data = self._network(kind, record, name, notes)
                if data is None:
                    continue
                if len(data["bytes"]) > left:
                    notes.append(
                        f"{record.label}: {kind} {name} does not run in the page, to keep this file below "
                        f"{self.max_mb:g} MB; --max-mb allows more"
                    )
                    continue
                left -= len(data["bytes"])
                result.append(data)
        return result

    def _network(self, kind: str, record: _Record, name: str, notes: list[str]) -> dict[str, Any] | None:
        if kind == "compact":
            network = record.compact.get(name)
        else:
            network = record.task.cyclegan[name].generator if record.task else None
        if network is None:
            return None
        framing = Framing.from_json(record.config)
        assert framing.size is not None
        tests = sources_of(record.task.cyclegan, record.task.images, name, 8) if record.task else None
        try:
            data = as_data(network, tests)
        except UserError as error:
            notes.append(f"{record.label}: {kind} {name} does not run in the page: {error}")
            return None
        return {
            **data, "name": f"{kind} {name} {record.label}", "run": record.label, "direction": name, "kind": kind,
            "title": record.titles[name], "size": list(framing.size), "key": " ".join(record.key),
            "background": framing.background or WHITE, "gallery": record.galleries.get(name),
            "variant": record.place if kind == "compact" else 0,
        }  # fmt: skip
