"""Which file of a folder holds which network.

Known layouts differ in who judges whom: in ``latest_net_D_A.pth``, D_A judges the output of G_A, which is domain B; in
``netD_B.pth``, netD_B judges the output of netG_A2B. Any part may be missing but for one generator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ganprune.errors import UserError

Place = tuple[str, str]  # side, "generator" or "discriminator"
LATEST = "latest"
SUFFIXES = (".safetensors", ".pth", ".pt")  # of two files of one network, the first kind is read
CONFIG_NAME, WEIGHTS_NAME = "cyclegan.json", "cyclegan.safetensors"

# Layout -> which network -> file name without its ending. The last one is that of a single direction.
LAYOUTS: dict[str, dict[Place, str]] = {
    "latest_net_G_A": {
        ("A2B", "generator"): "{epoch}_net_G_A", ("A2B", "discriminator"): "{epoch}_net_D_A",
        ("B2A", "generator"): "{epoch}_net_G_B", ("B2A", "discriminator"): "{epoch}_net_D_B",
    },
    "netG_A2B": {
        ("A2B", "generator"): "netG_A2B", ("A2B", "discriminator"): "netD_B",
        ("B2A", "generator"): "netG_B2A", ("B2A", "discriminator"): "netD_A",
    },
    "latest_net_G": {("A2B", "generator"): "{epoch}_net_G", ("A2B", "discriminator"): "{epoch}_net_D"},
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """What was found.

    Attributes:
        name: of :data:`LAYOUTS`, or "one file".
        files: which network -> file; a discriminator only where its generator is.
        notes: what is missing or left out, a line each.
    """

    name: str
    files: Mapping[Place, Path]
    notes: tuple[str, ...]


def find_layout(path: Path, epoch: str | None = None) -> Layout:
    """Recognise a folder's layout, or a single file of weights.

    Args:
        path: the folder or file.
        epoch: of ``EPOCH_net_G_A.pth``; None for "latest".

    Raises:
        UserError: nothing known is there, or not of that epoch; the message lists the epochs that are.
    """
    if path.is_file():
        return _single(path, epoch)
    for name, stems in LAYOUTS.items():
        dated = any("{epoch}" in stem for stem in stems.values())
        found = {place: _existing(path, stem.format(epoch=epoch or LATEST)) for place, stem in stems.items()}
        files = {place: file for place, file in found.items() if file is not None}
        if any(part == "generator" for _, part in files):
            if epoch is not None and not dated:
                _refuse_epoch(epoch, f"{path} (layout {name})")
            return _complete(path, name, files, epoch or LATEST)
    _refuse(path, epoch)
    raise AssertionError


def _existing(folder: Path, stem: str) -> Path | None:
    return next((file for suffix in SUFFIXES if (file := folder / (stem + suffix)).is_file()), None)


def _complete(folder: Path, name: str, files: Mapping[Place, Path], epoch: str) -> Layout:
    """Leave out discriminators without a generator, and say what is not there."""
    sides = {side for side, part in files if part == "generator"}
    kept = {place: file for place, file in files.items() if place[0] in sides}
    notes = [f"{file.name} is left out: its generator is not there" for p, file in files.items() if p not in kept]
    for place, stem in LAYOUTS[name].items():
        if place not in files:
            lost = "no cycle term" if place[1] == "generator" else f"{place[0]} has no judge: L_GenA instead of L_DisA"
            notes.append(f"{stem.format(epoch=epoch)} is not in {folder}: {lost}")
    return Layout(name, kept, tuple(notes))


def _single(path: Path, epoch: str | None) -> Layout:
    """Take a file for the generator that its name says; A2B's if it says nothing."""
    if path.suffix not in SUFFIXES:
        raise UserError("checkpoint", str(path), f"a folder, or a file ending in {', '.join(SUFFIXES)}", "Check it.")
    if epoch is not None:
        _refuse_epoch(epoch, f"the file {path}")
    backward = re.fullmatch(r".+_net_G_B|netG_B2A", path.stem)
    side = "B2A" if backward else "A2B"
    note = f"{path.name} is taken for the generator {side}, alone: no judge, so L_GenA, and no cycle term"
    return Layout("one file", {(side, "generator"): path}, (note,))


def epochs(folder: Path) -> list[str]:
    """Return the epochs that a folder has a generator of, "latest" first, then by number."""
    names = {match[1] for file in folder.iterdir() if (match := re.fullmatch(r"(.+)_net_G(_[AB])?", file.stem))}
    return sorted(names, key=lambda name: (name != LATEST, int(name) if name.isdigit() else -1, name))


def _refuse(folder: Path, epoch: str | None) -> None:
    there = epochs(folder)
    if there:
        shown = ", ".join(there)
        found = f"{folder} without epoch {epoch or LATEST}"
        raise UserError("epoch", found, f"one of its epochs: {shown}", f"Give --epoch {there[-1]}.")
    judges = [
        file.name for file in sorted(folder.iterdir()) if re.fullmatch(r"(.+_net_D(_[AB])?|netD_[AB])", file.stem)
    ]
    if judges:
        found = f"{folder} with {', '.join(judges)} only"
        raise UserError("checkpoint", found, "a generator", "Add the generators' files.")
    known = ", ".join([CONFIG_NAME, *(f"{name}.pth" for name in LAYOUTS)])
    raise UserError("checkpoint", f"{folder} (no known files)", f"a folder with one of {known}", "Check --checkpoint.")


def _refuse_epoch(epoch: str, where: str) -> None:
    found = f"{epoch} with {where}"
    raise UserError("epoch", found, "none: only EPOCH_net_G_A.pth has epochs", "Leave out --epoch.")
