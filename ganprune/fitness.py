"""CycleFitness: what an individual is worth (Eq. 11 and 13); the one bridge between bits and networks.

    F = 1 / (N + gamma * (L_DisA + lam * L_cyc))

Everything that does not depend on the individual is computed once: the original's images and the discriminator's
outputs for them, the filter groups, the moments that reconstruct weights. N and L_DisA do not depend on the partner, so
they and the translated images are kept for individuals that meet another partner later.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ganprune.cost.latency_table import LatencyTable
from ganprune.cost.profile import layer_positions, macs
from ganprune.data.images import UnpairedImages
from ganprune.errors import UserError
from ganprune.evolution.individual import BROKEN as BROKEN_TERM
from ganprune.evolution.individual import Score
from ganprune.filters.builder import NetworkBuilder, shared_builders
from ganprune.filters.space import FilterSpace
from ganprune.losses import cycle_consistency, discriminator_aware, generator_aware, identity
from ganprune.models.cyclegan import OTHER, CycleGAN, domain_channels
from ganprune.parallel.payload import Portable
from ganprune.settings.fitness import COSTS, FitnessSettings

BROKEN = 1e-12  # the fitness of a candidate whose images are not finite: never NaN, Inf or 0


@dataclass(frozen=True)
class Translated:
    """What is known of an individual before it meets a partner."""

    terms: Mapping[str, float]
    images: torch.Tensor  # (N, C, H, W) on the CPU or the device


class CycleFitness(Portable):
    """Scores individuals of one side. It pickles to the hash of its content: see :mod:`ganprune.parallel.payload`.

    Args:
        cyclegan: the original, unpruned CycleGAN.
        images: the data; validation images of the source domain score, training images calibrate.
        side: "A2B" or "B2A".
        settings: terms and weights.
        builders: bits -> network, for both sides; None for those of :func:`shared_builders`.
        reconstruct: where builders are made here: whether weights are reconstructed.
        latency: predicts a network's milliseconds; needed where these are the size term.
        validation_images: how many images score.
        skip: validation images left out before them, where there are that many more: another fitness's own.
        batch: images per forward pass.
        precision: "float32", or "bfloat16" for mixed precision: about twice as fast where it is native, with losses
            that agree to about a per cent.
        cache_bytes: bound of the translated images that are kept.

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
        builders: Mapping[str, NetworkBuilder] | None = None,
        reconstruct: bool = True,
        latency: LatencyTable | None = None,
        validation_images: int = 32,
        skip: int = 0,
        batch: int = 32,
        precision: str = "float32",
        cache_bytes: int = 256 * 2**20,
    ):
        self.precision = precision
        if validation_images < 1:
            raise UserError("validation images", validation_images, "1 or more", "Correct --validation-images.")
        self.side, self.settings, self.latency = side, settings or FitnessSettings(), latency
        if latency is None and self.settings.cost == "latency":
            raise UserError("cost", "latency", "a latency table to go with it", "Give latency=, from measure_latency.")
        if cyclegan[side].discriminator is None:
            self.settings = replace(self.settings, loss="gena")
        self.cyclegan, self.batch, self.cache_bytes = cyclegan, batch, cache_bytes
        self._notes: list[str] = []
        self.builders = builders or shared_builders(cyclegan, images, reconstruct=reconstruct)
        self.space: FilterSpace = self.builders[side].space
        check_channels(cyclegan, images, side, identity=self.settings.identity > 0)
        self.real = _chosen(images, cyclegan[side].source, validation_images, skip).to(cyclegan.device)
        self.real_target = None
        if self.settings.identity:
            self.real_target = _chosen(images, cyclegan[side].target, validation_images, skip).to(cyclegan.device)
        self._positions = layer_positions(cyclegan[side].generator, self.real.shape[1], images.size)
        self._full_macs = self.macs(self.space.full())
        with torch.inference_mode():
            self.fake_original = self._translate(cyclegan[side].generator, self.real)
            self.judged_original = self._judge(self.fake_original)
        self._translated: OrderedDict[tuple[int, ...], Translated] = OrderedDict()

    @torch.inference_mode()
    def __call__(self, individual: Sequence[int], partner: Sequence[int] | None = None) -> Score:
        """Score an individual against a partner.

        Args:
            individual: bits of this side; repaired first, so that any DEAP operator's result can be scored.
            partner: bits of the other side; None is its original generator.

        Returns:
            A tuple of one number, the fitness (higher is better, above 0), with ``terms``: n, macs (both shares),
            l_disa where there is a discriminator, l_gena, l_cyc where something translates back, identity where it is
            asked for, with a latency table latency (a share) and latency_ms, and what the fitness
            1 / (size + gamma * quality) is made of: size and quality. One whose images are not finite has the term
            ``broken`` instead of those that can't be measured.

        Raises:
            UserError: the device has too little memory for a single image.
        """
        bits = tuple(self.space.repair(individual))
        back = self.cyclegan.reverse(self.side) if partner is None else self._partner(partner)
        if self.builders[self.side].needs_partner:
            translated = self._first_half(bits, self.builders[self.side].against(bits, back))
        else:
            translated = self._translated_by(bits)
        terms = dict(translated.terms)
        if back is not None:
            recovered = self._translate(back, translated.images)
            terms["l_cyc"] = float(cycle_consistency(recovered, self.real, self.settings.cycle_norm))
        terms |= self._size_and_quality(terms)
        if not all(map(math.isfinite, terms.values())):
            terms[BROKEN_TERM] = 1.0
        notes, self._notes = self._notes, []
        return Score((self.value(terms),), terms, notes)

    def travelling(self) -> dict[str, Any]:
        """Return all attributes, without the translated images that are kept."""
        return {**super().travelling(), "_translated": OrderedDict()}

    def forget(self) -> None:
        """Drop the translated images that were kept; scores stay the same."""
        self._translated.clear()

    def value(self, terms: Mapping[str, float]) -> float:
        """Combine terms to F of Eq. 11; :data:`BROKEN` if they are not finite."""
        parts = self._size_and_quality(terms)
        fitness = 1.0 / max(parts["size"] + self.settings.gamma * parts["quality"], 1e-9)
        return max(fitness, BROKEN) if math.isfinite(fitness) else BROKEN

    def _size_and_quality(self, terms: Mapping[str, float]) -> dict[str, float]:
        """Return the two things that the fitness weighs, and that NSGA-II takes as objectives."""
        settings = self.settings
        quality = terms["l_disa" if settings.loss == "disa" else "l_gena"] + settings.lam * terms.get("l_cyc", 0.0)
        quality += settings.lam * settings.identity * terms.get("identity", 0.0)
        return {"size": terms[COSTS[settings.cost]], "quality": quality}

    def _translated_by(self, bits: tuple[int, ...]) -> Translated:
        if bits in self._translated:
            self._translated.move_to_end(bits)
            return self._translated[bits]
        result = self._first_half(bits, self.builders[self.side](bits))
        self._translated[bits] = result
        held = result.images.nelement() * result.images.element_size()
        while len(self._translated) > max(1, self.cache_bytes // held):
            self._translated.popitem(last=False)
        return result

    def _first_half(self, bits: tuple[int, ...], network: nn.Module) -> Translated:
        """Everything that needs no partner's pass: the images, and N, L_DisA, L_GenA and identity."""
        fake = self._translate(network, self.real)
        judged = self._judge(fake)
        terms = {"n": self.space.size_share(bits), "macs": self.macs(bits) / self._full_macs}
        if judged is not None and self.judged_original is not None:
            output = self.settings.discriminator_output
            terms["l_disa"] = float(discriminator_aware(judged, self.judged_original, output))
        terms["l_gena"] = float(generator_aware(fake, self.fake_original))
        if self.latency is not None:
            terms["latency_ms"] = self.latency_ms(bits)
            terms["latency"] = terms["latency_ms"] / self.latency_ms(self.space.full())
        if self.real_target is not None:
            same = self._translate(network, self.real_target)
            terms["identity"] = float(identity(same, self.real_target, self.settings.cycle_norm))
        return Translated(terms, fake)

    def _partner(self, bits: Sequence[int]) -> nn.Module:
        builder = self.builders[OTHER[self.side]]
        return builder(builder.space.repair(bits))

    def _translate(self, network: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Pass images through a network, in smaller batches from now on if they don't fit the device's memory."""
        while True:
            try:
                return self._pass(network, images)
            except torch.cuda.OutOfMemoryError as error:
                self._halve(min(self.batch, len(images)), error)

    def _halve(self, tried: int, error: Exception) -> None:
        if tried == 1:
            raise UserError(
                "device", f"out of memory with a single image ({str(error).splitlines()[0]})",
                "memory for one image", "Use a smaller --size, --device cpu, or free the device.",
            ) from error  # fmt: skip
        self.batch = tried // 2
        torch.cuda.empty_cache()
        self._notes.append(
            f"out of memory with {tried} images at once: {self.batch} from now on; last digits may differ from others"
        )

    def _pass(self, network: nn.Module, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return torch.cat([network(part).float() for part in images.split(self.batch)])

    def _judge(self, fake: torch.Tensor) -> torch.Tensor | None:
        discriminator = self.cyclegan[self.side].discriminator
        return None if discriminator is None else self._translate(discriminator, fake)

    @property
    def cyclic(self) -> bool:
        """Whether something translates back."""
        return self.cyclegan.reverse(self.side) is not None

    def macs(self, bits: Sequence[int]) -> int:
        """Return the multiply-accumulates of one image, counted at input size."""
        return macs(self.space.weight_counts(bits), self._positions)["input_size"]

    def latency_ms(self, bits: Sequence[int]) -> float:
        """Return the predicted milliseconds of one image; only with a latency table."""
        assert self.latency is not None
        return self.latency(self.space.widths(bits))


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
