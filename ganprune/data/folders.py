"""The folders of a data set: what lies in them, what their files are, and what is to be told of both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ganprune.data.files import Listing, scan, some_images
from ganprune.data.sizes import Framing
from ganprune.data.survey import Found, Survey, find_range, survey
from ganprune.data.values import EACH, WHITE, Values
from ganprune.errors import UserError

ROLES = ("train", "test", "val")


class Folders:
    """The folders trainA, trainB, testA, testB, and valA, valB where they exist.

    Args:
        root: the folder that holds them.
        domains: those that have to be there.

    Attributes:
        files: folder name -> its images, sorted.

    Raises:
        UserError: a folder is missing or empty.
    """

    def __init__(self, root: Path, domains: Sequence[str]):
        self.domains = domains
        self.files: dict[str, list[Path]] = {}
        self._listings: dict[str, Listing] = {}
        for role in ROLES:
            for domain in domains:
                folder = root / (role + domain)
                if folder.is_dir():
                    self._listings[folder.name] = scan(folder)
                    self.files[folder.name] = some_images(self._listings[folder.name], folder)
                elif role != "val":
                    raise missing_folder(root, role, domain)

    @cached_property
    def surveys(self) -> dict[str, Survey]:
        """What the headers of each domain's files say."""
        return {
            domain: survey(path for name, paths in self.files.items() if name[-1] == domain for path in paths)
            for domain in self.domains
        }

    @cached_property
    def ranges(self) -> dict[str, Found]:
        """Return what is black and white in each domain, found on its training images."""
        return {domain: find_range(domain, seen, self.files["train" + domain]) for domain, seen in self.surveys.items()}

    def notes(self, framing: Framing) -> list[str]:
        """Return what is not used, of the folders and of what a user says, and what is used in part, a line each."""
        lines = [line for name, listing in self._listings.items() for line in listing.notes(name)]
        seen = self.surveys.values()
        lines += Survey(pages=sum(each.pages for each in seen), banded=sum(each.banded for each in seen)).notes
        if framing.values not in (None, EACH, Values()) and not self.kinds:
            lines.append("values are not used: the files say themselves what is black and white")
        return lines

    def taken_for(self, framing: Framing) -> list[str]:
        """Return what is inferred of the files where the framing says nothing of it, a line each."""
        lines = []
        if framing.values is None:
            found = {domain: seen for domain, seen in self.ranges.items() if seen.values}
            lines = [f"values of domain {name}: {seen.text} (--values LOW,HIGH)" for name, seen in found.items()]
        elif framing.values == EACH and self.kinds:
            lines = ["values: each file's by itself, as an older version trained on them (--values LOW,HIGH)"]
        transparent = sum(seen.transparent for seen in self.surveys.values())
        if transparent and framing.background is None:
            lines.append(f"background: {WHITE}, behind {transparent} images with transparency (--background)")
        return lines

    @property
    def kinds(self) -> list[str]:
        """The kinds of files that say nothing of what is black and white, one of a domain."""
        return [seen.kind for seen in self.surveys.values() if seen.kind]


def missing_folder(root: Path, role: str, domain: str) -> UserError:
    """Return the message for a missing folder such as ``trainA``, which says what looks like it."""
    name = role + domain
    path = root / name
    for found in _subfolders(root):
        place = found.relative_to(root).as_posix()
        if place.casefold() in {text.casefold() for text in _other_names(role, domain)}:
            remedy = f"Rename or move {place} to {name}, and the others like it."
            return UserError("image folder", f"{path} (missing; there is {place})", "an existing folder", remedy)
        if found.name == name:
            remedy = f"Give --data {found.parent}, if that is meant."
            return UserError("image folder", f"{path} (missing; there is {place})", "an existing folder", remedy)
    if scan(root / role).images:
        halves = f"left halves into {role}A, right ones into {role}B"
        remedy = f"If these are pairs side by side, as pix2pix has them, cut them in two: {halves}."
        return UserError("image folder", f"{path} (missing; there is {role})", "an existing folder", remedy)
    remedy = "Check --data and its folder names."
    if role == "test" and (root / f"train{domain}").is_dir():
        remedy = f"Move some images of train{domain} there: figures are taken on images that nothing was trained on."
    return UserError("image folder", str(path), "an existing folder", remedy)


def _other_names(role: str, domain: str) -> list[str]:
    return [
        f"{role}{domain}", f"{role}_{domain}", f"{role}-{domain}", f"{domain}{role}", f"{domain}_{role}",
        f"{domain}-{role}", f"{role}/{domain}", f"{domain}/{role}", *([domain] if role == "train" else []),
    ]  # fmt: skip


def _subfolders(root: Path) -> list[Path]:
    """Return the folders in a folder and in those, the inner ones first."""
    outer = sorted(path for path in root.iterdir() if path.is_dir())
    return [path for folder in outer for path in sorted(folder.iterdir()) if path.is_dir()] + outer
