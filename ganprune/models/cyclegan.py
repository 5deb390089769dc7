"""Side and CycleGAN: one direction of translation, and what belongs together.

A :class:`Side` is named A2B or B2A: a generator and the discriminator of *its output*. A :class:`CycleGAN` has
one or two of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ganprune.errors import UserError, did_you_mean
from ganprune.models.architecture import build, input_channels, output_channels
from ganprune.models.description import Architecture
from ganprune.models.options import OTHER, SIDES

SOURCE = {"A2B": "A", "B2A": "B"}
TARGET = {"A2B": "B", "B2A": "A"}
PARTS = ("generator", "discriminator")


@dataclass
class Side:
    """One direction of translation.

    Attributes:
        name: "A2B" or "B2A".
        generator: source images -> target images, both (B, C, H, W) in [-1, 1].
        discriminator: tells this generator's output from real images of the target domain; None if there is none.
    """

    name: str
    generator: nn.Module
    discriminator: nn.Module | None = None

    @property
    def source(self) -> str:
        """Domain of the input images: "A" or "B"."""
        return SOURCE[self.name]

    @property
    def target(self) -> str:
        """Domain of the output images: "A" or "B"."""
        return TARGET[self.name]


class CycleGAN(Mapping[str, Side]):
    """The sides of a CycleGAN that are pruned, both or one: ``cyclegan["A2B"].generator``.

    Args:
        sides: one or two, in either order.
        helpers: reverse generators by side that stay as they are, where only one side is pruned.
        notes: what there is to say about where the networks came from, a line each.
        taken_for: what was inferred, and might be otherwise: "what: value (option that says otherwise)", a line each.
    """

    def __init__(
        self,
        *sides: Side,
        helpers: Mapping[str, nn.Module] | None = None,
        notes: Sequence[str] = (),
        taken_for: Sequence[str] = (),
    ):
        self._sides = {side.name: side for side in sorted(sides, key=lambda side: SIDES.index(side.name))}
        self.helpers = {name: network for name, network in (helpers or {}).items() if name not in self._sides}
        self.notes, self.taken_for = list(notes), list(taken_for)
        self.derived: dict[object, Any] = {}  # what others computed once from these networks, by their own keys

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "derived": {}}  # a copy or a worker derives its own

    def __getitem__(self, name: str) -> Side:
        return self._sides[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sides)

    def __len__(self) -> int:
        return len(self._sides)

    def partner(self, name: str) -> Side:
        """Return the side of the reverse generator; a KeyError where only one is pruned."""
        return self._sides[OTHER[name]]

    def reverse(self, name: str) -> nn.Module | None:
        """Return the reverse generator of a side, which turns its output into source images, if there is one."""
        other = OTHER[name]
        return self._sides[other].generator if other in self._sides else self.helpers.get(other)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(next(iter(self.values())).generator.parameters()).device

    def networks(self) -> dict[str, nn.Module]:
        """Return all networks by "A2B.generator", "A2B.discriminator", ..., helpers too."""
        found = {f"{name}.{part}": getattr(side, part) for name, side in self.items() for part in PARTS}
        found |= {f"{name}.generator": network for name, network in self.helpers.items()}
        return {name: network for name, network in found.items() if network is not None}

    def generators(self) -> list[nn.Module]:
        """Return all generators, helpers too."""
        return [*(side.generator for side in self.values()), *self.helpers.values()]

    def to(self, device: torch.device | str) -> CycleGAN:
        for network in self.networks().values():
            network.to(device)
        return self

    def with_generators(self, generators: Mapping[str, nn.Module]) -> CycleGAN:
        """Return a CycleGAN of those generators and copies of these discriminators; helpers stay the same."""
        sides = (Side(name, generators[name], copy.deepcopy(side.discriminator)) for name, side in self.items())
        return CycleGAN(*sides, helpers=self.helpers)

    def only(self, name: str) -> CycleGAN:
        """Return the one side, to be pruned alone; the other's generator, if there is one, is only its reverse.

        Raises:
            UserError: there is no such side.
        """
        if name not in self:
            raise UserError("only", name, " or ".join(self), did_you_mean(name, list(self)))
        reverse = self.reverse(name)
        helpers = {} if reverse is None else {OTHER[name]: reverse}
        return CycleGAN(self[name], helpers=helpers, notes=self.notes, taken_for=self.taken_for)


def domain_channels(cyclegan: CycleGAN) -> dict[str, int]:
    """Return the channels of each domain's images: what generators are given, and what they give."""
    given = {TARGET[name]: output_channels(side.generator) for name, side in cyclegan.items()}
    return given | {SOURCE[name]: input_channels(side.generator) for name, side in cyclegan.items()}


def new_cyclegan(generator: Architecture, discriminator: Architecture, seed: int) -> CycleGAN:
    """Build an untrained CycleGAN, both sides alike, initialised from ``seed``."""
    random_source = torch.Generator().manual_seed(seed)
    return CycleGAN(
        *(Side(name, build(generator, random_source), build(discriminator, random_source)) for name in SIDES)
    )
