"""What a criterion looks at, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from ganprune.data.images import ImageSet
from ganprune.filters.reconstruction import Reconstruction
from ganprune.filters.space import FilterSpace

Scales = Mapping[str, np.ndarray]  # path of a convolution -> a factor for each input channel that it keeps


@dataclass
class Subject:
    """One generator to prune.

    Attributes:
        side: "A2B" or "B2A".
        generator: the original, in evaluation mode.
        space: its filter space.
        calibration: images to take statistics on, (N, C, H, W) in [-1, 1], on the generator's device.
        train: training images of its source domain, for what is trained.
    """

    side: str
    generator: nn.Module
    space: FilterSpace
    calibration: torch.Tensor
    train: ImageSet

    @cached_property
    def reconstruction(self) -> Reconstruction:
        """The moments of the original's layers on the calibration images, taken once, when first asked for."""
        return Reconstruction(self.generator, self.space, self.calibration)


@dataclass(frozen=True)
class Ranking:
    """How much each filter matters to a criterion.

    Attributes:
        scores: (len(space),): in each group the highest are kept; under one threshold the highest of all.
        rescaled: where the method changes weights too: bits -> factors for what the compact layers read.
    """

    scores: np.ndarray
    rescaled: Callable[[Sequence[int]], Scales] | None = None
