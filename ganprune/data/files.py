"""Which files of a folder are images, and what of it is left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ganprune.errors import UserError

EXTENSIONS = {
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
}  # fmt: skip
# What file systems, viewers and notebooks put among images.
SYSTEM_FILES = {"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"}
SYSTEM_FOLDERS = {"__macosx", "@eadir"}


class Listing(NamedTuple):
    """What a folder holds.

    Attributes:
        images: image files, sorted: those directly inside, or where there are none, those in its subfolders.
        others: files beside them whose endings are none of images'; not those of file systems.
        below: how many image files in subfolders are left out, since there are some directly inside.
        lost: how many links to images lead nowhere.
    """

    images: list[Path]
    others: list[Path]
    below: int
    lost: int = 0

    def notes(self, name: str) -> list[str]:
        """Return what a user has to be told of it, the folder called ``name``."""
        return [f"{name}: {text}" for text in self.left_out()]

    def left_out(self) -> list[str]:
        """Return what is left out, and why, in words."""
        found = []
        if self.others:
            endings = Counter(path.suffix.lower() or "no ending" for path in self.others)
            most = ", ".join(ending for ending, _ in endings.most_common(4)) + ", ..." * (len(endings) > 4)
            found.append(f"{_count(len(self.others), 'file')} left out for their ending ({most})")
        if self.below:
            found.append(f"{_count(self.below, 'image')} in subfolders left out, since others lie beside these")
        if self.lost:
            found.append(f"{_count(self.lost, 'link')} left out: nothing is where they lead")
        return found


def scan(folder: Path) -> Listing:
    """List a folder; a missing one is empty."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    direct = [path for path in entries if path.is_file()]
    inside = list(_images(direct))
    reached = list(_below(folder, links=not inside))  # only counted else, which is no reason to go elsewhere
    below = sorted(path for path in reached if path.is_file())
    found = inside or list(_images(below))
    beside = direct if inside else [*direct, *below]
    others = [path for path in beside if path.suffix.lower() not in EXTENSIONS and not _of_system(path.name)]
    lost = sum(path.is_symlink() and not path.exists() for path in _images(entries if inside else [*entries, *reached]))
    return Listing(found, others, len(list(_images(below))) if inside else 0, lost)


def list_images(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted: those directly inside or, where there are none, in its subfolders.

    Raises:
        UserError: the folder does not exist or holds no image.
    """
    if not folder.is_dir():
        raise UserError("image folder", str(folder), "an existing folder", "Check --data and its folder names.")
    return some_images(scan(folder), folder)


def some_images(listing: Listing, folder: Path) -> list[Path]:
    """Return a folder's images.

    Raises:
        UserError: there are none.
    """
    if not listing.images:
        kinds = ", ".join(sorted(extension[1:] for extension in EXTENSIONS))
        found = f"{folder} ({'; '.join(['no images', *listing.left_out()])})"
        raise UserError("image folder", found, f"files ending in {kinds}", "Put images into it.")
    return listing.images


def pair_name(name: str, domain: str) -> str:
    """Return what the files of one thing have in common in both domains: ``n/17`` of ``n/17_A.jpg`` and ``n/17_B.png``.

    Args:
        name: of the file, with its subfolders.
        domain: "A" or "B".
    """
    return without_ending(name).removesuffix(f"_{domain}")


def without_ending(name: str) -> str:
    """Return a file's name without its ending, with its subfolders."""
    return str(PurePosixPath(name).with_suffix(""))


def _images(paths: Iterable[Path]) -> Iterator[Path]:
    # macOS keeps what its files have beside their content in ._NAME, with NAME's ending.
    return (path for path in paths if path.suffix.lower() in EXTENSIONS and not path.name.startswith("._"))


def _of_system(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def _below(folder: Path, *, links: bool) -> Iterator[Path]:
    """Yield what lies in subfolders, each folder once whatever links lead to it; not in hidden ones or systems'."""
    seen = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=links):
        entered = []
        for name in sorted(folders):
            real = os.path.realpath(os.path.join(place, name))
            if name.startswith(".") or name.lower() in SYSTEM_FOLDERS or real in seen:
                continue
            seen.add(real)
            entered.append(name)
        folders[:] = entered
        if Path(place) != folder:
            yield from (Path(place, name) for name in names)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
