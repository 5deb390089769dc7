"""What may be pruned is decided by numbers: kinds of layers only explain, and one group never condemns the others."""

import re
import warnings

import pytest
import torch
from networks import SIZE, enliven, random_bits, toy_images
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from ganprune.cost.profile import parameters
from ganprune.errors import UserError
from ganprune.filters.builder import NetworkBuilder, compact, mask
from ganprune.filters.slicing import fit_to_tensors
from ganprune.filters.space import FilterSpace

OUTER = ["first", "down.0", "up.1"]  # the groups of a Body without a middle


class Body(nn.Module):
    """Halves an image, puts it through ``middle``, and doubles it."""

    def __init__(self, middle=nn.Identity, width=4, norm=nn.InstanceNorm2d):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.Sequential(nn.Conv2d(width, 8, 3, 2, 1), norm(8), nn.ReLU(True))
        self.middle = middle()
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(True))
        self.last = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x):
        return torch.tanh(self.last(self.up(self.middle(self.down(torch.relu(self.first(x)))))))


class Gate(nn.Module):
    """Squeeze and excitation by 1x1 convolutions."""

    def __init__(self, sigmoid):
        super().__init__()
        self.squeeze, self.excite, self.sigmoid = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1), sigmoid

    def forward(self, x):
        return x * self.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))


class LinearGate(nn.Module):
    """Squeeze and excitation by linear layers."""

    def __init__(self):
        super().__init__()
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)

    def forward(self, x):
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3))))))[:, :, None, None]


class NeighbourGate(nn.Module):
    """A gate for each filter, made of its neighbours in their order, as in ECA-Net."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x):
        return x * torch.sigmoid(self.layer(x.mean((2, 3))[:, None]))[:, 0, :, None, None]


class Attention(nn.Module):
    """Self-attention over positions, as in SAGAN."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 1), nn.Conv2d(8, 8, 1)
        self.gamma = nn.Parameter(torch.tensor([0.7]))

    def forward(self, x):
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        weights = torch.softmax(query.transpose(1, 2) @ key, -1)
        return self.gamma * (value @ weights.transpose(1, 2)).view_as(x) + x


