"""UnetGenerator: the generator of pix2pix (Isola et al., CVPR 2017), an encoder and decoder joined by concatenation.

Parameter names (``model.model.0.weight``, ``model.model.1.model.1.weight``, ...) are those of the public PyTorch
implementations, where each level holds the next one, so that their files load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from ganprune.models.description import MOST, NORMS, RUNNING, STATISTICS, Architecture
from ganprune.models.generator import norm_of
from ganprune.settings.fields import setting

WIDEST = 8  # levels are at most this many times as wide as the first


@dataclass(frozen=True)
class UnetConfig(Architecture):
    """Architecture of a :class:`UnetGenerator`.

    Attributes:
        ngf: filters of the first convolution.
        levels: halvings of the size: 8 in ``unet_256``, 7 in ``unet_128``; images are multiples of 2 ** levels.
        norm: "instance", "batch" or "none".
        affine: whether an instance norm has a learned scale and shift (batch norm always has).
        dropout: dropout of 0.5 in the decoder's widest inner levels, when training.
        bias: whether convolutions before a norm have one; None for the usual: before an instance norm.
        in_channels, out_channels: image channels, never pruned.
        statistics: of batch norms: "running", or "batch": each image's own, as in training with one image at a time.
    """

    kind: ClassVar[str] = "unet"

    ngf: int = setting(64, low=1, high=MOST)
    levels: int = setting(8, low=2, high=MOST)
    norm: str = setting("batch", choices=NORMS)
    affine: bool = setting(False)
    dropout: bool = setting(False)
    bias: bool | None = setting(None)
    in_channels: int = setting(3, low=1, high=MOST)
    out_channels: int = setting(3, low=1, high=MOST)
    statistics: str = setting(RUNNING, choices=STATISTICS)

    @property
    def multiple(self) -> int:
        """What height and width of images have to be multiples of."""
        return int(2**self.levels)

    def width(self, level: int) -> int:
        """Channels of the features that level ``level``, 0 the outermost, hands to the one inside it."""
        return self.ngf * min(2**level, WIDEST)


class UnetLevel(nn.Module):
    """One halving, all that lies inside, and one doubling; all but the outermost give their input beside the result.

    (B, C, H, W) -> (B, C + C', H, W); the outermost (B, out_channels, H, W).
    """

    def __init__(self, config: UnetConfig, level: int = 0):
        super().__init__()
        self.outermost = level == 0
        inputs = config.in_channels if self.outermost else config.width(level - 1)
        outputs = config.out_channels if self.outermost else config.width(level - 1)
        innermost, width = level == config.levels - 1, config.width(level)
        down = nn.Conv2d(inputs, width, 4, stride=2, padding=1, bias=config.biased)
        inside: list[nn.Module] = [] if innermost else [UnetLevel(config, level + 1)]
        bias = config.biased or self.outermost
        up = nn.ConvTranspose2d(width * (1 if innermost else 2), outputs, 4, stride=2, padding=1, bias=bias)
        layers: list[nn.Module]
        if self.outermost:
            layers = [down, *inside, nn.ReLU(), up, nn.Tanh()]
        else:
            # The smallest features are a single pixel, which has no statistics of its own.
            normed = [] if innermost else [norm_of(config, width)]
            layers = [nn.LeakyReLU(0.2), down, *normed, *inside, nn.ReLU(), up]
            layers.append(norm_of(config, outputs))
            if config.dropout and not innermost and config.width(level - 1) == width == config.ngf * WIDEST:
                layers.append(nn.Dropout(0.5))
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = self.model(x)
        return result if self.outermost else torch.cat([x, result], 1)


class UnetGenerator(nn.Module):
    """Image-to-image generator: (B, in_channels, H, W) in [-1, 1] -> (B, out_channels, H, W) in [-1, 1].

    H and W are multiples of 2 ** levels.

    Args:
        config: the architecture.
    """

    def __init__(self, config: UnetConfig | None = None):
        super().__init__()
        self.config = config or UnetConfig()
        self.model = UnetLevel(self.config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)
