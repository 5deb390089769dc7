"""Unpaired images on disk: trainA/trainB, testA/testB and, if there, valA/valB.

Files are decoded once and kept as bytes, or as float32 where they hold more than 8 bits; batches are float tensors in
[-1, 1]. Which values of files are black and white is the same for all images of a domain. Scoring uses fixed batches
without augmentation. Images have any size: what the networks can't take is mirrored up to what they can, at the right
and at the bottom, and results are cut back.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from ganprune.data.files import pair_name
from ganprune.data.folders import Folders
from ganprune.data.kinds import FULL
from ganprune.data.pixels import CHANNELS, cut, mirror_up, open_image, read_image, to_float, with_channels
from ganprune.data.sizes import STRIDE, Framing, Size, read_size, round_up, size_text
from ganprune.data.values import EACH, WHITE, Values
from ganprune.errors import UserError

DOMAINS = ("A", "B")
MOST_BY_DEFAULT = 256
CALIBRATION_IMAGES = 32


class ImageSet(Sequence[torch.Tensor]):
    """Image files at one size, decoded on first use and kept at levels from 0 to 255.

    Args:
        paths: image files.
        size: side length in pixels, (height, width), or a framing with a size.
        multiple: both sides of the tensors are multiples of this: (H, W) is ``size`` rounded up, and mirrored up.
        channels: C: 3, or 1 for greyscale.
        domain: "A" or "B", whose values are meant.
        root: the folder of the data set, in which the files lie in a folder of their role; None where there is none.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: int | Size | Framing,
        multiple: int = STRIDE,
        *,
        channels: int = 3,
        domain: str = "A",
        root: Path | None = None,
    ):
        self.paths, self.multiple, self.channels = list(paths), multiple, channels
        self.domain, self.root, self.framing = domain, root, Framing.of(size)
        assert self.framing.size is not None
        self.frame = self.framing.size
        self._decoded: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:  # type: ignore[override]
        """Return image ``index``: (C, H, W), levels from 0 to 255, uint8 or float32; of a larger one the middle."""
        image = self._load(index)
        return self._framed(image, *(spare // 2 for spare in self._spare(image)))

    def _load(self, index: int) -> torch.Tensor:
        """Return image ``index`` at the size that ours is cut out of."""
        if index not in self._decoded:
            load = self.framing.load or self.frame
            values, background = self.framing.range_of(self.domain), self.framing.background or WHITE
            size = None if isinstance(load, str) else load
            image = read_image(self.paths[index], size, values=values, background=background)
            if min(self._spare(image)) < 0:
                found = f"{self.paths[index]} ({size_text((image.shape[1], image.shape[2]))})"
                expected = f"at least the crop, {size_text(self.frame)}"
                raise UserError("image", found, expected, "Lower --crop, or give --load-size.")
            self._decoded[index] = with_channels(image, self.channels)
        return self._decoded[index]

    def _spare(self, image: torch.Tensor) -> tuple[int, int]:
        """How much higher and wider the image is than what is cut out of it."""
        return image.shape[1] - self.frame[0], image.shape[2] - self.frame[1]

    def _framed(self, image: torch.Tensor, top: int, left: int) -> torch.Tensor:
        height, width = self.frame
        part = image[:, top : top + height, left : left + width]
        return mirror_up(part, round_up(self.frame, self.multiple))

    def tensor(self, indices: Sequence[int] | None = None) -> torch.Tensor:
        """Return those images (default: all) as (N, C, H, W) float32 in [-1, 1]."""
        indices = range(len(self)) if indices is None else indices
        return to_float(torch.stack([self[index] for index in indices]))

    def read_all(self) -> None:
        """Decode every image now."""
        for index in range(len(self)):
            self[index]

    def training_tensor(self, indices: Sequence[int], draw: torch.Generator) -> torch.Tensor:
        """Return those images as :meth:`tensor` does, but of larger ones each a part at a place of its own."""
        if self.framing.load is None:
            return self.tensor(indices)
        parts = []
        for image in map(self._load, indices):
            places = (int(torch.randint(0, spare + 1, (), generator=draw)) for spare in self._spare(image))
            parts.append(self._framed(image, *places))
        return to_float(torch.stack(parts))

    def with_paths(self, paths: Sequence[Path]) -> ImageSet:
        """Return a set of other files, at the same size."""
        return ImageSet(paths, self.framing, self.multiple, channels=self.channels, domain=self.domain, root=self.root)

    def name(self, path: Path) -> str:
        """Return a file's name, with the subfolders of its role's folder that it lies in."""
        return path.name if self.root is None else "/".join(path.relative_to(self.root).parts[1:])


@dataclass(frozen=True)
class Split:
    """The images of one domain by role: calibration is inside training, validation never is."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet


class UnpairedImages:
    """Two domains of images: folders trainA, trainB, testA, testB, and valA, valB where they exist.

    Images lie directly in these or, where none does, in subfolders. In files of more than 8 bits, black and white are
    what ``size.values`` says, or else what is found on the domain's training images; never one file's own.

    Without validation folders, min(100, 10 %) of the sorted training files of each domain are set aside for it. Test
    images are never used to choose anything.

    Args:
        root: the folder that holds those folders.
        size: side length in pixels, (height, width), or how images come to one size. Default: the first training
            image's shorter side, both ways, at most 256.
        multiple: what the networks need both sides to be multiples of; tensors are mirrored up to that.
        channels: of each domain's images, 3 or 1; see ``domain_channels``. Default: 3 for both.
        needed: the domains that have to be there; another one is left out where its folders are missing, or its images
            would have other channels than files can hold.

    Attributes:
        given: the framing that was asked for.
        framing: how files become images: the same, with nothing left open.
        frame: (height, width) of what is translated, scored and shown.
        size: (height, width) of the tensors: ``frame``, rounded up to ``multiple``.

    Raises:
        UserError: a folder is missing or empty, no size can be that, or nothing says what is black and white.
    """

    def __init__(
        self,
        root: str | Path,
        size: int | Size | Framing | None = None,
        *,
        multiple: int = STRIDE,
        channels: Mapping[str, int] | None = None,
        needed: Sequence[str] = DOMAINS,
    ):
        self.root = Path(root)
        self.channels = {domain: (channels or {}).get(domain, 3) for domain in DOMAINS}
        domains = [domain for domain in DOMAINS if domain in needed or self._complete(domain)]
        if not self.root.is_dir():
            raise UserError("data", str(root), "a folder with trainA, trainB, testA, testB", "Check --data.")
        for domain in domains:
            if self.channels[domain] not in CHANNELS:
                found = f"domain {domain} with {self.channels[domain]} channels"
                raise UserError("images", found, "1 or 3", "Images of files have no others: use another generator.")
        self.folders = Folders(self.root, domains)
        files = self.folders.files
        self.given = framing = Framing.of(size)
        if framing.size is None:
            shorter = min(open_image(files["train" + domains[0]][0], values=FULL).size)
            framing = replace(framing, size=read_size(min(shorter, MOST_BY_DEFAULT)))
        if framing.values == EACH and not self.folders.kinds:
            framing = replace(framing, values=Values())
        elif framing.values is None:
            ranges = {domain: found.values for domain, found in self.folders.ranges.items()}
            framing = replace(framing, values=Values(**ranges))
        self.framing = replace(framing, background=framing.background or WHITE)
        self.frame, self.multiple = cast(Size, framing.size), multiple
        self.size = round_up(self.frame, multiple)
        self.domains = {domain: self._split(domain, files) for domain in domains}

    def _complete(self, domain: str) -> bool:
        """Whether a domain that need not be there is."""
        folders = [self.root / (role + domain) for role in ("train", "test")]
        return self.channels[domain] in CHANNELS and all(folder.is_dir() for folder in folders)

    def _split(self, domain: str, files: dict[str, list[Path]]) -> Split:
        train = files["train" + domain]
        if "val" + domain in files:
            validation = files["val" + domain]
        else:
            count = min(100, len(train) // 10)
            if count < 1:
                found, remedy = f"{len(train)} images", f"Add images, or a folder val{domain}."
                raise UserError(f"train{domain}", found, "at least 10, or a val folder", remedy)
            step = len(train) / count
            chosen = {int(index * step) for index in range(count)}  # spread over the sorted names
            validation = [path for index, path in enumerate(train) if index in chosen]
            train = [path for index, path in enumerate(train) if index not in chosen]
        images = ImageSet(
            train, self.framing, self.multiple, channels=self.channels[domain], domain=domain, root=self.root
        )
        return Split(images, images.with_paths(validation), images.with_paths(files["test" + domain]))

    def __getitem__(self, domain: str) -> Split:
        return self.domains[domain]

    @property
    def size_note(self) -> str | None:
        """What to tell a user of a size that the networks can't take as it is; None if they can."""
        if self.frame == self.size:
            return None
        asked, used = size_text(self.frame), size_text(self.size)
        return f"image size {asked} is no multiple of {self.multiple}: mirrored up to {used}, results are cut back"

    @property
    def taken_for(self) -> list[str]:
        """What was inferred, and might be otherwise: "what: value (option that says otherwise)", a line each."""
        lines = self.folders.taken_for(self.given)
        paired = {role: len(self.pairs(role)) for role in ("test", "validation")}
        if any(paired.values()):
            counted = ", ".join(f"{count} of {role}" for role, count in paired.items() if count)
            lines.append(f"pairs, by equal names: {counted} (--no-pairs)")
        return lines

    @property
    def notes(self) -> list[str]:
        """What of the folders is not used, and what is used in part, a line each."""
        return self.folders.notes(self.given)

    def cut(self, images: torch.Tensor) -> torch.Tensor:
        """Return (..., H, W) tensors of :attr:`size` at the size of :attr:`frame`, without what was mirrored."""
        return cut(images, self.frame)

    def read_all(self) -> None:
        """Decode every image now, so that a damaged one is found before long work begins.

        Raises:
            UserError: an image is damaged or truncated; it is named.
        """
        for images in self.sets().values():
            images.read_all()

    def whole_training(self) -> dict[str, Split]:
        """Return the splits with set-aside validation images put back into training, for a final fine-tune."""
        whole = {}
        for domain, split in self.domains.items():
            set_aside = not (self.root / ("val" + domain)).is_dir()
            paths = sorted(split.train.paths + split.validation.paths)
            whole[domain] = replace(split, train=split.train.with_paths(paths)) if set_aside else split
        return whole

    def calibration(self, domain: str, count: int = CALIBRATION_IMAGES) -> torch.Tensor:
        """Return the first ``count`` training images: (N, C, H, W) in [-1, 1]."""
        train = self[domain].train
        return train.tensor(range(min(count, len(train))))

    def tuning(self, domain: str, seed: int, share: float = 0.1) -> ImageSet:
        """Return the seeded ``share`` of the training images after the calibration ones (the paper's 10 %)."""
        train = self[domain].train
        rest = list(range(min(CALIBRATION_IMAGES, len(train) // 2), len(train)))
        count = max(1, round(share * len(train)))
        chosen = random.Random(f"{seed}:{domain}").sample(rest, min(count, len(rest)))
        return train.with_paths([train.paths[index] for index in sorted(chosen)])

    def pairs(self, role: str) -> list[tuple[int, int]]:
        """Return indices (in A, in B) of images of the same thing: files of the same name in both domains.

        Names are compared with their subfolders, without their ending and without ``_A`` or ``_B`` before it. There
        are none where the framing says so.

        Args:
            role: "train", "validation" or "test".
        """
        if len(self.domains) < len(DOMAINS) or self.framing.pairs is False:
            return []
        sets = {domain: getattr(self[domain], role) for domain in DOMAINS}
        names = {
            domain: [pair_name(images.name(path), domain) for path in images.paths] for domain, images in sets.items()
        }
        other = {name: index for index, name in enumerate(names["B"])}
        return [(index, other[name]) for index, name in enumerate(names["A"]) if name in other]

    def digest(self) -> str:
        """Return a SHA-256 over all images as they are used, and their names: other data give another one."""
        digest = hashlib.sha256()
        for images in self.sets().values():
            for index, path in enumerate(images.paths):
                digest.update(os.fsencode(images.name(path)))
                digest.update(images[index].numpy().tobytes())
        return digest.hexdigest()

    def sets(self) -> dict[str, ImageSet]:
        """Return the images by role and domain: "trainA", "validationA", "testA", "trainB" ..."""
        roles = ("train", "validation", "test")
        return {role + domain: getattr(split, role) for domain, split in self.domains.items() for role in roles}

    def counts(self) -> dict[str, int]:
        """Number of images by role and domain, for a run's summary."""
        return {name: len(images) for name, images in self.sets().items()}
