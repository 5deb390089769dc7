"""Channels filled up for onnxruntime: the same function, in multiples, whatever the architecture."""

import pytest
import torch
from architectures import ARCHITECTURES, case, float_case
from networks import SIZE, enliven, random_bits, separable, toy_generator, toy_images
from torch import nn

from ganprune.deploy import alignment
from ganprune.deploy.alignment import MULTIPLE, aligned
from ganprune.filters.builder import compact
from ganprune.filters.tracing import find_groups
from ganprune.models.architecture import input_channels


def widths(network, size=SIZE):
    return [group.size for group in find_groups(network, torch.zeros(1, input_channels(network), size, size))[0]]


@pytest.fixture
def small_blocks(monkeypatch):
    """Toy networks have few channels: let them count as more than one block."""
    monkeypatch.setattr(alignment, "ONE_BLOCK", 0)


DEEP = ("six blocks", "nine blocks")


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in DEEP else n for n in ARCHITECTURES])
@torch.no_grad()
def test_the_function_stays_the_same(name, small_blocks):
    network, space = case(name, "grouped")
    for seed in range(3):
        narrow = compact(network, space, random_bits(space, seed))
        image = toy_images(2, (SIZE, SIZE), channels=input_channels(network))
        wide = aligned(narrow, image)
        assert torch.allclose(wide(image), narrow(image), atol=1e-10, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"affine": True}, {"norm": "batch"}, {"upsampling": "nearest"}])
def test_every_group_has_a_multiple(options, small_blocks):
    network, space = float_case(**options)
    bits = space.repair([index % 4 != 0 for index in range(len(space))])
    narrow = compact(network, space, bits)
    assert any(width % MULTIPLE for width in widths(narrow))
    wide = aligned(narrow, torch.zeros(1, 3, SIZE, SIZE))
    assert widths(wide) == [width + -width % MULTIPLE for width in widths(narrow)]


def test_what_fills_one_block_or_has_multiples_stays_as_it_is():
    image = torch.zeros(1, 3, SIZE, SIZE)
    for ngf in (3, 20):  # 3, 6, 12: one block; 20, 40, 80: multiples
        network = toy_generator(ngf=ngf, blocks=1)
        assert aligned(network, image) is network


def test_what_was_narrow_stays_as_it_was(small_blocks):
    narrow = toy_generator(ngf=3, blocks=1)
    before = {key: tensor.clone() for key, tensor in narrow.state_dict().items()}
    aligned(narrow, torch.zeros(1, 3, SIZE, SIZE))
    assert all(torch.equal(before[key], tensor) for key, tensor in narrow.state_dict().items())


def test_a_network_that_notices_silent_channels_stays(small_blocks):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)

        def forward(self, x):
            return self.last(self.first(x).softmax(1))

    network, image = enliven(Attention()).eval(), toy_images(1).float()
    assert [width % MULTIPLE for width in widths(network)] == [2]
    assert aligned(network, image) is network


def test_grouped_convolutions_and_networks_that_cannot_be_traced_stay(small_blocks):
    class Untraceable(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            raise RuntimeError("no")

    network = Untraceable()
    assert aligned(network, torch.zeros(1, 3, SIZE, SIZE)) is network
    depthwise = [
        m.groups for m in aligned(separable(), torch.zeros(1, 3, SIZE, SIZE)).modules() if hasattr(m, "groups")
    ]
    assert depthwise == [m.groups for m in separable().modules() if hasattr(m, "groups")]
