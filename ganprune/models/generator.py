"""ResnetGenerator: the generator of CycleGAN (Zhu et al., ICCV 2017; Johnson et al., ECCV 2016).

One 7x7 convolution, stride-2 convolutions, residual blocks, as many transposed convolutions, one 7x7 convolution.
CycleGAN has two of each; pix2pixHD (Wang et al., CVPR 2018) has four.
Parameter names (``model.1.weight``, ``model.10.conv_block.1.weight``) are those of the public PyTorch
implementations, so that their files load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import nn
from torch.nn import functional as F

from ganprune.models.description import BATCH, MOST, NORMS, RUNNING, STATISTICS, Architecture
from ganprune.settings.fields import setting

UPSAMPLINGS = ("transposed", "nearest", "bilinear")
DEEPEST = 8  # halvings at most
BLOCK = 2  # pixels that an image's convolution computes at once, each way
FEW_OUTPUTS = 4  # with these, a block's outputs still fit into 16


class ReflectionPad2d(nn.ReflectionPad2d):
    """The same, in the precision that it is given: mixed precision would turn bfloat16 to float32 and back."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.bfloat16:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


PADDINGS = {"reflect": ReflectionPad2d, "replicate": nn.ReplicationPad2d, "zero": None}  # None: the layer's own


@dataclass(frozen=True)
class GeneratorConfig(Architecture):
    """Architecture of a :class:`ResnetGenerator`; what ``architecture`` in a saved JSON file holds.

    Attributes:
        ngf: filters of the first convolution; each downsampling doubles their number.
        blocks: residual blocks: 9 in the paper, 6 for small images.
        norm: "instance", "batch" or "none".
        affine: whether an instance norm has a learned scale and shift (batch norm always has).
        dropout: dropout of 0.5 inside each block.
        padding: "reflect", "replicate" or "zero", of the blocks.
        upsampling: "transposed" convolutions, or a "nearest" or "bilinear" enlargement and a 3x3 convolution.
        upsampling_padding: of that convolution; as ``padding``.
        bias: whether convolutions before a norm have one; None for the usual: before an instance norm.
        in_channels, out_channels: image channels, never pruned.
        downsamplings: convolutions that halve the size, and later layers that double it: 2 in CycleGAN.
        statistics: of batch norms: "running", or "batch": each image's own, as in training with one image at a time.
        residual: whether the layers make what is added to the image, limited to -1 and 1 (``--learn_residual`` of
            DeblurGAN).
    """

    kind: ClassVar[str] = "resnet"

    ngf: int = setting(64, low=1, high=MOST)
    blocks: int = setting(9, low=0, high=MOST)
    norm: str = setting("instance", choices=NORMS)
    affine: bool = setting(False)
    dropout: bool = setting(False)
    padding: str = setting("reflect", choices=tuple(PADDINGS))
    upsampling: str = setting("transposed", choices=UPSAMPLINGS)
    upsampling_padding: str = setting("zero", choices=tuple(PADDINGS))
    bias: bool | None = setting(None)
    in_channels: int = setting(3, low=1, high=MOST)
    out_channels: int = setting(3, low=1, high=MOST)
    downsamplings: int = setting(2, low=0, high=DEEPEST)
    statistics: str = setting(RUNNING, choices=STATISTICS)
    residual: bool = setting(False)

    @property
    def multiple(self) -> int:
        """What height and width of images have to be multiples of."""
        return int(2**self.downsamplings)


def padded_convolution(inputs: int, outputs: int, padding: str, bias: bool) -> list[nn.Module]:
    """Return the layers of a 3x3 convolution that keeps the size, padded by a layer before it or by itself."""
    layer = PADDINGS[padding]
    before: list[nn.Module] = [] if layer is None else [layer(1)]
    return [*before, nn.Conv2d(inputs, outputs, 3, padding=0 if before else 1, bias=bias)]


def norm_layer(norm: str, channels: int, affine: bool = False) -> nn.Module:
    """Return the 2-d normalisation layer of that name (no running statistics for instance norm)."""
    if norm == "none":
        return nn.Identity()
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return InstanceNorm2d(channels, affine=affine, track_running_stats=False)


def norm_of(config: Architecture, channels: int) -> nn.Module:
    """Return the normalisation layer that an architecture has at a place of so many channels."""
    if config.statistics == BATCH:  # type: ignore[attr-defined]
        return norm_layer("instance", channels, affine=True)  # what a batch norm is for one image at a time
    return norm_layer(config.norm, channels, config.affine)  # type: ignore[attr-defined]


