"""From bits to a network: sliced or silenced, and for one side of a search reconstructed, with the last few kept."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ganprune.data.images import UnpairedImages
from ganprune.device import at_once
from ganprune.errors import UserError
from ganprune.filters.importance import importance_order
from ganprune.filters.recent import Recent
from ganprune.filters.reconstruction import Reconstruction
from ganprune.filters.slicing import silence_network, slice_network
from ganprune.filters.space import FilterSpace
from ganprune.models.cyclegan import CycleGAN

KEPT_NETWORKS = 4  # the partner of a whole generation is asked for again and again


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
    reaches the next layer: it is the same function as :func:`compact`'s, to 1e-10 in float64. Arguments as there.
    """
    return silence_network(generator, space.kept(bits, produces=True))


class NetworkBuilder:
    """Builds compact networks of one generator.

    Args:
        generator: the original, in evaluation mode.
        space: its filter space.
        calibration: images whose statistics reconstruct weights, (N, C, H, W) in [-1, 1]; None slices only.

    Attributes:
        space: the same; where weights are reconstructed, its repair has the importance order that goes with that.
    """

    needs_partner = False  # whether a network depends on the partner that it is scored with

    def __init__(self, generator: nn.Module, space: FilterSpace, calibration: torch.Tensor | None = None):
        self.generator, self.space = generator, space
        self.reconstruction = None if calibration is None else Reconstruction(generator, space, calibration)
        if self.reconstruction is not None:
            self.space = space.with_repair(order=importance_order(self.reconstruction))
        self.recent: Recent[nn.Module] = Recent(KEPT_NETWORKS)

    def __call__(self, bits: Sequence[int]) -> nn.Module:
        """Return the compact network of ``bits``; the last few are kept and must not be changed."""
        # Tensors made in inference mode could never be trained or trained through.
        with torch.inference_mode(False), torch.no_grad():
            return self.recent.get(tuple(bits), lambda: self.fresh(bits))

    def fresh(self, bits: Sequence[int]) -> nn.Module:
        """Return the same network as :meth:`__call__`, but one of the caller's own."""
        if self.reconstruction is None:
            return compact(self.generator, self.space, bits)
        return self.reconstruction.network(bits)

    def forget(self) -> None:
        """Drop the networks and solved layers that were kept."""
        self.recent.clear()
        if self.reconstruction is not None:
            self.reconstruction.solved.clear()

    def against(self, bits: Sequence[int], partner: nn.Module | None) -> nn.Module:
        """Return the network of ``bits`` to be scored with ``partner``; here the same for all partners."""
        return self(bits)

    def final(self, bits: Sequence[int]) -> nn.Module:
        """Return a network of one's own, to fine-tune: the one that was scored.

        Reconstructed from its own activations, layer after layer, it would be no better (docs/fidelity.md).
        """
        return self.fresh(bits)


def shared_builders(cyclegan: CycleGAN, images: UnpairedImages, *, reconstruct: bool) -> dict[str, NetworkBuilder]:
    """Return the builders of both sides; the second side's fitness gets the ones that the first side's made."""
    key = ("builders", images.root, images.framing, reconstruct)
    if key not in cyclegan.derived:
        cyclegan.derived[key] = make_builders(cyclegan, images, reconstruct=reconstruct)
    builders: dict[str, NetworkBuilder] = cyclegan.derived[key]
    return builders


def make_builders(
    cyclegan: CycleGAN,
    images: UnpairedImages,
    *,
    spaces: Mapping[str, FilterSpace] | None = None,
    encoding: str = "grouped",
    reconstruct: bool = True,
    calibration_images: int = 32,
) -> dict[str, NetworkBuilder]:
    """Return bits -> network for both sides, tracing each generator and taking its moments once.

    Args:
        cyclegan: the original.
        images: calibration images are the first training images of each side's source.
        spaces: filter spaces by side; traced here if None.
        encoding: "grouped" or "tied", where spaces are traced here.
        reconstruct: whether weights are reconstructed.
        calibration_images: how many.
    """
    if reconstruct and calibration_images < 1:
        raise UserError("calibration images", calibration_images, "1 or more", "Correct --calibration-images.")
    if spaces is None:
        spaces = {n: FilterSpace(side.generator, encoding=encoding, size=images.size) for n, side in cyclegan.items()}
    calls = []
    for name, side in cyclegan.items():
        calibration = images.calibration(side.source, calibration_images).to(cyclegan.device) if reconstruct else None
        calls.append(functools.partial(NetworkBuilder, side.generator, spaces[name], calibration))
    return dict(zip(cyclegan, at_once(calls, cyclegan.device), strict=True))
