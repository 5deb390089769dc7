"""What ``ganprune report`` does: one HTML file that shows what runs gave and cost, and runs their generators."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganprune import __version__
from ganprune.commands.record import TITLES, Record
from ganprune.data.sizes import Framing
from ganprune.data.values import WHITE
from ganprune.device import resolve_device, set_threads
from ganprune.errors import UserError
from ganprune.models.options import CheckpointOptions
from ganprune.pipeline.reporter import Reporter
from ganprune.report.page.contents import Comparison, Contents, Gallery
from ganprune.report.page.figures import overview
from ganprune.report.page.measuring import PIXELS, gallery, measure, sources_of
from ganprune.report.page.networks import as_data
from ganprune.report.page.render import MARK, render
from ganprune.runs.directory import SUMMARY, RunDirectory
from ganprune.runs.files import make_folder, replace

NAME = "report.html"
QUICK = 64 * 64 * 64  # pixels that the page which evolve writes itself is content with: 64 shipped images
IMAGES, PICTURES = 40, 3_000_000  # shown of each direction at most; characters of all their data URIs


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
    records = [Record.read(path, networks or CheckpointOptions(), where) for path in paths]
    shown = [*map(str, paths), *(comparison.label for comparison in comparisons)]
    page = _Page(records, reporter, images, max_mb, pixels, with_original)
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
class _Page:
    """Puts runs together."""

    records: Sequence[Record]
    reporter: Reporter
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

    def _groups(self) -> list[list[Record]]:
        """Return the runs that have pictures, those together that share networks and images."""
        groups: dict[tuple[str, ...], list[Record]] = {}
        for record in self.records:
            if record.compact and record.task:
                own, wanted = (", ".join(sides) for sides in (record.compact, record.task.cyclegan))
                if own != wanted:
                    place, remedy = str(record.directory.path(SUMMARY)), "Restore the file."
                    raise UserError(place, f"sides {own}", f"{wanted}, as its checkpoint has", remedy)
                groups.setdefault((*record.key, *record.sides), []).append(record)
        return list(groups.values())

    def _galleries(self) -> list[Gallery]:
        """Measure the test images of runs that share them, and return what is shown of them."""
        groups, galleries = self._groups(), list[Gallery]()
        count = sum(len(group[0].sides) for group in groups)
        for group in groups:
            first = group[0]
            assert first.task is not None
            self.reporter.stage(f"translating test images of {', '.join(record.label for record in group)}")
            output = first.settings.fitness.discriminator_output
            compact = [record.compact for record in group]
            found = measure(first.task.cyclegan, compact, first.task.images, output, pixels=self.pixels)
            makers = ["compact"] if len(self.records) == 1 else [record.label for record in group]
            for place, record in enumerate(group, 1):
                record.measured, record.place = found, place
                record.galleries = {name: len(galleries) + number for number, name in enumerate(found)}
            for name, each in found.items():
                shown = gallery(
                    name, first.titles[name], each, ["original", *makers], most=self.images, budget=PICTURES // count
                )
                galleries.append(shown)
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

    def _network(self, kind: str, record: Record, name: str, notes: list[str]) -> dict[str, Any] | None:
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
