"""Which sizes come back from a generator as they went in."""

import pytest
import torch
from networks import UNet, separable, toy_generator
from torch import nn

from ganprune.errors import UserError
from ganprune.models.architecture import build, input_channels
from ganprune.models.cyclegan import CycleGAN, Side
from ganprune.models.generator import GeneratorConfig
from ganprune.models.sizing import check_size, shapes_only, size_multiple, translate
from ganprune.models.unet import UnetConfig


def strided(step, halvings=1, padding=1):
    """Shrinks an image ``halvings`` times by ``step``, pads by reflection there, and enlarges it again."""
    layers = [nn.Conv2d(3, 3, step, step) for _ in range(halvings)]
    layers += [nn.ReflectionPad2d(padding), nn.Conv2d(3, 3, 2 * padding + 1)]
    return nn.Sequential(*layers, *(nn.ConvTranspose2d(3, 3, step, step) for _ in range(halvings)))


class PadsInside(nn.Module):
    """It fills an image up to multiples of 8, and cuts what comes out."""

    def __init__(self):
        super().__init__()
        self.inner = strided(2, 3)

    def forward(self, x):
        height, width = x.shape[-2:]
        padded = nn.functional.pad(x, (0, -width % 8, 0, -height % 8))
        return self.inner(padded)[..., :height, :width]


class OneSize(nn.Module):
    """A layer that has an element for each pixel."""

    def __init__(self, side):
        super().__init__()
        self.layer, self.bias = nn.Conv2d(3, 3, 3, padding=1), nn.Parameter(torch.zeros(side, side))

    def forward(self, x):
        return self.layer(x) + self.bias


@pytest.mark.parametrize(
    "config",
    [
        GeneratorConfig(ngf=2, blocks=1), GeneratorConfig(ngf=2, blocks=0, downsamplings=0),
        GeneratorConfig(ngf=2, blocks=1, downsamplings=3, upsampling="nearest"), UnetConfig(ngf=2, levels=3),
    ],
)  # fmt: skip
def test_what_ours_say_they_need_is_what_is_found(config):
    network = build(config).eval()
    assert size_multiple([network]) == size_multiple([nn.Sequential(network)])  # which says nothing


@pytest.mark.parametrize(
    ("networks", "multiple"),
    [
        ([toy_generator], 4), ([separable], 1), ([UNet], 4), ([lambda: nn.Conv2d(3, 3, 3, padding=1)], 1),
        ([lambda: nn.Sequential(nn.Conv2d(3, 2, 4, 2, 1), nn.ConvTranspose2d(2, 3, 4, 2, 1))], 2),
        ([separable, UNet], 4), ([lambda: strided(3)], 3), ([lambda: strided(6)], 6), ([lambda: strided(20)], 20),
        ([lambda: strided(2, 4)], 16), ([lambda: strided(2, 5)], 32), ([PadsInside], 1),
        ([lambda: strided(2, 2, padding=16)], 4), ([lambda: strided(1, padding=40)], 1),
        ([lambda: strided(3), lambda: strided(2)], 6),
        ([lambda: nn.Sequential(nn.Conv2d(3, 2, 3, 2, 1), nn.Upsample(scale_factor=2), nn.Conv2d(2, 3, 1))], 2),
    ],
)  # fmt: skip
@torch.no_grad()
def test_multiples_of_it_keep_their_size_and_others_do_not(networks, multiple):
    networks = [network() for network in networks]
    assert size_multiple(networks) == multiple
    least = -(-80 // multiple)  # some take no smaller images
    for factor in (least, least + 1, least + 2):
        image = torch.zeros(1, 3, factor * multiple, (factor + 4) * multiple)
        assert all(network.eval()(image).shape == image.shape for network in networks)
    shapes = [shapes_only(network) for network in networks]
    for side in (127 * divisor for divisor in range(1, multiple)):
        image = torch.zeros(1, 3, side, side, device="meta")
        assert any(not keeps(network, image) for network in shapes), side
    assert all(tensor.device.type == "cpu" for network in networks for tensor in network.parameters())


def keeps(network, image):
    try:
        return network(image).shape == image.shape
    except RuntimeError:
        return False


@pytest.mark.parametrize("side", [64, 96, 256])
def test_a_network_for_one_size_gets_it(side):
    assert side % size_multiple([OneSize(side)]) == 0 and size_multiple([OneSize(side)]) > 16


@torch.inference_mode()
def test_an_image_that_a_network_takes_is_translated_as_it_is_and_a_too_small_one_is_mirrored():
    network = strided(2, 4).eval()
    image = torch.rand(1, 3, 48, 48)
    assert torch.equal(translate(network, image, size_multiple([network])), network(image))
    for size in ((16, 16), (17, 40)):  # a sixteenth of 16 is one pixel, of which there is no reflection
        assert translate(network, image[..., : size[0], : size[1]], 16).shape[-2:] == size
    with pytest.raises(RuntimeError):
        translate(network, torch.zeros(1, 4, 48, 48), 16)


def test_a_size_that_is_too_small_or_not_kept_is_told():
    with pytest.raises(UserError, match=r"size: got 16x16, which the A2B generator can't take .* --size: 32x32 would"):
        check_size(CycleGAN(Side("A2B", strided(2, 4).eval())), (16, 16))
    with pytest.raises(UserError, match=r"size: got 32x32, of which the A2B generator makes 30x30"):
        check_size(CycleGAN(Side("A2B", strided(3).eval())), (32, 32))


def test_a_deep_u_net_needs_multiples_of_its_halvings():
    down = [nn.Conv2d(3 if index == 0 else 2, 2, 4, 2, 1) for index in range(6)]
    up = [nn.ConvTranspose2d(2, 3 if index == 5 else 2, 4, 2, 1) for index in range(6)]
    assert size_multiple([nn.Sequential(*down, *up)]) == 64


def test_a_generator_that_changes_the_size_is_refused():
    with pytest.raises(UserError, match="generator: got Sequential, whose images differ in size"):
        size_multiple([nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Upsample(scale_factor=2))])
    with pytest.raises(UserError, match="network: got Tanh; expected a network with 2-d convolutions"):
        input_channels(nn.Tanh())


class OwnTensors(nn.Module):
    """It makes a tensor of its own, on the CPU, and keeps multiples of two."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 2, 4, 2, 1), nn.ConvTranspose2d(2, 3, 4, 2, 1)

    def forward(self, x):
        return self.up(self.down(x)) + torch.zeros(1)[0].item() * x[..., :1, :1]


def test_a_network_that_shapes_alone_do_not_tell_is_run():
    assert size_multiple([OwnTensors()]) == 2


def test_the_reason_of_a_network_that_always_fails_is_told():
    with pytest.raises(UserError, match=r"which fails \(.*5 channels.* an attribute in_channels"):
        size_multiple([nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(5, 3, 3, padding=1))])
