"""What is asked of the original during a fine-tune, computed once for images that come round again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

import torch

from ganprune.data.images import ImageSet
from ganprune.device import images_at_once
from ganprune.models.cyclegan import Side
from ganprune.settings.terms import IMAGE, IMAGENET, INSIDE, KEPT, SCORES, SIGHT
from ganprune.settings.training import TrainingSettings
from ganprune.training.augmentation import Batch
from ganprune.training.views import Inside, Onlookers, Views

CHUNK = 16  # images, at most, that are asked for together: always the same, lest a digit depend on which came first
MOST_BYTES = 2**30  # of the answers that are kept
MOST_IMAGES = 256  # that stand for the data set where its moments are taken
BY_COST = (IMAGE, SCORES, KEPT, IMAGENET, SIGHT, INSIDE)  # what is kept first


class Teacher:
    """One side of the original, asked about training images.

    Answers are kept if a training is long enough for every image to come up, mirrored and not: of the views that are
    compared as many as fit into :data:`MOST_BYTES`. The rest is asked for with each batch, once for all terms.

    Args:
        side: the original's.
        images: the training images of its source.
        settings: says how many images a training takes.
        views: those that are compared; what the discriminator can't give is left out.
        inside: which features inside the generator are.
        onlookers: who looks at images.
    """

    def __init__(
        self,
        side: Side,
        images: ImageSet,
        settings: TrainingSettings,
        views: Collection[str],
        inside: Inside,
        onlookers: Onlookers,
    ):
        self.side, self.images, self.inside, self.onlookers = side, images, inside, onlookers
        self.views = set(views) - onlookers.blind
        self.entries = 2 * len(images)  # each may be mirrored
        self.comes_again = self.entries <= settings.total * settings.batch
        self.chunk = min(CHUNK, images_at_once(images.frame, self.device))
        self.kept: dict[tuple[int, bool], Views] = {}

    @property
    def device(self) -> torch.device:
        """Where the original is."""
        return next(self.side.generator.parameters()).device

    @cached_property
    def keeps(self) -> set[str]:
        """The views that are kept: none if the generator has to be asked again anyway."""
        if not self.comes_again or not len(self.images):
            return set()
        answer, room, found = self._ask(self.images.tensor([0]).to(self.device)), MOST_BYTES, set()
        for view in BY_COST:
            size = self.entries * sum(tensor.nbytes for tensor in answer.get(view, []))
            if view in answer and size <= room:
                room -= size
                found.add(view)
        return found if {IMAGE, INSIDE, KEPT} & answer.keys() <= found else set()

    def look(self, images: torch.Tensor) -> Views:
        """Return the views that are compared of images, (B, C, H, W), whoever made them."""
        return self.onlookers.look(images, self.views)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Views:
        """Return what the original makes of a batch, and what is seen in that."""
        if batch.keys is None or not self.keeps:
            return self._ask(batch.images)
        known = self._recall(batch.keys)
        missing = self.views - self.keeps
        return {**known, **self.onlookers.look(known[IMAGE][0], missing)} if missing else known

    @torch.no_grad()
    def of_data_set(self, view: str) -> Iterator[list[torch.Tensor]]:
        """Yield a view of the original's images, of evenly chosen training images, every second mirrored."""
        chosen = range(0, len(self.images), -(-len(self.images) // MOST_IMAGES))
        for start in range(0, len(chosen), self.chunk):
            real = self.images.tensor(chosen[start : start + self.chunk]).to(self.device)
            real[1::2] = real[1::2].flip(-1)
            yield self._ask(real)[view]

    def _ask(self, real: torch.Tensor) -> Views:
        images, inside = self.inside.run(self.side.generator, real, original=True)
        # The image is needed to look at it again, whether it is compared or not.
        return {**inside, **self.onlookers.look(images.float(), self.views | {IMAGE})}

    def _recall(self, keys: Sequence[tuple[int, bool]]) -> Views:
        for key in keys:
            if key not in self.kept:
                self._learn(key[0] // self.chunk * self.chunk, mirrored=key[1])
        answers = [self.kept[key] for key in keys]
        return {
            view: [torch.stack(rows) for rows in zip(*(answer[view] for answer in answers), strict=True)]
            for view in answers[0]
        }

    def _learn(self, first: int, *, mirrored: bool) -> None:
        """Ask about the images of one chunk."""
        indices = range(first, min(first + self.chunk, len(self.images)))
        real = self.images.tensor(indices).to(self.device)
        answer = self._ask(real.flip(-1) if mirrored else real)
        for place, index in enumerate(indices):
            self.kept[index, mirrored] = {view: [tensor[place] for tensor in answer[view]] for view in self.keeps}
