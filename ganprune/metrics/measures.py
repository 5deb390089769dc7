"""What translations are measured by beside the losses: distances to real images, the truth, a segmenter.

One :class:`Measures` serves all generators of an evaluation, so that what depends on real images only is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ganprune.assets import are_default
from ganprune.data.images import DOMAINS, ImageSet, UnpairedImages
from ganprune.data.pixels import to_rgb
from ganprune.errors import UserError, did_you_mean
from ganprune.metrics.features import CACHE, NONE, Features, cached, make_features
from ganprune.metrics.kid import MIN_IMAGES, kernel_distance
from ganprune.metrics.patches import COARSEST, FEWEST, PatchDistance
from ganprune.metrics.segmentation import Segmentation, load_segmenter
from ganprune.models.cyclegan import SOURCE, TARGET
from ganprune.runs.files import make_folder

ROLES = ("test", "validation")
MOST_REAL = 1000  # images that the patch distance looks at


class Measures:
    """What is measured, on which images.

    Args:
        images: the data.
        role: "test" or "validation".
        features: on which distances to the real images of the target domain are measured; None for none.
        cache: folder that keeps features of real images; None keeps none on disk.
        segmentation: what segments one side's translations.
        sets: whether the patch distance is measured, which only sets of images have.

    Raises:
        UserError: too few images for the distances, label maps that don't fit, or a cache that can't be written.
    """

    def __init__(
        self,
        images: UnpairedImages,
        *,
        role: str = "test",
        features: Features | None = None,
        cache: str | Path | None = None,
        segmentation: Segmentation | None = None,
        sets: bool = True,
    ):
        if role not in ROLES:
            raise UserError("images", role, " or ".join(ROLES), did_you_mean(role, ROLES))
        self.images, self.role, self.features, self.segmentation = images, role, features, segmentation
        self.inked = are_default(images.root)
        for domain in DOMAINS if features else ():
            count = len(self.images_of(domain)) if domain in images.domains else 0
            if count < MIN_IMAGES:
                found, remedy = f"{count} {role} images of domain {domain}", "Add some, or give --features none."
                raise UserError("features", found, f"{MIN_IMAGES} or more to measure distances to", remedy)
        self.cache = None if cache is None else Path(cache)
        if self.cache:
            make_folder(self.cache, field=CACHE)
        self.labels = segmentation.truth(self.images_of(SOURCE[segmentation.side])) if segmentation else None
        self._real_features: dict[str, torch.Tensor] = {}
        self.sets = sets
        self._patches: dict[str, PatchDistance | None] = {}

    def images_of(self, domain: str) -> ImageSet:
        """Return the images of a domain that are measured on."""
        return getattr(self.images[domain], self.role)  # type: ignore[no-any-return]

    def _real(self, domain: str, indices: Sequence[int] | None = None) -> torch.Tensor:
        """Return those images of a domain (default: all) as they are shown: (N, 3, H, W) in [-1, 1]."""
        return self.images.cut(self.images_of(domain).tensor(indices))

    def known(self, side: str, fake: torch.Tensor, device: torch.device) -> dict[str, Any]:
        """Return what metrics can be computed from, beside the images themselves; see :mod:`ganprune.metrics.rows`.

        Args:
            side: "A2B" or "B2A".
            fake: its translations of all its images, (N, C, H, W) in [-1, 1], on the CPU.
            device: where a segmenter runs.
        """
        known: dict[str, Any] = {"picture": fake, "aim": fake}
        if self.sets and len(fake) >= FEWEST and fake.shape[1] in (1, 3) and (distance := self.patches(TARGET[side])):
            known["patch_distance"] = distance(fake)
        if truth := self.truth(side):
            known["paired"], known["truth"] = fake[truth[0]], truth[1]
            known["picture"], known["aim"] = known["paired"], known["truth"]
            if self.inked and TARGET[side] == "B":
                known["true_ink"] = truth[1]
        if self.features:
            known["features"], known["real_features"] = self.features(fake), self.real_features(TARGET[side])
            known["kernel_distance"] = kernel_distance(known["features"], known["real_features"])
        if self.segmentation and self.labels is not None and side == self.segmentation.side:
            known["segmented"] = self.segmentation.scores(to_rgb(fake), self.labels, device)
        return known

    def patches(self, domain: str) -> PatchDistance | None:
        """Return the patch distance to a domain's training images; None where there are too few."""
        if domain not in self._patches:
            count = len(self.images[domain].train) if domain in self.images.domains else 0
            if count < FEWEST or min(self.images.frame) < COARSEST:
                self._patches[domain] = None
            else:
                chosen = range(0, count, -(-count // MOST_REAL))
                self._patches[domain] = PatchDistance(self.images.cut(self.images[domain].train.tensor(chosen)))
        return self._patches[domain]

    def truth(self, side: str) -> tuple[list[int], torch.Tensor] | None:
        """Return the indices of source images whose truth is known, and their true images; None if there are none."""
        pairs = self.images.pairs(self.role)
        if not pairs:
            return None
        sources, targets = zip(*(pair if SOURCE[side] == "A" else pair[::-1] for pair in pairs), strict=True)
        return list(sources), self._real(TARGET[side], targets)

    def real_features(self, domain: str) -> torch.Tensor:
        """Return the features of a domain's real images, (N, width): computed on first use, or kept from before."""
        assert self.features
        if domain not in self._real_features:
            self._real_features[domain] = cached(self.features, self._real(domain), self.cache)
        return self._real_features[domain]


@dataclass(frozen=True)
class Wanted:
    """What is to be measured, as a user says it.

    Attributes:
        images: "test" or "validation".
        features: "inception" or "none"; None is "none".
        inception_weights: file of the weights for "inception"; None to download them.
        features_cache: folder that keeps the features of real images.
        segmenter: TorchScript file or ``package.module:callable``; with ``labels``.
        labels: folder of label maps; see :class:`ganprune.metrics.segmentation.Segmentation`.
        segmented: the side whose output the segmenter knows.
    """

    images: str = "test"
    features: str | None = None
    inception_weights: str | Path | None = None
    features_cache: str | Path | None = None
    segmenter: str | None = None
    labels: str | Path | None = None
    segmented: str = "B2A"

    def measures(self, images: UnpairedImages, device: torch.device | str = "cpu") -> Measures:
        """Return the measures for these images; networks of their own run on ``device``.

        Raises:
            UserError: something wanted can't be had.
        """
        choice, weights, segmentation = self.features or NONE, self.inception_weights, None
        if (self.segmenter is None) != (self.labels is None):
            given, missing = ("segmenter", "labels") if self.labels is None else ("labels", "segmenter")
            raise UserError(missing, "nothing", f"a --{missing} to go with --{given}", "Give both, or neither.")
        if self.segmenter is not None and self.labels is not None:
            segmentation = Segmentation(load_segmenter(self.segmenter, device), Path(self.labels), self.segmented)
        if weights is not None and choice == NONE:
            found, remedy = f"{weights} with --features {choice}", "Give that, or leave the weights out."
            raise UserError("inception weights", found, "--features inception", remedy)
        features = make_features(choice, weights=weights, device=device)
        return Measures(
            images, role=self.images, features=features, cache=self.features_cache, segmentation=segmentation
        )