class Blur(nn.Module):
    """A fixed kernel for each channel, held as a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("kernel", torch.full((8, 1, 3, 3), 1 / 9))

    def forward(self, x):
        return F.conv2d(x, self.kernel, padding=1, groups=x.shape[1])


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def spectral(wrap):
    return nn.Sequential(wrap(nn.Conv2d(8, 8, 3, padding=1)), nn.ReLU(True))


def hooked_weight_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of its age: files that were made with it are still about
        return nn.utils.weight_norm(layer)


def body(middle=nn.Identity, **options):
    return enliven(Body(middle, **options)).double().eval()


def space_of(network, **options):
    return FilterSpace(network, size=SIZE, **options)


def names(space):
    return [group.name for group in space.groups]


def worst(network, space, seeds=3):
    """The largest difference between the masked and the compact form."""
    image = toy_images(2)
    with torch.no_grad():
        pairs = ((mask(network, space, b)(image), compact(network, space, b)(image)) for b in bits_of(space, seeds))
        return max(float((masked - small).abs().max()) for masked, small in pairs)


def bits_of(space, seeds):
    return [random_bits(space, seed) for seed in range(seeds)]


@pytest.mark.parametrize("sigmoid", [nn.Sigmoid(), torch.sigmoid, nn.Hardsigmoid()])
def test_a_gate_is_pruned_whether_its_sigmoid_is_a_module_or_a_function(sigmoid):
    space = space_of(network := body(lambda: Gate(sigmoid)))
    assert names(space) == [*OUTER[:2], "middle.squeeze", OUTER[2]]
    assert worst(network, space) < 1e-10


def test_linear_layers_lose_what_they_read_and_write_of_filters():
    space = space_of(network := body(LinearGate, norm=nn.BatchNorm2d))
    assert names(space) == OUTER and worst(network, space) < 1e-10
    small = compact(network, space, bits := space.encode({"down.0": [1, 4, 6]}))
    shapes = [(layer.in_features, layer.out_features) for layer in (small.middle.squeeze, small.middle.excite)]
    assert shapes == [(3, 4), (4, 3)] and parameters(small) == space.parameter_count(bits)
    again = body(LinearGate, norm=nn.BatchNorm2d)
    fit_to_tensors(again, small.state_dict())
    again.load_state_dict(small.state_dict())
    assert torch.equal(again(toy_images(1)), small(toy_images(1)))


KEPT = {  # what is in the middle -> why the filters that it is given stay
    "attention": (Attention, "tracing loses them in a rearrangement"),
    "blur": (Blur, "can't do without one of them"),
    "group norm": (lambda: nn.GroupNorm(2, 8), r"middle \(GroupNorm\) normalises several filters together"),
    "group norm without weights": (lambda: nn.GroupNorm(1, 8, affine=False), "normalises several filters together"),
    "layer norm": (lambda: nn.LayerNorm([8, 8, 8]), r"middle \(LayerNorm\) normalises several filters together"),
    "local response norm": (lambda: nn.LocalResponseNorm(3), r"\(LocalResponseNorm\) normalises several filters"),
    "a layer of another kind": (NeighbourGate, r"read by middle\.layer \(Conv1d\), of which no part can be cut"),
    "softplus": (nn.Softplus, r"middle \(Softplus\) makes something of zeros: f\(0\) != 0"),
    "hardly shifted": (lambda: nn.Hardtanh(1e-4, 1), r"middle \(Hardtanh\) makes something of zeros"),
    "cosine": (lambda: Function(torch.cos), r"middle \(Function\) makes something of zeros"),
    "mean of all": (lambda: Function(lambda x: x / (1 + x.abs().mean(1, True))), "differ from layer middle"),
    "softmax over filters": (lambda: nn.Softmax(1), r"middle \(Softmax\) makes something of zeros"),
    "spectral norm": (lambda: spectral(parametrizations.spectral_norm), r"weight of middle\.0 is computed"),
    "weight norm by a hook": (lambda: spectral(hooked_weight_norm), r"weight of middle\.0 is computed"),
    "spectral norm by a hook": (lambda: spectral(nn.utils.spectral_norm), r"weight of middle\.0 is computed"),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_cannot_be_pruned_stays_and_the_rest_is_searched(name):
    middle, why = KEPT[name]
    for encoding in ("grouped", "tied"):
        space = space_of(network := body(middle), encoding=encoding)
        assert [group for group in names(space) if group in OUTER] == ["first", "up.1"]
        assert re.search(why, space.unprunable["down.0"]) and worst(network, space) < 1e-10


@pytest.mark.parametrize("name", ["attention", "spectral norm", "linear gate"])
def test_layers_that_stay_are_reconstructed_where_they_read_pruned_filters(name):
    network = body(LinearGate if name == "linear gate" else KEPT[name][0])
    space, images = space_of(network), toy_images(4)
    builder = NetworkBuilder(network, space, images)
    bits = builder.space.encode({"first": [0, 2], "up.1": [1, 3, 5]})
    with torch.no_grad():
        wanted, sliced, solved = (n(images) for n in (network, compact(network, space, bits), builder(bits)))
    assert (solved - wanted).square().mean() < (sliced - wanted).square().mean()
    assert builder(bits).down[0].weight.shape == (8, 2, 3, 3)


def test_of_groups_that_only_fail_together_the_first_is_searched():
    class Pair(nn.Module):
        """It notices when filters of two groups are gone."""

        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 6, 3, padding=1)
            self.other, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)

        def forward(self, x):
            left, right, other = self.left(x), self.right(x), self.other(x)
            lost = (left.shape[1] < 6) and (right.shape[1] < 6)
            return self.last(torch.cat([left, right, other], 1)) + float(lost)

    space = space_of(network := enliven(Pair()).double().eval())
    assert names(space) == ["left", "other"] and list(space.unprunable)[-1] == "right"
    assert worst(network, space) < 1e-10


def test_equal_by_accident_is_not_equal():
    network = body(lambda: nn.Sequential(Function(torch.cos), nn.Conv2d(8, 8, 1), nn.ReLU()))
    with torch.no_grad():
        network.middle[1].bias.fill_(-1e3)  # a layer that no image in [-1, 1] brings to life
    assert "down.0" in space_of(network).unprunable
    loud = body(lambda: Function(lambda x: x / x.abs().mean(1, True).clamp_min(2)), norm=nn.Identity)
    with torch.no_grad():
        assert loud.down(torch.relu(loud.first(toy_images(8)))).mean(1).max() < 2, "it would show anyhow"
    assert "down.0" in space_of(loud).unprunable


def test_a_generator_is_refused_only_when_nothing_is_left():
    network = enliven(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Softplus(), nn.Conv2d(4, 3, 3, padding=1)))
    with pytest.raises(UserError, match=r"the filters of 0 stay, since 1 \(Softplus\) makes something of zeros"):
        space_of(network)


def test_a_network_that_takes_no_float64_is_checked_in_its_own_precision():
    class Single(nn.Module):
        def forward(self, x):
            return F.conv2d(x, torch.ones(x.shape[1], 1, 1, 1), groups=x.shape[1])

    space = space_of(network := enliven(Body(Single)).eval())
    assert names(space) == OUTER
    assert "down.0" in space_of(enliven(Body(lambda: nn.Sequential(Single(), nn.Softplus()))).eval()).unprunable
    assert next(network.parameters()).dtype == torch.float32
