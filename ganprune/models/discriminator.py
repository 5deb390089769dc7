"""PatchDiscriminator: the 70x70 PatchGAN of CycleGAN (Isola et al., CVPR 2017; Zhu et al., ICCV 2017).

Parameter names (``model.0.weight``, ``model.11.weight``) are those of the public PyTorch implementations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from ganprune.models.description import MOST, NORMS, RUNNING, STATISTICS, Architecture
from ganprune.models.generator import norm_of
from ganprune.settings.fields import setting


@dataclass(frozen=True)
class DiscriminatorConfig(Architecture):
    """Architecture of a :class:`PatchDiscriminator`.

    Attributes:
        ndf: filters of the first convolution.
        layers: stride-2 convolutions: 3 for the 70x70 PatchGAN.
        norm: "instance", "batch" or "none".
        affine: whether an instance norm has a learned scale and shift.
        bias: whether convolutions before a norm have one; None for the usual: before an instance norm.
        in_channels: image channels.
        statistics: of batch norms: "running", or "batch": each image's own, as in training with one image at a time.
    """

    kind: ClassVar[str] = "patch"
    whose: ClassVar[str] = "discriminator"

    ndf: int = setting(64, low=1, high=MOST)
    layers: int = setting(3, low=1, high=MOST)
    norm: str = setting("instance", choices=NORMS)
    affine: bool = setting(False)
    bias: bool | None = setting(None)
    in_channels: int = setting(3, low=1, high=MOST)
    statistics: str = setting(RUNNING, choices=STATISTICS)


class PatchDiscriminator(nn.Module):
    """Realness of overlapping patches: (B, in_channels, H, W) in [-1, 1] -> (B, 1, H/8 - 2, W/8 - 2), unbounded."""

    def __init__(self, config: DiscriminatorConfig | None = None):
        super().__init__()
        self.config = config = config or DiscriminatorConfig()
        width = config.ndf
        layers: list[nn.Module] = [
            nn.Conv2d(config.in_channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, True),
        ]
        for index in range(1, config.layers + 1):
            wider = config.ndf * min(2**index, 8)
            stride = 2 if index < config.layers else 1
            layers += [
                nn.Conv2d(width, wider, 4, stride=stride, padding=1, bias=config.biased),
                norm_of(config, wider),
                nn.LeakyReLU(0.2, True),
            ]
            width = wider
        layers.append(nn.Conv2d(width, 1, 4, padding=1))
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)
