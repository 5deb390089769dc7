"""mask() and compact(): the same pruned function, with filters silent or physically gone.

Tested on random bits for every architecture we claim: ``mask(...)(x) == compact(...)(x)`` to 1e-10 in float64.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ganprune.filters.slicing import silence_network, slice_network
from ganprune.filters.space import FilterSpace


def compact(generator: nn.Module, space: FilterSpace, bits: Sequence[int]) -> nn.Module:
    """Return a copy of a generator without the filters whose bit is 0: smaller tensors, same kind of network.

    Args:
        generator: the network that ``space`` describes; not changed.
        space: its filter space.
        bits: repaired ones, ``len(space)`` zeros and ones.

    Returns:
        A network in the same mode and on the same device; its tensors are its own.
    """
    return slice_network(generator, space.kept(bits))


def mask(generator: nn.Module, space: FilterSpace, bits: Sequence[int]) -> nn.Module:
    """Return a full-size copy of a generator in which the filters whose bit is 0 are silent.

    Weights, biases and the norms' scale, shift and running mean of those filters are zero, so that nothing of them
    reaches the next layer. Arguments as :func:`compact`.
    """
    return silence_network(generator, space.kept(bits, produces=True))
