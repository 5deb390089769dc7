"""Which way round a checkpoint is: files of the usual names may hold the networks of the other direction.

A CycleGAN that was trained with ``--direction BtoA`` has its domains the other way round, and the files of two
discriminators, or of two generators, get mixed up. Nothing in a file tells; real images of both domains do.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F

from ganprune.device import at_once
from ganprune.metrics.evaluate import run
from ganprune.models.architecture import shareable
from ganprune.models.cyclegan import OTHER, SOURCE, TARGET, Side
from ganprune.models.scores import judged
from ganprune.models.sizing import small_size, takes
from ganprune.pipeline.task import Task

PART = 64  # side length of the part of an image that networks are shown
JUDGED, TRANSLATED = 16 * 64 * 64, 2 * 64 * 64  # pixels of each domain: for discriminators, and for generators
CLEARLY = 0.75  # of two distances, the smaller one is at most this share of the other
TURNED = "the checkpoint was probably trained with --direction BtoA: give --trained BtoA"
# What the generators tell, and which discriminators are wrong -> the cause, with what to do about it.
CAUSES = {
    ("reversed", "all"): TURNED,
    ("reversed", "no judge"): TURNED,
    ("reversed", "none"): "the files of the two generators are probably swapped: swap them",
    ("named", "all"): "the files of the two discriminators are probably swapped: swap them",
    ("unclear", "all"): (
        "either the files of the discriminators are swapped, or the checkpoint was trained with --direction BtoA; the "
        "generators don't tell. Try --trained BtoA, and look at images before a long search"
    ),
}
ONE_OF_TWO = (
    "the other discriminator does not, so that their files are not simply swapped: check where this one is from"
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
            their files say; of a lone generator whose discriminator is wrong, of the images that it is to paint to what
            it makes of them. None where the generators can't be asked.
        reversed: the same the other way round.
    """

    preferences: Mapping[str, Preference] = field(default_factory=dict)
    as_named: float | None = None
    reversed: float | None = None

    @property
    def wrong(self) -> dict[str, Preference]:
        """The preferences that are wrong, by side."""
        return {name: preference for name, preference in self.preferences.items() if preference.wrong}

    @property
    def discriminators(self) -> str:
        """Which discriminators are wrong: "all", "some", "none", or "no judge" where there are none."""
        if not self.preferences:
            return "no judge"
        return "all" if len(self.wrong) == len(self.preferences) else "some" if self.wrong else "none"

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
    judged_count, translated_count = (max(2, pixels // (height * width)) for pixels in (JUDGED, TRANSLATED))
    real = {
        domain: split.train.tensor(range(min(judged_count, len(split.train))))[..., :height, :width]
        for domain, split in images.domains.items()
    }
    sides = {name: side for name, side in task.cyclegan.items() if side.discriminator is not None}
    found = [_prefers(side, real, task.device) for side in sides.values()]
    preferences = dict(zip(sides, found, strict=True))
    generators = {name: side.generator for name, side in task.cyclegan.items()} | task.cyclegan.helpers
    if len(generators) < 2 and not any(preference.wrong for preference in preferences.values()):
        return Evidence(preferences)  # what one generator leaves as it is, is a hint only
    few = {domain: shown[:translated_count] for domain, shown in real.items()}
    calls = [functools.partial(_distance, generators, few, way, task.device) for way in (SOURCE, TARGET)]
    ways = at_once(calls, task.device) if all(map(shareable, generators.values())) else [call() for call in calls]
    if len(generators) < 2:
        ways.reverse()  # it is to leave images of its target as they are
    return Evidence(preferences, *ways)


def _prefers(side: Side, real: Mapping[str, torch.Tensor], device: torch.device) -> Preference:
    assert side.discriminator is not None
    judge = functools.partial(judged, side.discriminator)
    own, source = (float(run(judge, real[domain], device).mean()) for domain in (side.target, side.source))
    return Preference(own, source)


def _distance(
    generators: Mapping[str, nn.Module],
    real: Mapping[str, torch.Tensor],
    shown: Mapping[str, str],
    device: torch.device,
) -> float:
    """Return how far real images are from what comes back of them, or what a lone generator makes of them.

    Args:
        generators: by side.
        real: images by domain.
        shown: the domain whose images each side's generator is given.
        device: of the generators.
    """
    found = []
    for name, generator in generators.items():
        made = run(generator, real[shown[name]], device)
        back = run(generators[OTHER[name]], made, device) if OTHER[name] in generators else made
        found.append(float(F.l1_loss(back, real[shown[name]])))
    return sum(found) / len(found)


def warnings_of(evidence: Evidence) -> list[str]:
    """Return what is probably wrong with a checkpoint's files, a line each; the last says what to do about it."""
    told = [
        f"the discriminator of {name} finds real images of domain {SOURCE[name]} ({preference.source_domain:.3f}) more "
        f"real than those of domain {TARGET[name]} ({preference.own_domain:.3f}), which its generator is to paint"
        for name, preference in evidence.wrong.items()
    ]
    if evidence.generators == "reversed":
        told.append(
            "the generators keep real images better the other way round: these come back "
            f"{evidence.reversed:.3f} away, in place of {evidence.as_named:.3f}"
        )
    if evidence.discriminators == "some":
        return [*told, ONE_OF_TWO]
    cause = CAUSES.get((evidence.generators, evidence.discriminators))
    return [*told, cause] if cause else []
