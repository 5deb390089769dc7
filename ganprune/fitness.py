"""CycleFitness: what an individual is worth (Eq. 11 and 13); the one bridge between bits and networks.

    F = 1 / (N + gamma * (L_DisA + lam * L_cyc))

What is measured of an individual is a table of terms, :data:`TERMS`; adding a term is adding a row. Everything that
does not depend on the individual is computed once: the original's images and the discriminator's outputs for them, the
filter groups, the moments that reconstruct weights. N and L_DisA do not depend on the partner, so they and the
translated images are kept for individuals that meet another partner later.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

import torch
from torch import nn

from ganprune.cost.latency_table import LatencyTable
from ganprune.cost.network_cost import NetworkCost
from ganprune.data.images import UnpairedImages
from ganprune.device import images_at_once, one_thread
from ganprune.errors import UserError, reason
from ganprune.evolution.individual import BROKEN as BROKEN_TERM
from ganprune.evolution.individual import Score
from ganprune.filters.builder import NetworkBuilder, shared_builders
from ganprune.filters.recent import Recent
from ganprune.filters.space import FilterSpace
from ganprune.losses import cycle_consistency, discriminator_aware, generator_aware
from ganprune.models.architecture import shareable
from ganprune.models.cyclegan import OTHER, CycleGAN, domain_channels
from ganprune.models.scores import judged
from ganprune.parallel.payload import Portable
from ganprune.settings.fitness import COSTS, FitnessSettings

CACHE_BYTES = 256 * 2**20  # of translated images that are kept
BROKEN = 1e-12  # the fitness of a candidate whose images are not finite: never NaN, Inf or 0
DISCRIMINATOR, REVERSE, TARGET, LATENCY = "discriminator", "reverse generator", "target images", "latency table"


@dataclass(frozen=True)
class Trial:
    """One individual's images, what terms are measured of; through ``fitness`` also the original's.

    Attributes:
        fitness: what does not depend on the individual.
        bits: of the individual, repaired.
        fake: its images, (N, C, H, W) on the CPU or the device.
        network: its compact network; None for terms that need the reverse generator.
        recovered: what the reverse generator makes of ``fake``; None for all other terms.
        terms: those that are measured already.
    """

    fitness: CycleFitness
    bits: tuple[int, ...]
    fake: torch.Tensor
    network: nn.Module | None = None
    recovered: torch.Tensor | None = None
    terms: Mapping[str, float] = field(default_factory=dict)

    def measured(self) -> Trial:
        """Return the trial with more terms: those that need the reverse generator if it has been used, or all others.

        It does not hold the network any more.
        """
        reverse = self.recovered is not None
        new = {term.name: term.value(self) for term in self.fitness.terms if (term.needs == REVERSE) == reverse}
        return replace(self, network=None, terms={**self.terms, **new})

    def l_disa(self) -> torch.Tensor:
        maps = self.fitness.discriminate(self.fake)
        return discriminator_aware(maps, self.fitness.maps_original, self.fitness.settings.discriminator_output)

    def l_gena(self) -> torch.Tensor:
        return generator_aware(self.fake, self.fitness.fake_original)

    def l_cyc(self) -> torch.Tensor:
        assert self.recovered is not None
        return cycle_consistency(self.recovered, self.fitness.real, self.fitness.settings.cycle_norm)

    def identity(self) -> torch.Tensor:
        """Measure whether the generator leaves images of its own target domain as they are."""
        assert self.network is not None
        same = self.fitness.translate(self.network, self.fitness.real_target)
        return cycle_consistency(same, self.fitness.real_target, self.fitness.settings.cycle_norm)


@dataclass(frozen=True)
class Term:
    """A row of :data:`TERMS`.

    Attributes:
        name: in ``Score.terms``.
        measure: the trial -> one number; or the name of a method of :class:`NetworkCost`.
        weight: factors of its weight in the quality, numbers or names of settings; None for what is not part of it.
        needs: one of the four names above: what has to be there for the term to be measured.
        loss: the settings' ``loss`` with which it is part of the quality; None for any.
    """

    name: str
    measure: Callable[[Trial], float | torch.Tensor] | str
    weight: tuple[str | float, ...] | None = None
    needs: str | None = None
    loss: str | None = None

    def value(self, trial: Trial) -> float:
        """Return the term of a trial."""
        if isinstance(self.measure, str):
            return float(getattr(trial.fitness.cost, self.measure)(trial.bits))
        return float(self.measure(trial))

    def weight_by(self, settings: FitnessSettings) -> float | None:
        """Return the weight of the term in the quality; None where it is not part of it."""
        if self.weight is None or self.loss not in (None, settings.loss):
            return None
        return math.prod(getattr(settings, part) if isinstance(part, str) else part for part in self.weight)


TERMS = (
    Term("n", "size_share"),
    Term("macs", "macs_share"),
    Term("l_disa", Trial.l_disa, weight=(), needs=DISCRIMINATOR, loss="disa"),
    Term("l_gena", Trial.l_gena, weight=(), loss="gena"),
    Term("latency_ms", "latency_ms", needs=LATENCY),
    Term("latency", "latency_share", needs=LATENCY),
    Term("l_cyc", Trial.l_cyc, weight=("lam",), needs=REVERSE),
    Term("identity", Trial.identity, weight=("lam", "identity"), needs=TARGET),
)


class CycleFitness(Portable):
    """Scores individuals of one side. It pickles to the hash of its content: see :mod:`ganprune.parallel.payload`.

    Args:
        cyclegan: the original, unpruned CycleGAN.
        images: the data; validation images of the source domain score, training images calibrate.
        side: "A2B" or "B2A".
        settings: weights of the terms.
        terms: what is measured; the size term and the quality are made of these.
        builders: bits -> network, for both sides; None for those of :func:`shared_builders`.
        spaces: both sides' filter spaces, whose repair individuals and partners go through; None for the builders'.
        reconstruct: where builders are made here: whether weights are reconstructed.
        latency: predicts a network's milliseconds; needed where these are the size term.
        validation_images: how many images score.
        skip: validation images left out before them, where there are that many more: another fitness's own.
        batch: images per forward pass; None for :func:`ganprune.device.images_at_once`.
        precision: "float32", or "bfloat16" for mixed precision: about twice as fast where it is native, with losses
            that agree to about a per cent.
        cache_bytes: bound of the translated images that are kept.

    Attributes:
        space: the side's filter space.
        shareable: whether several threads may call it at once. Each call takes one thread then.
        cost: what its compact networks cost.
        terms: those that can be measured.
        weights: of those that are part of the quality, by name.

    Raises:
        UserError: latency is the size term, and there is no table.
    """

    def __init__(
        self,
        cyclegan: CycleGAN,
        images: UnpairedImages,
        side: str,
        *,
        settings: FitnessSettings | None = None,
        terms: Sequence[Term] = TERMS,
        builders: Mapping[str, NetworkBuilder] | None = None,
        spaces: Mapping[str, FilterSpace] | None = None,
        reconstruct: bool = True,
        latency: LatencyTable | None = None,
        validation_images: int = 32,
        skip: int = 0,
        batch: int | None = None,
        precision: str = "float32",
        cache_bytes: int = CACHE_BYTES,
    ):
        if validation_images < 1:
            raise UserError("validation images", validation_images, "1 or more", "Correct --validation-images.")
        self.side, self.settings = side, settings or FitnessSettings()
        if latency is None and self.settings.cost == "latency":
            raise UserError("cost", "latency", "a latency table to go with it", "Give latency=, from measure_latency.")
        original = cyclegan[side]
        if original.discriminator is None:
            self.settings = replace(self.settings, loss="gena")
        self.cyclegan, self.precision = cyclegan, precision
        self.batch = batch or images_at_once(images.size, cyclegan.device)
        self.shareable = cyclegan.device.type == "cpu" and all(map(shareable, cyclegan.networks().values()))
        self._notes: list[str] = []
        self.builders = builders or shared_builders(cyclegan, images, reconstruct=reconstruct)
        self.spaces = spaces or {name: builder.space for name, builder in self.builders.items()}
        self.space = self.spaces[side]
        targeted = any(term.needs == TARGET and term.weight_by(self.settings) for term in terms)
        check_channels(cyclegan, images, side, identity=targeted)
        there = {
            None: True, DISCRIMINATOR: original.discriminator is not None, REVERSE: self.cyclic, TARGET: targeted,
            LATENCY: latency is not None,
        }  # fmt: skip
        self.terms = tuple(term for term in terms if there[term.needs])
        weights = {term.name: term.weight_by(self.settings) for term in self.terms}
        self.weights = {name: weight for name, weight in weights.items() if weight is not None}
        self.cost = NetworkCost.of(original.generator, self.space, images.size, latency)
        self.real = _chosen(images, original.source, validation_images, skip).to(cyclegan.device)
        if targeted:
            self.real_target = _chosen(images, original.target, validation_images, skip).to(cyclegan.device)
        with torch.inference_mode():
            self.fake_original = self.translate(original.generator, self.real)
            if original.discriminator is not None:
                self.maps_original = self.discriminate(self.fake_original)
        self.translated: Recent[Trial] = Recent(cache_bytes, attrgetter("fake.nbytes"))

    def __call__(self, individual: Sequence[int], partner: Sequence[int] | None = None) -> Score:
        """Score an individual against a partner.

        Args:
            individual: bits of this side; repaired first, so that any DEAP operator's result can be scored.
            partner: bits of the other side; None is its original generator.

        Returns:
            A tuple of one number, the fitness (higher is better, above 0), with ``terms``: n, macs (both shares),
            l_disa where there is a discriminator, l_gena, l_cyc where there is a reverse generator, identity where it
            is asked for, with a latency table latency (a share) and latency_ms, and what the fitness
            1 / (size + gamma * quality) is made of: size and quality. One whose images are not finite has the term
            ``broken`` instead of those that can't be measured.

        Raises:
            UserError: the device has too little memory for a single image.
        """
        with one_thread(self.shareable), torch.inference_mode():
            return self._score(individual, partner)

    def _score(self, individual: Sequence[int], partner: Sequence[int] | None) -> Score:
        bits, other = tuple(self.space.repair(individual)), OTHER[self.side]
        if partner is None:
            reverse = self.cyclegan.reverse(self.side)
        else:
            reverse = self.builders[other](self.spaces[other].repair(partner))
        builder = self.builders[self.side]
        if builder.needs_partner:
            trial = self._first_half(bits, builder.against(bits, reverse))
        else:
            trial = self.translated.get(bits, lambda: self._first_half(bits, builder(bits)))
        if reverse is not None:
            trial = replace(trial, recovered=self.translate(reverse, trial.fake)).measured()
        return self._scored(trial.terms)

    def _first_half(self, bits: tuple[int, ...], network: nn.Module) -> Trial:
        """Return everything that needs no partner's pass: the images, and all terms but the reverse generator's."""
        return Trial(self, bits, self.translate(network, self.real), network).measured()

    def _scored(self, measured: Mapping[str, float]) -> Score:
        """Combine terms to F of Eq. 11; :data:`BROKEN` if they are not finite."""
        size, quality = measured[COSTS[self.settings.cost]], 0.0  # the two objectives of NSGA-II
        for name, weight in self.weights.items():  # sum() would round in another way
            quality += weight * measured.get(name, 0.0)
        fitness = 1.0 / max(size + self.settings.gamma * quality, 1e-9)
        terms = {**measured, "size": size, "quality": quality}
        if not all(map(math.isfinite, terms.values())):
            terms[BROKEN_TERM] = 1.0
        notes, self._notes = self._notes, []
        return Score((max(fitness, BROKEN) if math.isfinite(fitness) else BROKEN,), terms, notes)

    def forget(self) -> None:
        """Drop the translated images that were kept; scores stay the same."""
        self.translated.clear()

    @property
    def cyclic(self) -> bool:
        """Whether there is a reverse generator."""
        return self.cyclegan.reverse(self.side) is not None

    @property
    def formula(self) -> str:
        """What the quality is made of, such as ``l_disa + 10 * l_cyc``."""
        plain = [term.name for term in self.terms if term.weight == ()]
        return " + ".join(n if n in plain else f"{weight:g} * {n}" for n, weight in self.weights.items())

    def discriminate(self, fake: torch.Tensor) -> torch.Tensor:
        """Return what the side's discriminator says of images, (N, 1, h, w) or (N, n); only where there is one."""
        discriminator = self.cyclegan[self.side].discriminator
        assert discriminator is not None
        return self.translate(functools.partial(judged, discriminator), fake)

    def translate(self, network: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
        """Pass images through a network, in smaller batches from now on if they don't fit the device's memory."""
        while True:
            try:
                with torch.autocast(images.device.type, torch.bfloat16, self.precision == "bfloat16", False):
                    return torch.cat([network(part).float() for part in images.split(self.batch)])
            except torch.cuda.OutOfMemoryError as error:
                tried = min(self.batch, len(images))
                if tried == 1:
                    raise UserError(
                        "device", f"out of memory with a single image ({reason(error)})",
                        "memory for one image", "Use a smaller --size, --device cpu, or free the device.",
                    ) from error  # fmt: skip
                self.batch = tried // 2
                torch.cuda.empty_cache()
                now = f"{self.batch} from now on; last digits may differ from others"
                self._notes.append(f"out of memory with {tried} images at once: {now}")


def check_channels(cyclegan: CycleGAN, images: UnpairedImages, side: str, *, identity: bool) -> None:
    """Check that a side's images are as its generator takes them, and the target's too where there is an identity term.

    Raises:
        UserError: they are not; or identity is asked for between images of different channels, or without any.
    """
    taken, (source, target) = domain_channels(cyclegan), (cyclegan[side].source, cyclegan[side].target)
    if images.channels[source] != taken[source]:
        found = f"{images.channels[source]} channels in domain {source}"
        expected = f"{taken[source]}, which generator {side} takes"
        raise UserError("images", found, expected, "Give UnpairedImages(..., channels=domain_channels(cyclegan)).")
    if identity and (taken[source] != taken[target] or target not in images.domains):
        missing = f"no images of domain {target}" if target not in images.domains else "other channels in each domain"
        raise UserError(
            "identity", f"a weight above 0, and {missing}", "0: a generator can't be given what it should return",
            "Give --identity 0.",
        )  # fmt: skip


def _chosen(images: UnpairedImages, domain: str, count: int, skip: int) -> torch.Tensor:
    """Return ``count`` validation images after the first ``skip``, or the last ones if there are not enough."""
    validation = images[domain].validation
    first = max(0, min(skip, len(validation) - count))
    return validation.tensor(range(first, min(first + count, len(validation))))
