"""Toy networks for the tests: small, and with weights that leave no activation degenerate."""

import math

import torch
from torch import nn

from ganprune.data.pixels import to_float
from ganprune.metrics.features import Features
from ganprune.models.architecture import build
from ganprune.models.cyclegan import CycleGAN, Side
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.models.unet import UnetConfig

SIZE = 16


def enliven(network, seed=0):
    """Draw weights, biases, norm scales and running statistics so that every channel carries its own signal."""
    draw = torch.Generator().manual_seed(seed)

    def normal(tensor, scale):
        tensor.data.copy_(torch.randn(tensor.shape, generator=draw, dtype=torch.float64) * scale)

    def uniform(tensor, low, high):
        tensor.data.copy_(torch.rand(tensor.shape, generator=draw, dtype=torch.float64) * (high - low) + low)

    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            normal(module.weight, 1.5 / math.sqrt(module.weight[0].numel()))
            if module.bias is not None:
                normal(module.bias, 0.3)
        if isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d)):
            if module.weight is not None:
                uniform(module.weight, 0.5, 1.5)
                normal(module.bias, 0.3)
            if module.running_mean is not None:
                normal(module.running_mean, 0.3)
                uniform(module.running_var, 0.5, 2.0)
    return network


def toy_generator(dtype=torch.float32, seed=0, **options):
    """A lively ResnetGenerator in evaluation mode: ngf=4, 2 blocks unless told otherwise."""
    config = GeneratorConfig(**{"ngf": 4, "blocks": 2, **options})
    return enliven(build(config), seed).to(dtype).eval()


def toy_unet(dtype=torch.float32, seed=0, **options):
    """A lively UnetGenerator in evaluation mode, with two levels, so that it takes multiples of 4."""
    config = UnetConfig(**{"ngf": 4, "levels": 2, **options})
    return enliven(build(config), seed).to(dtype).eval()


def toy_cyclegan(dtype=torch.float32, seed=0, **options):
    """Both sides, each network with weights of its own; the discriminators map 16x16 images to 6x6 patches."""
    sides = []
    for index, name in enumerate(("A2B", "B2A")):
        discriminator = build(DiscriminatorConfig(ndf=4, layers=1, norm=options.get("norm", "instance")))
        discriminator = enliven(discriminator, seed + 10 + index).to(dtype).eval()
        sides.append(Side(name, toy_generator(dtype, seed + index, **options), discriminator))
    return CycleGAN(*sides)


def toy_images(count=2, size=(SIZE, SIZE), dtype=torch.float64, seed=5, channels=3):
    """Noise images in [-1, 1]: (count, channels, H, W)."""
    draw = torch.Generator().manual_seed(seed)
    return torch.rand((count, channels, *size), generator=draw, dtype=torch.float64).mul(2).sub(1).to(dtype)


def random_bits(space, seed, density=0.5):
    """Legal bits, each on with probability ``density``."""
    draw = torch.Generator().manual_seed(seed)
    return space.repair((torch.rand(len(space), generator=draw) < density).int().tolist())


class UNet(nn.Module):
    """Two levels and a skip that is concatenated: (B, 3, H, W) -> (B, 3, H, W)."""

    def __init__(self):
        super().__init__()
        self.down1 = nn.Conv2d(3, 4, 4, 2, 1)
        self.norm1 = nn.InstanceNorm2d(4, affine=True)
        self.down2 = nn.Conv2d(4, 6, 4, 2, 1)
        self.norm2 = nn.BatchNorm2d(6)
        self.up2 = nn.ConvTranspose2d(6, 5, 4, 2, 1)
        self.norm3 = nn.InstanceNorm2d(5)
        self.up1 = nn.ConvTranspose2d(4 + 5, 3, 4, 2, 1)

    def forward(self, x):
        first = torch.relu(self.norm1(self.down1(x)))
        second = torch.relu(self.norm2(self.down2(first)))
        up = torch.relu(self.norm3(self.up2(second)))
        return torch.tanh(self.up1(torch.cat([first, up], 1)))


def separable():
    """A generator of depthwise-separable convolutions, biased and not, plain and strided."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.InstanceNorm2d(6, affine=True),
        nn.ReLU(True),
        nn.Conv2d(6, 6, 3, padding=1, groups=6),
        nn.BatchNorm2d(6),
        nn.ReLU(True),
        nn.Conv2d(6, 5, 1, bias=False),
        nn.LeakyReLU(0.2),
        nn.Conv2d(5, 5, 3, padding=1, groups=5, bias=False),
        nn.Conv2d(5, 3, 1),
        nn.Tanh(),
    )


def grouped():
    """A generator of convolutions in 2 and 3 parts, one after the other, transposed and plain; and a depthwise one."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=2),
        nn.InstanceNorm2d(12, affine=True),
        nn.ConvTranspose2d(12, 6, 4, stride=2, padding=1, groups=3),
        nn.BatchNorm2d(6),
        nn.ReLU(True),
        nn.Conv2d(6, 6, 3, padding=1, groups=6),
        nn.Conv2d(6, 3 * 2, 1),
        nn.ReLU(True),
        nn.Conv2d(6, 3, 3, padding=1),
        nn.Tanh(),
    )


class Twice(nn.Module):
    """What a residual sum writes is concatenated with one of its summands: the same filters at two places."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.last = nn.InstanceNorm2d(12, affine=True), nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.first(x))
        both = torch.cat([x, x + self.second(x)], 1)
        return torch.tanh(self.last(torch.relu(self.norm(both))))


def twice():
    return Twice()


def shuffled():
    """A decoder of PixelShuffle, which makes four filters one channel."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 20, 3, padding=1),
        nn.PixelShuffle(2),
        nn.ReLU(),
        nn.Conv2d(5, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3, padding=1),
        nn.Tanh(),
    )


class Counted(Features):
    """Means of the colours as features, which count the images that they were asked for."""

    name = "Counted"

    def __init__(self, bias=0.0):
        super().__init__(torch.nn.Conv2d(3, 4, 1))
        torch.nn.init.constant_(self.network.weight, 0.5)
        torch.nn.init.constant_(self.network.bias, bias)
        self.seen = 0

    def of_pixels(self, pixels):
        self.seen += len(pixels)
        return self.network(to_float(pixels)).mean((2, 3))
