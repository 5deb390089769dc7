"""What ``ganprune export`` does: generators as files for other programs, each proved to compute the same.

Everything is written into a hidden folder first, read back and run on real images beside PyTorch. Only when all of it
agrees do the files get their names.
"""

from __future__ import annotations

import functools
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune.commands.translate import find_images
from ganprune.data.files import list_images
from ganprune.data.pixels import read_image, to_float, with_channels
from ganprune.data.sizes import Framing, Size, round_up, size_text
from ganprune.data.values import WHITE, Values
from ganprune.deploy.facts import Facts, readme
from ganprune.deploy.fast_form import exported_form
from ganprune.deploy.files import open_onnx, open_program, require_packages, write_onnx, write_program
from ganprune.deploy.plain import write_plain
from ganprune.deploy.speed import speed_figures, speed_lines
from ganprune.device import set_threads
from ganprune.errors import UserError
from ganprune.filters.saving import load_generator, read_description
from ganprune.metrics.evaluate import size_figures
from ganprune.models.architecture import input_channels
from ganprune.models.cyclegan import SOURCE
from ganprune.models.options import CheckpointOptions
from ganprune.models.sizing import size_multiple, translate
from ganprune.pipeline.generators import Trained, load_trained
from ganprune.pipeline.reporter import Reporter
from ganprune.runs.files import make_folder, replacing
from ganprune.settings.export import FORMATS, ExportSettings

README = "README.md"
USES = {
    "onnx": "for onnxruntime and other engines",
    "pt2": "a `torch.export` program: `torch.export.load(path).module()`",
    "json": "architecture, layers and facts of the tensors beside it: `ganprune.load_generator(path)`",
    "safetensors": "its tensors",
    "pth": "the same tensors as a PyTorch state dict: `torch.load(path, weights_only=True)`",
}
BATCH = 8  # images at once in the comparison

Run = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        files: where they are, ``README.md`` last.
        differences: (direction, format) -> largest difference from PyTorch on the real images.
        speed: direction -> what :func:`speed_figures` measured; none where the original is gone or itself exported.
    """

    files: list[Path] = field(default_factory=list)
    differences: dict[tuple[str, str], float] = field(default_factory=dict)
    speed: dict[str, dict[str, Any]] = field(default_factory=dict)


def export_run(
    path: str | Path,
    out: str | Path,
    settings: ExportSettings | None = None,
    *,
    images: Sequence[str | Path] = (),
    networks: CheckpointOptions | None = None,
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> Exported:
    """Export the generators of a finished run, or of a checkpoint.

    Args:
        path: the folder of the run or checkpoint.
        out: folder for the files, which may hold others.
        settings: what, and how.
        images: files, folders and patterns of real images to compare on; none for the run's own test images.
        networks: how a checkpoint is to be read; of a run, only the factories that it was begun with.
        threads: CPU threads.
        reporter: whom to tell how far it is.

    Raises:
        UserError: something given can't be used, a package is missing, a file is in the way, or an export computes
            something else; nothing has been written then.
    """
    settings, reporter, out = settings or ExportSettings(), reporter or Reporter(), Path(out)
    if "onnx" in settings.formats:
        require_packages()
    set_threads(threads)
    trained = load_trained(path, networks=networks)
    if trained.unfinished:
        reporter.note(trained.unfinished)
    work = _Work(trained, settings, images)
    _check_place(out, work.names)
    result = Exported()
    with tempfile.TemporaryDirectory() as folder:
        work.run(Path(folder), result, reporter)
        _place(Path(folder), out, work.names)
    result.files.extend(out / name for name in work.names)
    return result


def _check_place(out: Path, names: Sequence[str]) -> None:
    """Refuse a place where files are in the way, or that can't be written."""
    for name in names:
        if os.path.lexists(out / name):
            remedy = "Choose another --out."
            raise UserError("out", f"{out / name} (there already)", "a folder without these files", remedy)
    nearest = next(place for place in (out, *out.absolute().parents) if os.path.lexists(place))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError("out", str(nearest), "a folder that can be written", "Choose another --out.")


def _place(folder: Path, out: Path, names: Sequence[str]) -> None:
    """Copy files to where they belong; all of them or, if one can't be, none."""
    make_folder(out, field="out")
    placed: list[Path] = []
    try:
        for name in names:
            with replacing(out / name, field="out") as temporary:
                shutil.copyfile(folder / name, temporary)
            placed.append(out / name)
    except BaseException:
        for path in placed:
            path.unlink(missing_ok=True)
        raise


