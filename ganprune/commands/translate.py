"""What ``ganprune translate`` does: image files through a generator, into a folder.

Files that can't be read are left out and told at the end; everything else that is wrong is found before anything is
read or written. No input is ever overwritten.
"""

from __future__ import annotations

import functools
import glob
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import nn

from ganprune.data import pixels
from ganprune.data.files import EXTENSIONS, list_images, scan
from ganprune.data.kinds import as_bytes
from ganprune.data.sizes import Framing, Size, size_text
from ganprune.data.survey import survey
from ganprune.data.values import WHITE
from ganprune.device import resolve_device, set_threads
from ganprune.errors import UserError
from ganprune.models.architecture import input_channels, least_side
from ganprune.models.cyclegan import SOURCE
from ganprune.models.options import CheckpointOptions
from ganprune.models.sizing import size_multiple, translate
from ganprune.pipeline.generators import Trained, load_trained
from ganprune.pipeline.reporter import Reporter
from ganprune.report.figures import BACKGROUND, GAP
from ganprune.runs.files import make_folder, replacing
from ganprune.settings.translate import TranslateSettings


@dataclass(frozen=True)
class Translated:
    """What came of it: the files written, and what was left out, with its reason."""

    written: list[Path] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def translate_files(
    path: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    settings: TranslateSettings | None = None,
    *,
    direction: str,
    networks: CheckpointOptions | None = None,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> Translated:
    """Translate image files with a generator of a run, an export or a checkpoint.

    Args:
        path: the folder of the run, export or checkpoint.
        images: files, folders and patterns such as ``"photos/*.jpg"``.
        out: folder for the results, made if it is missing; ``NAME.png`` for each image.
        settings: how.
        direction: "A2B" or "B2A".
        networks: how a checkpoint is to be read; of a run, only the factories that it was begun with.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads.
        reporter: whom to tell how far it is.

    Raises:
        UserError: there is no such generator, image or size, or a file is in the way; nothing has been written then.
    """
    settings, reporter = settings or TranslateSettings(), reporter or Reporter()
    target = resolve_device(device)
    set_threads(threads)
    files = find_images(images)
    targets = [Path(out) / name for name in name_outputs(files)]
    _check_targets(files, targets, settings.overwrite)
    trained = load_trained(path, networks=networks, device=target)
    if trained.unfinished:
        reporter.note(trained.unfinished)
    shown_by = _networks(trained, direction, settings, target, reporter)
    size = _size(trained, settings)
    framing = Framing(values=settings.values, background=settings.background).over(trained.framing)
    values = framing.range_of(SOURCE[direction])
    seen = survey(files)
    if values is None and seen.kind:
        raise pixels.unknown_values(seen.measured, seen.kind)
    for note in [*folder_notes(images), *seen.notes]:
        reporter.note(note)
    make_folder(Path(out), field="out")
    shown = "at their own sizes" if size is None else f"at {size_text(size)}"
    reporter.stage(f"translating {len(files)} image{'s' * (len(files) > 1)} {direction} {shown}", len(files))
    read = functools.partial(pixels.open_image, values=values, background=framing.background or WHITE)
    return _Work(shown_by, size, settings, read).run(list(zip(files, targets, strict=True)), reporter.images)


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """Return the image files that files, folders and patterns stand for, each once, in their order.

    Raises:
        UserError: one of them stands for nothing.
    """
    found: dict[Path, Path] = {}  # resolved path -> path as it was given
    for text in paths:
        path = Path(text)
        if path.is_dir():
            files = list_images(path)
        elif path.exists():
            files = [path]
        else:
            matches = map(Path, sorted(glob.glob(str(text), recursive=True)))
            files = [p for p in matches if p.is_file() and p.suffix.lower() in EXTENSIONS]
        if not files:
            raise UserError("image", str(text), "a file, a folder of images or a pattern", "Check the path.")
        for file in files:
            found.setdefault(file.resolve(), file)
    if not found:
        raise UserError("images", "none", "files, folders or patterns", "Name some.")
    return list(found.values())


def folder_notes(paths: Sequence[str | Path]) -> list[str]:
    """Return what is left out of those of the paths that are folders, a line each."""
    return [note for path in map(Path, paths) if path.is_dir() for note in scan(path).notes(str(path))]


def name_outputs(files: Sequence[Path]) -> list[Path]:
    """Return each file's name below the output folder: ``NAME.png``.

    Files of one name keep their folders, from where these differ; files that only differ in their suffix keep that too.
    """
    names = [Path(file.stem + ".png") for file in files]
    again = _repeated(names)
    if again:
        common = os.path.commonpath([files[index].resolve().parent for index in again])
        for index in again:
            names[index] = files[index].resolve().relative_to(common).with_name(names[index].name)
    for index in _repeated(names):
        names[index] = names[index].with_name(files[index].name + ".png")
    return names


def _repeated(names: Sequence[Path]) -> list[int]:
    """Return the indices of names that occur more than once, whatever their case."""
    folded = [str(name).casefold() for name in names]
    counts = Counter(folded)
    return [index for index, name in enumerate(folded) if counts[name] > 1]


def _check_targets(files: Sequence[Path], targets: Sequence[Path], overwrite: bool) -> None:
    inputs = {file.resolve() for file in files}
    for target in targets:
        if target.resolve() in inputs:
            raise UserError("out", f"{target}, which is an input", "a folder of its own", "Choose another --out.")
    present = [target for target in targets if os.path.lexists(target)]
    if present and not overwrite:
        others = f" and {len(present) - 1} more" * (len(present) > 1)
        found, remedy = f"{present[0]}{others} (there already)", "Choose another --out, or replace them: --overwrite."
        raise UserError("out", found, "a folder without these files", remedy)
    if folder := next((target for target in present if target.is_dir()), None):
        raise UserError("out", f"{folder} (a folder)", "a place for a file", "Choose another --out.")


def _networks(
    trained: Trained, direction: str, settings: TranslateSettings, device: torch.device, reporter: Reporter
) -> list[nn.Module]:
    """Return the generators whose translations are shown, ours last."""
    own = trained.generator(direction)
    if settings.original:
        return [trained.originals(device)[direction]]
    lost = "strips without the original generator"
    originals = trained.originals_if_there(reporter.stage, lost, device) if settings.strips else {}
    return [originals[direction], own] if direction in originals else [own]


def _size(trained: Trained, settings: TranslateSettings) -> Size | None:
    """Return the size that images are translated at; None for their own."""
    if settings.native or settings.size is not None:
        return settings.size
    if trained.framing is None:
        found = f"nothing, and {trained.path} records none"
        raise UserError("size", found, "a size to translate at", "Give --size, or --native.")
    load = trained.framing.load  # what was cut out of larger images has their scale
    return None if isinstance(load, str) else load or trained.framing.size


class _Job(NamedTuple):
    source: Path
    target: Path
    image: Image.Image  # as it is, decoded
    sized: Image.Image  # as it is translated


class _Work:
    """Reads, translates and writes, a batch of images of one size at a time.

    Args:
        networks: generators, ours last.
        size: that images are resized to; None for their own.
        settings: how.
        read: decodes an image file.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        size: Size | None,
        settings: TranslateSettings,
        read: Callable[[Path], Image.Image],
    ):
        self.networks, self.size, self.settings, self.open = networks, size, settings, read
        self.multiples = [size_multiple([network]) for network in networks]
        self.channels = input_channels(networks[-1])
        self.least = max(map(least_side, networks))
        self.done = Translated()

    def run(self, files: Sequence[tuple[Path, Path]], report: Callable[[int, int], Any] | None) -> Translated:
        for _, jobs in itertools.groupby(self._read(files), lambda job: job.sized.size):
            while batch := list(itertools.islice(jobs, self.settings.batch)):
                self._translate(batch)
                if report:
                    report(len(self.done.written) + len(self.done.skipped), len(files))
        return self.done

    def _read(self, files: Sequence[tuple[Path, Path]]) -> Iterator[_Job]:
        """Yield the images; skip what can't be read."""
        for source, target in files:
            try:
                image = self.open(source)
            except UserError as error:
                self.done.skipped.append(str(error.value))
                continue
            sized = image if self.size is None else pixels.resize(image, self.size)
            if min(sized.size) < self.least:
                shown = size_text((sized.height, sized.width))
                self.done.skipped.append(f"{source} ({shown}, smaller than {self.least} pixels: give --size)")
            else:
                yield _Job(source, target, image, sized)

    def _translate(self, batch: list[_Job]) -> None:
        try:
            rgb = (pixels.to_pixels(job.sized) for job in batch)
            images = pixels.to_float(torch.stack([pixels.with_channels(image, self.channels) for image in rgb]))
            pairs = zip(self.networks, self.multiples, strict=True)
            results = [translate(network, images, multiple) for network, multiple in pairs]
        except (RuntimeError, MemoryError) as error:
            if not (isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or "memory" in str(error)):
                raise
            if len(batch) == 1:
                self.done.skipped.append(f"{batch[0].source} (too large for the memory: give --size)")
                return
            for job in batch:
                self._translate([job])
            return
        for index, job in enumerate(batch):
            self._write(job, [pixels.to_pil(result[index]) for result in results])

    def _write(self, job: _Job, results: list[Image.Image]) -> None:
        pictures = [as_bytes(job.sized), *results] if self.settings.strips else results[-1:]
        if self.settings.original_size:
            pictures = [pixels.resize(picture, (job.image.height, job.image.width)) for picture in pictures]
            pictures[0] = as_bytes(job.image) if self.settings.strips else pictures[0]
        make_folder(job.target.parent, field="out")
        with replacing(job.target, field="out") as temporary:
            _side_by_side(pictures).save(temporary, format="PNG")
        self.done.written.append(job.target)


def _side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return pictures of one size beside each other, with gaps between them."""
    width, height = pictures[0].size
    strip = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height), BACKGROUND)
    for index, picture in enumerate(pictures):
        strip.paste(picture, (index * (width + GAP), 0))
    return strip
