"""ResnetGenerator: the generator of CycleGAN (Zhu et al., ICCV 2017; Johnson et al., ECCV 2016).

One 7x7 convolution, two stride-2 convolutions, residual blocks, two transposed convolutions, one 7x7 convolution.
Parameter names (``model.1.weight``, ``model.10.conv_block.1.weight``) are those of the public PyTorch
implementations, so that their files load.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ganprune.errors import UserError, did_you_mean

NORMS = ("instance", "batch")
MOST = 4096  # filters, blocks or channels: no network is meant that has more
PADDINGS = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d, "zero": nn.ZeroPad2d}


@dataclass(frozen=True)
class GeneratorConfig:
    """Architecture of a :class:`ResnetGenerator`; what ``architecture`` in a saved JSON file holds.

    Attributes:
        ngf: filters of the first convolution (the trunk has ``4 * ngf``).
        blocks: residual blocks: 9 in the paper, 6 for small images.
        norm: "instance" or "batch".
        affine: whether an instance norm has a learned scale and shift (batch norm always has).
        dropout: dropout of 0.5 inside each block.
        padding: "reflect", "replicate" or "zero", of the blocks.
        in_channels, out_channels: image channels, never pruned.
    """

    ngf: int = 64
    blocks: int = 9
    norm: str = "instance"
    affine: bool = False
    dropout: bool = False
    padding: str = "reflect"
    in_channels: int = 3
    out_channels: int = 3

    def __post_init__(self) -> None:
        for field in ("ngf", "blocks", "in_channels", "out_channels"):
            check_count(f"generator {field}", getattr(self, field), low=0 if field == "blocks" else 1)
        for field in ("affine", "dropout"):
            if not isinstance(getattr(self, field), bool):
                raise UserError(
                    f"generator {field}", getattr(self, field), "true or false", "Correct the architecture."
                )
        for field, known in (("norm", NORMS), ("padding", tuple(PADDINGS))):
            value = getattr(self, field)
            if value not in known:
                raise UserError(f"generator {field}", value, " or ".join(known), did_you_mean(str(value), known))

    @property
    def biased(self) -> bool:
        """Convolutions before an instance norm carry a bias, as in the public implementations."""
        return self.norm == "instance"

    def to_json(self) -> dict[str, Any]:
        return {"kind": "resnet", **asdict(self)}


def check_count(field: str, value: Any, low: int = 1) -> None:
    """Check a number of an architecture, which may come from a file.

    Raises:
        UserError: it isn't a whole number from ``low`` to :data:`MOST`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= MOST:
        raise UserError(field, value, f"a whole number from {low} to {MOST}", "Correct the architecture.")


def norm_layer(norm: str, channels: int, affine: bool = False) -> nn.Module:
    """Return the 2-d normalisation layer of that name (no running statistics for instance norm)."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return InstanceNorm2d(channels, affine=affine, track_running_stats=False)


class InstanceNorm2d(nn.InstanceNorm2d):
    """The same function, computed as a group norm of one channel per group: 2-4 times as fast in float32 on CPUs.

    Mixed precision keeps PyTorch's own, since autocast would turn a group norm's input to float32 and back.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        plain = x.dtype in (torch.float32, torch.float64) and not self.track_running_stats
        if not plain or x.shape[2:].numel() == 1:  # a single value per channel is an error, which PyTorch's own words
            return super().forward(x)
        return F.group_norm(x, x.shape[1], self.weight, self.bias, self.eps)


class ResnetBlock(nn.Module):
    """``x + conv_block(x)``: two 3x3 convolutions with normalisation, (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, config: GeneratorConfig):
        super().__init__()

        def convolution() -> list[nn.Module]:
            return [
                PADDINGS[config.padding](1),
                nn.Conv2d(channels, channels, 3, bias=config.biased),
                norm_layer(config.norm, channels, config.affine),
            ]

        dropout: list[nn.Module] = [nn.Dropout(0.5)] if config.dropout else []
        self.conv_block = nn.Sequential(*convolution(), nn.ReLU(True), *dropout, *convolution())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    """Image-to-image generator: (B, in_channels, H, W) in [-1, 1] -> (B, out_channels, H', W') in [-1, 1].

    H' and W' are H and W rounded up to a multiple of 4.

    Args:
        config: the architecture.
    """

    def __init__(self, config: GeneratorConfig | None = None):
        super().__init__()
        self.config = config = config or GeneratorConfig()
        ngf, bias = config.ngf, config.biased

        def normed(channels: int) -> list[nn.Module]:
            return [norm_layer(config.norm, channels, config.affine), nn.ReLU(True)]

        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(config.in_channels, ngf, 7, bias=bias),
            *normed(ngf),
        ]
        for width in (ngf, 2 * ngf):
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=bias), *normed(2 * width)]
        layers += [ResnetBlock(4 * ngf, config) for _ in range(config.blocks)]
        for width in (4 * ngf, 2 * ngf):
            up = nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1, bias=bias)
            layers += [up, *normed(width // 2)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, config.out_channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


def init_weights(network: nn.Module, generator: torch.Generator, gain: float = 0.02) -> None:
    """Initialise in place as CycleGAN does: weights N(0, gain), norm scales N(1, gain), biases 0."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, gain, generator=generator)
        elif isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d)) and module.affine:
            nn.init.normal_(module.weight, 1.0, gain, generator=generator)
        bias = getattr(module, "bias", None)
        if isinstance(bias, torch.Tensor):
            nn.init.zeros_(bias)
