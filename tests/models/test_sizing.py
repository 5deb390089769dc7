"""Which sizes come back from a generator as they went in."""

import pytest
import torch
from networks import UNet, separable, toy_generator
from torch import nn

from ganprune.errors import UserError
from ganprune.models.architecture import input_channels
from ganprune.models.sizing import size_multiple


@pytest.mark.parametrize(
    ("networks", "multiple"),
    [
        ([toy_generator], 4), ([separable], 1), ([UNet], 4), ([lambda: nn.Conv2d(3, 3, 3, padding=1)], 1),
        ([lambda: nn.Sequential(nn.Conv2d(3, 2, 4, 2, 1), nn.ConvTranspose2d(2, 3, 4, 2, 1))], 2),
        ([separable, UNet], 4),
    ],
)  # fmt: skip
@torch.no_grad()
def test_multiples_of_it_keep_their_size_and_others_do_not(networks, multiple):
    networks = [network() for network in networks]
    assert size_multiple(networks) == multiple
    for factor in (5, 6, 7):
        image = torch.zeros(1, 3, factor * multiple, (factor + 4) * multiple)
        assert all(network.eval()(image).shape == image.shape for network in networks)
    assert all(tensor.device.type == "cpu" for network in networks for tensor in network.parameters())


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
    with pytest.raises(UserError, match=r"whose images differ in size from those it is given \(.*5 channels"):
        size_multiple([nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(5, 3, 3, padding=1))])
