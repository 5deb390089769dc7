"""Which way round a checkpoint is: files of the usual names may hold the networks of the other direction.

A CycleGAN that was trained with ``--direction BtoA`` has its domains the other way round, and the files of two
discriminators, or of two generators, get mixed up. Nothing in a file tells; real images of both domains do.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch.nn import functional as F

from ganprune.device import at_once
from ganprune.metrics.evaluate import run
from ganprune.models.cyclegan import OTHER, Side
from ganprune.models.scores import judged
from ganprune.models.sizing import small_size, takes
from ganprune.pipeline.task import Task

PART = 64  # side length of the part of an image that networks are shown
JUDGED, TRANSLATED = 16 * 64 * 64, 2 * 64 * 64  # pixels of each domain: for discriminators, and for generators
CLEARLY = 0.75  # of two distances, the smaller one is at most this share of the other
TURNED = "the checkpoint was probably trained with --direction BtoA: give --trained BtoA"
UNCLEAR = (
    "either the files of the discriminators are swapped, or the checkpoint was trained with --direction BtoA; the "
    "generators don't tell. Try --trained BtoA, and look at images before a long search"
)


@dataclass(frozen=True)
class Preference:
    """How a side's discriminator scores real images.

    Attributes:
        own_domain: the mean score of images of the domain that the side's generator is to paint.
        source_domain: of images of the domain that it is given.
    """

    own_domain: float
    source_domain: float

    @property
    def wrong(self) -> bool:
        """Whether the source's images look more real to it, so that it is probably the other side's."""
        return self.own_domain < self.source_domain


@dataclass(frozen=True)
class Evidence:
    """What real images of both domains show.

    Attributes:
        preferences: by side; those of the discriminators that there are.
        as_named: mean absolute distance, on [-1, 1], of real images to what comes back through both generators the way
            their files say; of a lone generator, of the images that it paints to what it makes of them. None where the
            generators can't be asked.
        reversed: the same the other way round.
    """

    preferences: Mapping[str, Preference] = field(default_factory=dict)
    as_named: float | None = None
    reversed: float | None = None

    @property
    def generators(self) -> str:
        """Which way round the generators are: "named", "reversed", or "unclear"."""
        if self.as_named is None or self.reversed is None:
            return "unclear"
        if self.as_named <= CLEARLY * self.reversed:
            return "named"
        return "reversed" if self.reversed <= CLEARLY * self.as_named else "unclear"


@torch.inference_mode()
def gather_evidence(task: Task) -> Evidence:
    """Show both sides' networks some training images of both domains; nothing where a domain has none."""
    images = task.images
    if len(images.domains) < 2 or len(set(images.channels.values())) > 1:
        return Evidence()
    networks = task.cyclegan.networks().values()
    part = small_size(images.size, PART, images.multiple)
    height, width = part if all(takes(network, part) for network in networks) else images.size
    real = {
        domain: split.train.tensor(range(min(max(2, JUDGED // (height * width)), len(split.train))))[
            ..., :height, :width
        ]
        for domain, split in images.domains.items()
    }
    sides = [side for side in task.cyclegan.values() if side.discriminator is not None]
    preferences = at_once([functools.partial(_prefers, side, real, task.device) for side in sides], task.device)
    few = {domain: shown[: max(2, TRANSLATED // (height * width))] for domain, shown in real.items()}
    ways = at_once([functools.partial(_distance, task, few, turned) for turned in (False, True)], task.device)
    return Evidence(dict(zip((side.name for side in sides), preferences, strict=True)), *ways)


def _prefers(side: Side, real: Mapping[str, torch.Tensor], device: torch.device) -> Preference:
    assert side.discriminator is not None
    judge = functools.partial(judged, side.discriminator)
    own, source = (float(run(judge, real[domain], device).mean()) for domain in (side.target, side.source))
    return Preference(own, source)


def _distance(task: Task, real: Mapping[str, torch.Tensor], turned: bool) -> float:
    """Return the mean distance of :class:`Evidence`, of the direction that the files say or the other one."""
    sides, device = task.cyclegan, task.device
    generators = {side.name: side.generator for side in sides.values()} | dict(sides.helpers)
    found = []
    for name in generators:
        seen = real[_domain(name, given=not turned)] if len(generators) == 2 else real[_domain(name, given=turned)]
        made = run(generators[name], seen, device)
        back = run(generators[OTHER[name]], made, device) if len(generators) == 2 else made
        found.append(float(F.l1_loss(back, seen)))
    return sum(found) / len(found)


def _domain(side: str, *, given: bool) -> str:
    """Return the domain that a side's generator is given, or the one that it paints."""
    return side[0] if given else side[-1]


def warnings_of(evidence: Evidence) -> list[str]:
    """Return what is probably wrong with a checkpoint's files, a line each; the last says what to do about it."""
    wrong = {name: preference for name, preference in evidence.preferences.items() if preference.wrong}
    shown = [
        f"the discriminator of {name} finds real images of domain {_domain(name, given=True)} "
        f"({preference.source_domain:.3f}) more real than those of domain {_domain(name, given=False)} "
        f"({preference.own_domain:.3f}), which its generator is to paint"
        for name, preference in wrong.items()
    ]
    generators = evidence.generators
    if generators == "reversed":
        shown.append(
            "the generators keep real images better the other way round: these come back "
            f"{evidence.reversed:.3f} away, in place of {evidence.as_named:.3f}"
        )
        right = len(evidence.preferences) - len(wrong)
        return [*shown, TURNED if not right else "the files of the two generators are probably swapped: swap them"]
    if not wrong:
        return []
    swapped = "the files of the two discriminators are probably swapped: swap them"
    return [*shown, swapped if generators == "named" else UNCLEAR]
