"""Which file of a folder holds which network.

Known layouts differ in what they call a discriminator: ``latest_net_D_A.pth`` is that of the output of G_A, which is
domain B; ``netD_B.pth`` is that of the output of netG_A2B. Any part may be missing but for one generator.
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
    notes: list[str]


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
        found = {place: _existing(path, stem.format(epoch=epoch or LATEST)) for place, stem in stems.items()}
        files = {place: file for place, file in found.items() if file is not None}
        if any(part == "generator" for _, part in files):
            if epoch is not None and not any("{epoch}" in stem for stem in stems.values()):
                raise _no_epochs(epoch, f"{path} (layout {name})")
            return _complete(path, name, files, epoch or LATEST)
    raise _unknown(path, epoch)


def _existing(folder: Path, stem: str) -> Path | None:
    return next((file for suffix in SUFFIXES if (file := folder / (stem + suffix)).is_file()), None)


def _complete(folder: Path, name: str, files: Mapping[Place, Path], epoch: str) -> Layout:
    """Leave out discriminators without a generator, and say what is not there."""
    sides = {side for side, part in files if part == "generator"}
    kept = {place: file for place, file in files.items() if place[0] in sides}
    notes = [f"{file.name} is left out: its generator is not there" for p, file in files.items() if p not in kept]
    for (side, part), stem in LAYOUTS[name].items():
        if (side, part) not in files:
            lost = "no cycle term" if part == "generator" else f"{side} has no discriminator: L_GenA instead of L_DisA"
            notes.append(f"{stem.format(epoch=epoch)} is not in {folder}: {lost}")
    return Layout(name, kept, notes)


def _single(path: Path, epoch: str | None) -> Layout:
    """Take a file for the generator that its name says; A2B's if it says nothing."""
    if path.suffix not in SUFFIXES:
        raise UserError("checkpoint", str(path), f"a folder, or a file ending in {', '.join(SUFFIXES)}", "Check it.")
    if epoch is not None:
        raise _no_epochs(epoch, f"the file {path}")
    side = "B2A" if re.fullmatch(r".+_net_G_B|netG_B2A", path.stem) else "A2B"
    note = f"{path.name} is taken for the generator {side}, alone: no discriminator, so L_GenA, and no cycle term"
    return Layout("one file", {(side, "generator"): path}, [note])


def _unknown(folder: Path, epoch: str | None) -> UserError:
    """Return the error for a folder without a known generator, or not of that epoch."""
    files = sorted(folder.iterdir())
    epochs = {match[1] for file in files if (match := re.fullmatch(r"(.+)_net_G(_[AB])?", file.stem))}
    if epochs:
        there = sorted(epochs, key=lambda name: (name != LATEST, int(name) if name.isdigit() else -1, name))
        found, expected = f"{folder} without epoch {epoch or LATEST}", f"one of its epochs: {', '.join(there)}"
        return UserError("epoch", found, expected, f"Give --epoch {there[-1]}.")
    discriminators = [file.name for file in files if re.fullmatch(r"(.+_net_D(_[AB])?|netD_[AB])", file.stem)]
    if discriminators:
        found = f"{folder} with {', '.join(discriminators)} only"
        return UserError("checkpoint", found, "a generator", "Add the generators' files.")
    known = ", ".join([CONFIG_NAME, *(f"{name}.pth" for name in LAYOUTS)])
    return UserError("checkpoint", f"{folder} (no known files)", f"a folder with one of {known}", "Check --checkpoint.")


def _no_epochs(epoch: str, where: str) -> UserError:
    found = f"{epoch} with {where}"
    return UserError("epoch", found, "none: only EPOCH_net_G_A.pth has epochs", "Leave out --epoch.")
