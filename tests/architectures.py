"""Networks of every architecture that we claim, with their filter spaces."""

import functools

import torch
from networks import SIZE, UNet, enliven, grouped, separable, shuffled, toy_generator, toy_unet, twice
from thirdparty import CourseGenerator, Pix2PixUnet, affine_nearest
from torch import nn

from ganprune.filters.space import FilterSpace

ARCHITECTURES = {
    "instance": lambda: toy_generator(torch.float64),
    "affine": lambda: toy_generator(torch.float64, affine=True),
    "batch": lambda: toy_generator(torch.float64, norm="batch"),
    "dropout": lambda: toy_generator(torch.float64, dropout=True),
    "six blocks": lambda: toy_generator(torch.float64, ngf=3, blocks=6, norm="batch"),
    "nine blocks": lambda: toy_generator(torch.float64, ngf=3, blocks=9),
    "no blocks": lambda: toy_generator(torch.float64, blocks=0),
    "zero padding": lambda: toy_generator(torch.float64, padding="zero"),
    "unet": lambda: enliven(UNet()).double().eval(),
    "separable": lambda: enliven(separable()).double().eval(),
    "affine without biases": lambda: toy_generator(torch.float64, affine=True, bias=False),
    "zero padding, dropout": lambda: toy_generator(torch.float64, padding="zero", dropout=True),
    "nearest": lambda: toy_generator(torch.float64, upsampling="nearest"),
    "bilinear": lambda: toy_generator(torch.float64, upsampling="bilinear", upsampling_padding="reflect", norm="batch"),
    "grey to colour": lambda: toy_generator(torch.float64, in_channels=1),
    "colour to two": lambda: toy_generator(torch.float64, out_channels=2, norm="batch"),
    "no norms": lambda: toy_generator(torch.float64, norm="none"),
    "no norms, with biases": lambda: toy_generator(torch.float64, norm="none", bias=True, upsampling="nearest"),
    "batch norm by each image's statistics": lambda: toy_generator(torch.float64, norm="batch", statistics="batch"),
    "one halving": lambda: toy_generator(torch.float64, downsamplings=1, upsampling="bilinear"),
    "three halvings": lambda: toy_generator(torch.float64, ngf=3, downsamplings=3),
    "added to the image": lambda: toy_generator(torch.float64, residual=True, norm="batch"),
    "no halving": lambda: toy_generator(torch.float64, downsamplings=0, norm="batch"),
    "pix2pix without norms": lambda: toy_unet(torch.float64, norm="none"),
    "pix2pix by each image's statistics": lambda: toy_unet(torch.float64, statistics="batch"),
    "pix2pix": lambda: toy_unet(torch.float64),
    "pix2pix, instance": lambda: toy_unet(torch.float64, norm="instance", affine=True, in_channels=1, out_channels=1),
    "somebody's pix2pix": lambda: enliven(Pix2PixUnet(levels=2)).double().eval(),
    "somebody's own names": lambda: enliven(CourseGenerator()).double().eval(),
    "somebody's nearest": lambda: enliven(affine_nearest()).double().eval(),
    "grouped": lambda: enliven(grouped()).double().eval(),
    "repeated": lambda: enliven(twice()).double().eval(),
    "pixel shuffle": lambda: enliven(shuffled()).double().eval(),
    "plain batch norm": lambda: chain(nn.BatchNorm2d(4, affine=False), nn.ReLU()).double().eval(),
}


def make_space(generator, encoding="grouped"):
    return FilterSpace(generator, encoding=encoding, size=SIZE)


@functools.cache
def case(name, encoding):
    """One network and its space; they must not be changed."""
    network = ARCHITECTURES[name]()
    return network, make_space(network, encoding)


@functools.cache
def float_case(**options):
    """A float32 toy and its space; they must not be changed."""
    network = toy_generator(**options)
    return network, make_space(network)


def chain(*layers):
    return enliven(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *layers, nn.Conv2d(4, 3, 3, padding=1), nn.Tanh())
    ).eval()
