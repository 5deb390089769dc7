"""What the compact network of an individual costs, counted from its bits without building it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from ganprune.cost.latency_table import LatencyTable
from ganprune.cost.profile import layer_positions, macs
from ganprune.data.sizes import Size
from ganprune.filters.space import FilterSpace
from ganprune.models.architecture import input_channels


@dataclass(frozen=True, eq=False)
class NetworkCost:
    """Bits -> parameters, multiply-accumulates and predicted milliseconds.

    Attributes:
        space: the generator's filter space.
        positions: of its convolutions; see :func:`ganprune.cost.profile.layer_positions`.
        latency: predicts milliseconds; None where nothing asks for them.
    """

    space: FilterSpace
    positions: Mapping[str, Mapping[str, int]]
    latency: LatencyTable | None = None

    @classmethod
    def of(
        cls, generator: nn.Module, space: FilterSpace, size: int | Size, latency: LatencyTable | None = None
    ) -> NetworkCost:
        """Return the costs of a generator's compact networks for images of (height, width) ``size``."""
        return cls(space, layer_positions(generator, input_channels(generator), size), latency)

    def parameters(self, bits: Sequence[int]) -> int:
        """Return the number of learned values, biases and norms included."""
        return self.space.parameter_count(bits)

    def macs(self, bits: Sequence[int]) -> int:
        """Return the multiply-accumulates of one image, counted at input size."""
        return macs(self.space.weight_counts(bits), self.positions)["input_size"]

    def latency_ms(self, bits: Sequence[int]) -> float:
        """Return the predicted milliseconds of one image; only with a latency table."""
        assert self.latency is not None
        return self.latency(self.space.widths(bits))

    def size_share(self, bits: Sequence[int]) -> float:
        """Return N(p) of Eq. 10, in (0, 1]: kept weight elements over all of them."""
        return self.space.size_share(bits)

    def macs_share(self, bits: Sequence[int]) -> float:
        """Return the multiply-accumulates over those of the original, in (0, 1]."""
        return self.macs(bits) / self.macs(self.space.full())

    def latency_share(self, bits: Sequence[int]) -> float:
        """Return the predicted milliseconds over those of the original, in (0, 1]; only with a latency table."""
        return self.latency_ms(bits) / self.latency_ms(self.space.full())


@dataclass(frozen=True)
class Budget:
    """What :class:`ganprune.filters.repair.Repair` holds individuals to: bits fit that cost no more than this.

    Attributes:
        cost: of the generator.
        limits: "parameters", "macs" or "latency_ms" -> the most that is allowed.
    """

    cost: NetworkCost
    limits: Mapping[str, float]

    def __call__(self, bits: Sequence[int]) -> bool:
        return all(getattr(self.cost, name)(bits) <= most for name, most in self.limits.items())
