"""Generators as people write them: noise, labels, more than one output, parameters of their own, frozen parts."""

import pytest
import torch
from networks import enliven, random_bits, toy_images
from torch import nn
from torch.nn import functional as F

from ganprune.errors import UserError
from ganprune.filters.builder import compact, mask
from ganprune.filters.saving import load_generator, save_generator
from ganprune.filters.space import FilterSpace
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.options import CheckpointOptions
from ganprune.models.sizing import size_multiple
from ganprune.pipeline.ranges import range_notes
from ganprune.pipeline.task import load_task


class Small(nn.Module):
    """Two layers and what a test makes of them."""

    def __init__(self, middle=None):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.InstanceNorm2d(6, affine=True)
        self.middle = middle or nn.Identity()
        self.inner, self.last = nn.Conv2d(6, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def features(self, x):
        return torch.relu(self.inner(self.middle(torch.relu(self.norm(self.first(x))))))

    def forward(self, x):
        return torch.tanh(self.last(self.features(x)))


class Labelled(Small):
    def forward(self, x, label):
        return super().forward(x) * label


class Several(Small):
    def forward(self, x):
        return super().forward(x), x.mean((2, 3))


class Noisy(Small):
    def features(self, x):
        made = super().features(x)
        return made + 0.1 * torch.randn_like(made)


class Dropping(Small):
    def features(self, x):
        return F.dropout(super().features(x), 0.5, training=True)


class Frozen(Small):
    def forward(self, x):
        with torch.no_grad():
            made = torch.relu(self.norm(self.first(x)))
        return torch.tanh(self.last(torch.relu(self.inner(made))))


class FromZero(Small):
    def forward(self, x):
        return torch.sigmoid(self.last(self.features(x)))


class Scale(nn.Module):
    """A scale and a shift for each channel, in the two shapes that people give them."""

    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.linspace(0.5, 1.5, channels).view(1, -1, 1, 1))
        self.shift = nn.Parameter(torch.linspace(-1, 1, channels).view(-1, 1, 1))

    def forward(self, x):
        return x * self.gamma + self.shift


def scaled():
    return Small(Scale(6))


def from_zero():
    return FromZero()


def lazy():
    return nn.Sequential(nn.LazyConv2d(4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1), nn.Tanh())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Labelled, r"Labelled, which fails \(.*'label'\); expected one that is called with images alone"),
        (Several, r"Several, which returns no images \(.* makes a tuple\); .* returns the images alone"),
    ],
)
def test_generators_of_more_than_images_are_named_with_what_to_do(make, message):
    with pytest.raises(UserError, match=message):
        size_multiple([make()])


@pytest.mark.parametrize("make", [Noisy, Dropping])
def test_a_generator_that_draws_random_numbers_is_told_so(make):
    with pytest.raises(UserError, match=r"makes another image of the same one each time.* Leave out noise"):
        FilterSpace(enliven(make()).eval(), size=16)


def test_layers_that_tracing_does_not_see_stay_and_are_told():
    generator = enliven(Frozen()).double().eval()
    space, real = FilterSpace(generator, size=16), toy_images()
    assert [group.name for group in space.groups] == ["inner"] and "without gradients" in space.unprunable["first"]
    bits = random_bits(space, 1)
    assert torch.allclose(compact(generator, space, bits)(real), mask(generator, space, bits)(real), atol=1e-10, rtol=0)


@torch.no_grad()
def test_parameters_of_ones_own_for_each_channel_are_cut_with_them(tmp_path):
    generator = enliven(scaled()).double().eval()
    space, real = FilterSpace(generator, size=16), toy_images()
    assert [group.name for group in space.groups] == ["first", "inner"]
    bits = random_bits(space, 2)
    small = compact(generator, space, bits)
    assert small.middle.gamma.shape[1] == len(small.middle.shift) == small.first.out_channels < 6
    assert torch.allclose(small(real), mask(generator, space, bits)(real), atol=1e-10, rtol=0)
    assert space.parameter_count(bits) == sum(parameter.numel() for parameter in small.parameters())
    save_generator(small, tmp_path / "A2B", architecture={"kind": "factory", "reference": "x:y"}, bits="0:")
    assert torch.allclose(load_generator(tmp_path / "A2B", factory=scaled)(real.float()), small.float()(real.float()))


def test_images_from_0_to_1_are_told(tmp_path, image_folder):
    for make, told in ((FromZero, True), (Small, False)):
        torch.save(enliven(make()).state_dict(), tmp_path / f"{make.__name__}.pth")
        networks = CheckpointOptions(generator=f"test_other_generators:{make.__name__}")
        task = load_task(tmp_path / f"{make.__name__}.pth", image_folder, 16, "cpu", networks)
        notes = range_notes(task)
        assert [note.startswith("generator A2B makes images from 0") for note in notes] == [True] * told


def test_layers_without_a_size_are_named(tmp_path):
    torch.save(nn.Conv2d(3, 4, 3).state_dict(), tmp_path / "netG_A2B.pth")
    with pytest.raises(UserError, match=r"lazy, whose 0.weight has no size yet; .* pass an image through it"):
        load_cyclegan(tmp_path, options=CheckpointOptions(generator="test_other_generators:lazy"))