class _Work:
    """Writes and checks the files of all directions and formats.

    Args:
        trained: the generators.
        settings: what is exported, and how it is checked.
        images: real images to compare on; none for the run's own test images.
    """

    def __init__(self, trained: Trained, settings: ExportSettings, images: Sequence[str | Path]):
        self.trained, self.settings = trained, settings
        directions = tuple(dict.fromkeys(settings.directions or trained.generators))
        pruned = {direction: trained.generator(direction) for direction in directions}
        originals = trained.originals() if settings.original else {}
        lost = sorted(set(pruned) - set(originals)) if settings.original else []
        if lost:
            raise UserError(
                "original", f"no {lost[0]} in its checkpoint any more", "the checkpoint of the run", "Restore it."
            )
        self.generators = {name: originals[name] for name in pruned} if settings.original else pruned
        self.multiples = {direction: size_multiple([network]) for direction, network in self.generators.items()}
        self.kind = "compact" if trained.pruned and not settings.original else "original"
        self.framing = Framing(settings.size, None, settings.values, settings.background).over(trained.framing)
        size = self.framing.size
        if size is None:
            found = f"nothing, and {trained.path} records none"
            raise UserError("size", found, "the size that images will have", "Give --size.")
        self.size, given = size, find_images(images) if images else None
        self.images = {d: (given or self._own_images(d))[: settings.check_images] for d in directions}
        self.formats = tuple(dict.fromkeys(settings.formats))
        endings = [ending for name in self.formats for ending in FORMATS[name]]
        self.names = [*(f"{d}.{ending}" for d in directions for ending in endings), README]

    def _own_images(self, direction: str) -> list[Path]:
        remedy = "Give some with --images."
        if self.trained.data is None:
            raise UserError("images", "nothing", "real images to compare on", remedy)
        try:
            return list_images(self.trained.data / f"test{SOURCE[direction]}")
        except UserError as error:
            raise UserError("images", f"{error.value}, the run's own", "real images to compare on", remedy) from error

    def run(self, folder: Path, result: Exported, reporter: Reporter) -> None:
        originals: Mapping[str, nn.Module] = {}
        if self.settings.speed and self.kind == "compact":
            lost = "without the original generators there is no speed-up to measure"
            originals = self.trained.originals_if_there(reporter.stage, lost)
        figures = []
        for direction, generator in self.generators.items():
            count = len(self.images[direction])
            for name in self.formats:
                reporter.stage(f"{direction} as {name}, compared with PyTorch on {count} images")
                difference = result.differences[direction, name] = self._export(direction, name, folder)
                file = f"{direction}.{FORMATS[name][-1]}"
                figures.append(f"`{file}` differs from PyTorch by at most {difference:.1e}, on {count} images")
            if direction in originals:
                reporter.stage(f"{direction}: timing original and compact")
                original, whole = originals[direction], round_up(self.size, self.multiples[direction])
                ratio = size_figures(original, generator, whole)["macs"]["input_size"]["ratio"]
                found = speed_figures(original, generator, whole, ratio, repeats=self.settings.repeats)
                result.speed[direction] = found
                setting = f"{direction}, {size_text(whole)}, batch 1, threads: {found['threads']}"
                figures += [f"{setting}; {line}" for line in speed_lines(found)]
        facts = [self._facts(direction, self.formats[0]) for direction in self.generators]
        uses = {name: USES[name.rpartition(".")[2]] for name in self.names if name != README}
        (folder / README).write_text(readme(facts, uses, figures), encoding="utf-8")

    def _export(self, direction: str, name: str, folder: Path) -> float:
        """Write one generator in one format and return its largest difference from PyTorch on real images."""
        facts, multiple = self._facts(direction, name), self.multiples[direction]
        run = self._write(direction, name, folder / direction, facts)
        sizes = [self.size]
        if facts.multiple is not None:  # it has to hold at other sizes too
            height, width = round_up(self.size, multiple)
            sizes = [(height, width), (height + multiple, width + 2 * multiple)]
        difference = max(self._difference(run, direction, size) for size in sizes)
        if not difference <= self.settings.tolerance:
            found = f"a difference of {difference:.2g} from PyTorch"
            remedy = "Nothing was written; another format may do, or a higher --tolerance."
            raise UserError(f"{name} of {direction}", found, f"at most {self.settings.tolerance:g}", remedy)
        return difference

    def _facts(self, direction: str, name: str) -> Facts:
        free = self.multiples[direction] if name == "torch" or self.settings.dynamic_size else None
        return Facts.of(self.generators[direction], direction, self.kind, self.size, free, self.framing)

    def _write(self, direction: str, name: str, stem: Path, facts: Facts) -> Run:
        """Write one generator in one format and return the function that the files hold."""
        generator, multiple = self.generators[direction], self.multiples[direction]
        if name == "torch":
            write_plain(generator, stem, facts, self._description(direction))
            return functools.partial(translate, load_generator(stem), multiple=multiple)
        path = stem.with_name(f"{direction}.{name}")
        form, example = exported_form(generator, facts, multiple, onnx=name == "onnx")
        write, read = (write_onnx, open_onnx) if name == "onnx" else (write_program, open_program)
        write(form, example, path, facts)
        return read(path)

    def _description(self, direction: str) -> dict[str, Any]:
        """Return what the JSON of the run says of a generator; of a checkpoint's there is none."""
        framing = replace(self.framing, size=self.size, load=None, values=self.framing.values or Values())
        if self.kind == "original":
            return {"side": direction, **framing.to_json()}
        description = {**read_description(self.trained.path / direction), **framing.to_json()}
        if self.settings.size is not None:
            description.pop("load_size", None)  # of another size than this one
        return description

    def _difference(self, run: Run, direction: str, size: Size) -> float:
        """Return the largest absolute difference on the real images, one alone first and then several at once."""
        files, generator, largest = self.images[direction], self.generators[direction], 0.0
        values, background = self.framing.range_of(SOURCE[direction]), self.framing.background or WHITE
        read = functools.partial(read_image, values=values, background=background)
        for batch in (files[:1], *(files[start : start + BATCH] for start in range(1, len(files), BATCH))):
            channels = input_channels(generator)
            real = to_float(torch.stack([with_channels(read(file, size), channels) for file in batch]))
            apart = (run(real) - translate(generator, real, self.multiples[direction])).abs().max()
            largest = max(largest, float(apart.nan_to_num(math.inf)))
        return largest