class InstanceNorm2d(nn.InstanceNorm2d):
    """The same function, computed as a group norm of one channel per group: 2-4 times as fast on CPUs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.track_running_stats or x.dim() != 4 or x.shape[2:].numel() == 1:  # a single pixel is PyTorch's error
            return super().forward(x)
        batch, channels, height, width = x.shape
        # F.group_norm would turn the bfloat16 of mixed precision to float32 and back; sums are float32 in both.
        scale, shift = self.weight, self.bias
        return torch.native_group_norm(x, scale, shift, batch, channels, height * width, channels, self.eps)[0]


class ImageConv2d(nn.Conv2d):
    """A convolution to the few channels of an image, computed for 2x2 pixels at once: 2.5 times as fast on CPUs.

    Their kernels compute 8 or 16 outputs at once, wanted or not. Four pixels of three channels are twelve; see
    :func:`of_blocks`. Stride and dilation are 1.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        down, along = cast(tuple[int, int], self.padding)
        height, width = (side + 1 - kernel for side, kernel in zip(x.shape[2:], self.kernel_size, strict=True))
        height, width = height + 2 * down, width + 2 * along
        if self.out_channels > FEW_OUTPUTS or height % BLOCK or width % BLOCK or x.device.type != "cpu":
            return super().forward(x)
        weight, bias = of_blocks(self)
        return F.pixel_shuffle(F.conv2d(x, weight, bias, BLOCK, self.padding), BLOCK)


def of_blocks(layer: nn.Conv2d) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the weight and bias with which a stride of 2 computes blocks of 2x2 pixels of a layer of stride 1.

    A kernel of the block holds the layer's once for each of its pixels, at that pixel's place, with zeros around it:
    (C_out * 4, C_in, kh + 1, kw + 1), in the order of ``F.pixel_shuffle``.
    """
    spare = BLOCK - 1
    places = [(down, along) for down in range(BLOCK) for along in range(BLOCK)]
    kernels = [F.pad(layer.weight, (along, spare - along, down, spare - down)) for down, along in places]
    bias = None if layer.bias is None else layer.bias.repeat_interleave(len(places))
    return torch.stack(kernels, 1).flatten(0, 1), bias


class ResnetBlock(nn.Module):
    """``x + conv_block(x)``: two 3x3 convolutions with normalisation, (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, config: GeneratorConfig):
        super().__init__()

        def convolution() -> list[nn.Module]:
            layers = padded_convolution(channels, channels, config.padding, config.biased)
            return [*layers, norm_of(config, channels)]

        dropout: list[nn.Module] = [nn.Dropout(0.5)] if config.dropout else []
        self.conv_block = nn.Sequential(*convolution(), nn.ReLU(True), *dropout, *convolution())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_block(x)


def upsampling_layers(inputs: int, outputs: int, config: GeneratorConfig) -> list[nn.Module]:
    """Return the layers that double the size: (B, inputs, H, W) -> (B, outputs, 2H, 2W)."""
    if config.upsampling == "transposed":
        return [nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=config.biased)]
    smooth = {"align_corners": False} if config.upsampling == "bilinear" else {}
    enlarge = nn.Upsample(scale_factor=2, mode=config.upsampling, **smooth)
    return [enlarge, *padded_convolution(inputs, outputs, config.upsampling_padding, config.biased)]


class ResnetGenerator(nn.Module):
    """Image-to-image generator: (B, in_channels, H, W) in [-1, 1] -> (B, out_channels, H', W') in [-1, 1].

    H' and W' are H and W rounded up to a multiple of 2 ** downsamplings, which is 4.

    Args:
        config: the architecture.
    """

    def __init__(self, config: GeneratorConfig | None = None):
        super().__init__()
        self.config = config = config or GeneratorConfig()
        ngf, bias = config.ngf, config.biased

        def normed(channels: int) -> list[nn.Module]:
            return [norm_of(config, channels), nn.ReLU(True)]

        layers: list[nn.Module] = [
            ReflectionPad2d(3),
            nn.Conv2d(config.in_channels, ngf, 7, bias=bias),
            *normed(ngf),
        ]
        widths = [ngf * 2**halvings for halvings in range(config.downsamplings + 1)]
        for width in widths[:-1]:
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=bias), *normed(2 * width)]
        layers += [ResnetBlock(widths[-1], config) for _ in range(config.blocks)]
        for width in reversed(widths[1:]):
            layers += [*upsampling_layers(width, width // 2, config), *normed(width // 2)]
        layers += [ReflectionPad2d(3), ImageConv2d(ngf, config.out_channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.model(x)
        return (x + made).clamp(-1, 1) if self.config.residual else made


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
