"""Networks as others write them: what users bring, in names and forms that ganprune has no part in.

They are handed over as a state dict and, where the names are unlike the usual ones, as ``thirdparty:FUNCTION``.
"""

import torch
from networks import enliven
from torch import nn


class ConvNormAct(nn.Module):
    """A convolution with affine instance norm, as some courses write it: names end in ``conv`` and ``norm``."""

    def __init__(self, inputs, outputs, kernel, stride=1, up=False, act=True):
        super().__init__()
        if up:
            self.conv = nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1, bias=False)
        else:
            self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False, padding_mode="reflect")
        self.norm = nn.InstanceNorm2d(outputs, affine=True)
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first, self.second = ConvNormAct(channels, channels, 3), ConvNormAct(channels, channels, 3, act=False)

    def forward(self, x):
        return x + self.second(self.first(x))


class CourseGenerator(nn.Module):
    """A CycleGAN generator in names of its own, with affine instance norm and without biases."""

    def __init__(self, image=3, width=4, blocks=2, target=None):
        super().__init__()
        self.entry = ConvNormAct(image, width, 7)
        self.down = nn.ModuleList([ConvNormAct(width, 2 * width, 3, 2), ConvNormAct(2 * width, 4 * width, 3, 2)])
        self.residuals = nn.Sequential(*(Residual(4 * width) for _ in range(blocks)))
        self.up = nn.ModuleList(
            [ConvNormAct(4 * width, 2 * width, 3, up=True), ConvNormAct(2 * width, width, 3, up=True)]
        )
        self.last = nn.Conv2d(width, target or image, 7, padding=3, padding_mode="reflect")

    def forward(self, x):
        x = self.entry(x)
        for layer in self.down:
            x = layer(x)
        x = self.residuals(x)
        for layer in self.up:
            x = layer(x)
        return torch.tanh(self.last(x))


class PooledDiscriminator(nn.Module):
    """A discriminator that gives one number for each image: (B, 3, H, W) -> (B, 1)."""

    def __init__(self, width=4):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 4, 2, 1))

    def forward(self, x):
        return self.features(x).mean((2, 3))


class Scales(nn.Module):
    """A discriminator in the form of pix2pixHD's: for each of two scales a list of features and, last, the scores."""

    def __init__(self, width=4, features=True):
        super().__init__()
        self.features = features
        self.scales = nn.ModuleList(
            nn.ModuleList(
                [nn.Conv2d(3, width, 4, 2, 1), nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, 1, 3, 1, 1)]
            )
            for _ in range(2)
        )

    def forward(self, x):
        found = []
        for layers in self.scales:
            seen = [x]
            for layer in layers:
                seen.append(layer(nn.functional.leaky_relu(seen[-1], 0.2)))
            found.append(seen[1:] if self.features else seen[-1])
            x = nn.functional.avg_pool2d(x, 2)
        return found


class TwoNames(nn.Module):
    """A generator whose first layers are registered under two names each."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.encoder = nn.Sequential(self.first, nn.ReLU(), self.second, nn.ReLU())
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        return torch.tanh(self.last(self.encoder(x)))


def level(outer, width, inside=None, outermost=False, image=(3, 3)):
    """One level of a U-Net of pix2pix, as a module with an attribute ``model``; batch norm, so no biases within."""
    inputs, outputs = image if outermost else (outer, outer)
    down = nn.Conv2d(inputs, width, 4, 2, 1, bias=False)
    up = nn.ConvTranspose2d(width if inside is None else 2 * width, outputs, 4, 2, 1, bias=outermost)
    if outermost:
        return Level([down, inside, nn.ReLU(True), up, nn.Tanh()], skip=False)
    if inside is None:
        return Level([nn.LeakyReLU(0.2, True), down, nn.ReLU(True), up, nn.BatchNorm2d(outer)])
    middle = [nn.LeakyReLU(0.2, True), down, nn.BatchNorm2d(width), inside, nn.ReLU(True), up, nn.BatchNorm2d(outer)]
    return Level(middle)


class Level(nn.Module):
    def __init__(self, layers, skip=True):
        super().__init__()
        self.model, self.skip = nn.Sequential(*layers), skip

    def forward(self, x):
        return torch.cat([x, self.model(x)], dim=1) if self.skip else self.model(x)


class Pix2PixUnet(nn.Module):
    """The U-Net of pix2pix with few levels, in the names of its public files; activations work in place."""

    def __init__(self, width=4, levels=4, image=(3, 3)):
        super().__init__()
        widths = [width * min(2**index, 8) for index in range(levels)]
        inside = level(widths[-2], widths[-1])
        for index in range(levels - 2, 0, -1):
            inside = level(widths[index - 1], widths[index], inside)
        self.model = level(None, widths[0], inside, outermost=True, image=image)

    def forward(self, x):
        return self.model(x)


def course_generator(width=4, image=3):
    """A factory: what ``--generator thirdparty:course_generator`` calls."""
    return CourseGenerator(image, width)


class Holder(nn.Module):
    """A generator inside a module, as some save it."""

    def __init__(self):
        super().__init__()
        self.generator = CourseGenerator()

    def forward(self, x):
        return self.generator(x)


def pooled_discriminator():
    return PooledDiscriminator()


def number():
    """No network."""
    return 3


def broken():
    raise ValueError("no such width")


def affine_nearest(blocks=2, width=4, target=3):
    """A CycleGAN generator in the usual names: affine instance norm, no biases, enlargement and convolution."""

    def normed(inputs, outputs, kernel, **options):
        layers = [nn.Conv2d(inputs, outputs, kernel, bias=False, **options), nn.InstanceNorm2d(outputs, affine=True)]
        return [*layers, nn.ReLU(True)]

    class Block(nn.Module):
        def __init__(self, channels):
            super().__init__()
            tail = normed(channels, channels, 3)[:-1]
            self.conv_block = nn.Sequential(
                nn.ReflectionPad2d(1), *normed(channels, channels, 3), nn.ReflectionPad2d(1), *tail
            )

        def forward(self, x):
            return x + self.conv_block(x)

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            layers = [nn.ReflectionPad2d(3), *normed(3, width, 7)]
            for wide in (width, 2 * width):
                layers += normed(wide, 2 * wide, 3, stride=2, padding=1)
            layers += [Block(4 * width) for _ in range(blocks)]
            for wide in (4 * width, 2 * width):
                layers += [nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), *normed(wide, wide // 2, 3)]
            layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, target, 7), nn.Tanh()]
            self.model = nn.Sequential(*layers)

        def forward(self, x):
            return self.model(x)

    return Generator()


def alive(network, seed=0):
    return enliven(network, seed).float().eval()
