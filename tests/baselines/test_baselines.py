"""Baselines: each criterion on cases whose answer is known, and the sizes that scores become."""

import numpy as np
import pytest
import torch
from networks import SIZE, UNet, enliven, random_bits, separable, toy_generator, toy_images
from torch import nn
from torch.nn import functional as F

from ganprune.assets import default_checkpoint
from ganprune.baselines.choose import BaselineBuilder, allocate, order_filters
from ganprune.baselines.registry import BASELINES, Baseline
from ganprune.baselines.scores import chance, l1, trimming
from ganprune.baselines.slimming import GatedGenerator, slimming
from ganprune.baselines.subject import Ranking, Subject
from ganprune.baselines.thinet import contributions, removal_order, thinet
from ganprune.errors import UserError
from ganprune.filters.builder import compact, mask
from ganprune.filters.layers import layer_at
from ganprune.filters.reconstruction import restore_batch_statistics
from ganprune.filters.space import FilterSpace, combine, norms
from ganprune.models.checkpoint import load_cyclegan


def settled(network):
    """With running statistics of such images, lest a filter be silent to begin with."""
    restore_batch_statistics(network, toy_images(8, seed=9, dtype=torch.float32), 8)
    return network


NETWORKS = {
    "resnet": toy_generator,
    "batch": lambda: settled(toy_generator(norm="batch")),
    "affine": lambda: toy_generator(affine=True),
    "unet": lambda: enliven(UNet()).eval(),
    "separable": lambda: enliven(separable()).eval(),
}
RATIOS = (2, 4.3, 8, 10)


class Images:
    """Noise images in place of a training set."""

    def __init__(self, count=12):
        self.images = toy_images(count, dtype=torch.float32, seed=7)

    def __len__(self):
        return len(self.images)

    def tensor(self, indices):
        return self.images[list(indices)]


def subject_of(generator, side="A2B", calibration=None):
    calibration = toy_images(4, dtype=next(generator.parameters()).dtype) if calibration is None else calibration
    return Subject(side, generator, FilterSpace(generator, size=SIZE), calibration, Images())


def plain(*layers):
    """Two convolutions with a ReLU between them: one group, read by one layer."""
    return nn.Sequential(layers[0], nn.ReLU(), *layers[1:]).eval()


class Residual(nn.Module):
    """One group that two layers write, ``a`` and ``b``, and two read, ``b`` and ``c``; all of them 1x1."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 1, bias=False) for _ in range(3))

    def forward(self, x):
        x = torch.relu(self.a(x))
        return torch.tanh(self.c(x + self.b(x)))


def weights_of(layer, rows):
    layer.weight.data.copy_(torch.tensor(rows, dtype=torch.float32).view(layer.weight.shape))


def rank(method, subject, seed=1, steps=5):
    """Rank by a method; slimming in few steps."""
    options = {"steps": steps, "batch": 4} if method == "slimming" else {}
    return Baseline(method).criterion()(subject, seed, **options)


# --- what coupled filters are worth together


def test_a_bit_is_the_mean_over_all_channels_that_it_stands_for():
    subject = subject_of(Residual().eval())
    assert len(subject.space) == 3
    assert subject.space.channels(produces=True) == {"a": 0, "b": 0}
    assert subject.space.channels(produces=False) == {"b": 1, "c": 1}
    scores = {("a", 0): np.array([1.0, 2.0, 3.0]), ("b", 0): np.array([5.0, 2.0, 0.0])}
    assert combine(subject.space, scores).tolist() == [3.0, 2.0, 1.5]
    assert combine(subject.space, {}).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_bit_is_written_and_read_somewhere(name):
    space = subject_of(NETWORKS[name]()).space
    for produces in (True, False):
        places = space.channels(produces=produces).items()
        ones = {(layer, dim): np.ones(len(space.controller(layer, dim))) for layer, dim in places}
        assert combine(space, ones).tolist() == [1.0] * len(space)


# --- L1 and chance


def test_l1_by_hand():
    network = Residual().eval()
    weights_of(network.a, [[1, 0, 0], [0, -2, 0], [1, 1, 1]])  # L1 norms 1, 2, 3: 0.5, 1, 1.5 of their mean
    weights_of(network.b, [[3, 0, 0], [0, 0, 0], [0, 0, 0]])  # 3, 0, 0: 3, 0, 0 of their mean
    subject = subject_of(network)
    assert l1(subject).scores == pytest.approx([1.75, 0.5, 0.75])
    assert norms(subject.space, network) == pytest.approx([1.75, 0.5, 0.75])


def test_l1_is_the_norm_of_the_weights_whatever_the_importance_order_of_the_space():
    subject = subject_of(toy_generator())
    before = l1(subject).scores
    subject.space = subject.space.with_repair(order=range(len(subject.space)))
    assert l1(subject).scores.tolist() == before.tolist()


def test_chance_looks_at_nothing_and_every_side_and_seed_draws_its_own():
    subject, other = subject_of(toy_generator()), subject_of(toy_generator(seed=3))
    assert chance(subject, 1).scores.tolist() == chance(other, 1).scores.tolist()
    different = {
        tuple(chance(s, seed).scores) for s in (subject, subject_of(toy_generator(), "B2A")) for seed in (1, 2)
    }
    assert len(different) == 4
    assert sorted(set(chance(subject).scores)) == sorted(chance(subject).scores)


# --- network trimming


def test_zeros_after_the_activation_are_counted_as_by_hand():
    network = plain(nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1), nn.Tanh())
    weights_of(network[0], [[1, 0, 0], [0, 1, 0], [0, 0, -1]])
    images = torch.tensor([[1, 1, 1, -1], [-1, -1, 1, -1], [-1, -1, -1, -1]], dtype=torch.float32).view(1, 3, 2, 2)
    subject = subject_of(network, calibration=images)
    assert trimming(subject).scores.tolist() == [0.75, 0.25, 1.0]


def test_zeros_of_a_coupled_filter_are_averaged_over_the_layers_that_read_it():
    network = Residual().eval()
    weights_of(network.a, np.eye(3))
    weights_of(network.b, [[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    images = torch.tensor([[1, 1, -1, -1], [-1, 1, 1, -1], [-1, -1, -1, -1]], dtype=torch.float32).view(1, 3, 2, 2)
    # b reads relu(x), zero at 2, 2 and 4 of 4 places; c reads relu(x) + b(relu(x)), zero at 1, 2 and 4.
    assert trimming(subject_of(network, calibration=images)).scores.tolist() == [0.625, 0.5, 0.0]


# --- ThiNet


@pytest.mark.parametrize("name", ["resnet", "unet", "separable"])
def test_contributions_are_the_moments_of_each_channels_part_of_the_output(name):
    network = NETWORKS[name]().double()
    images = toy_images(2, (8, 8)) if name == "separable" else toy_images(2)
    subject = subject_of(network, calibration=images)
    for layer in subject.space.channels(produces=False):
        convolution, caught = layer_at(network, layer), []
        handle = convolution.register_forward_pre_hook(lambda module, inputs, into=caught: into.append(inputs[0]))
        network(images)
        handle.remove()
        parts = []
        for channel in range(convolution.in_channels):
            alone = torch.zeros_like(caught[0])
            alone[:, channel] = caught[0][:, channel]
            bias = torch.zeros_like(caught[0])
            parts.append((convolution(alone) - convolution(bias)).detach())
        stacked = torch.stack(parts)  # (C_in, B, C_out, H, W)
        positions = stacked[0, :, 0].numel()
        wanted = torch.einsum("jbohw,kbohw->jk", stacked, stacked) / positions
        assert contributions(subject.reconstruction, layer) == pytest.approx(wanted.numpy(), abs=1e-9)


def test_channels_are_removed_in_the_order_worked_out_by_hand():
    # First the smallest square; then the one that the first one's loss makes up for; then what is left.
    assert removal_order(np.array([[1, 0, -1], [0, 2, 0], [-1, 0, 1.5]])).tolist() == [0, 2, 1]
    assert removal_order(np.zeros((2, 2))).tolist() == [0, 1]


def test_thinet_drops_a_copy_first_and_its_factors_restore_the_output():
    network = plain(nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 3, 3, padding=1), nn.Tanh())
    enliven(network)
    first, second = network[0], network[2]
    with torch.no_grad():  # filter 3 says what filter 1 says, and the next layer hears it at a tenth
        first.weight[3], first.bias[3] = first.weight[1], first.bias[1]
        second.weight[:, 3] = 0.1 * second.weight[:, 1]
    subject = subject_of(network)
    ranking = thinet(subject)
    assert int(ranking.scores.argmin()) == 3
    bits = [1, 1, 1, 0, 1]
    assert ranking.rescaled(bits)["2"] == pytest.approx([1, 1.1, 1, 1], abs=1e-4)
    images = toy_images(3, seed=8, dtype=torch.float32)
    own, sliced = (BaselineBuilder(subject, ranking, weights)(bits)(images) for weights in ("own", "sliced"))
    assert torch.allclose(own, network(images), atol=1e-4)
    assert (sliced - network(images)).abs().max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_factors_never_raise_a_layers_error(name):
    subject = subject_of(NETWORKS[name]())
    ranking = thinet(subject)
    for seed in range(3):
        bits = random_bits(subject.space, seed)
        kept, factors = subject.space.kept(bits), ranking.rescaled(bits)
        for layer, dim in subject.space.channels(produces=False).items():
            inputs, product = kept[layer, "weight", dim], contributions(subject.reconstruction, layer)
            if len(inputs) == len(product):
                assert layer not in factors
                continue
            errors = []
            for scale in (np.ones(len(inputs)), factors[layer]):
                missing = np.ones(len(product))
                missing[inputs] -= scale
                errors.append(missing @ product @ missing)
            assert errors[1] <= errors[0] + 1e-6 * product.sum()


def test_a_group_that_several_layers_read_adds_up_their_relative_errors():
    network = Residual().eval()
    enliven(network)
    subject = subject_of(network)
    error = sum(
        contributions(subject.reconstruction, name) / contributions(subject.reconstruction, name).sum() for name in "bc"
    )
    assert np.argsort(thinet(subject).scores).tolist() == removal_order(error).tolist()


# --- slimming


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_open_gates_change_nothing(name):
    generator = NETWORKS[name]()
    subject = subject_of(generator)
    gated, images = GatedGenerator(subject), toy_images(2, dtype=torch.float32)
    wanted = generator(images)
    assert torch.allclose(gated.original(images), wanted, atol=1e-5)
    assert torch.allclose(gated(images), wanted, atol=1e-5)
    assert all(not parameter.requires_grad for parameter in gated.network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_closed_gate_is_a_filter_that_is_gone(name):
    """With batch norms; instance norms go on using the statistics of the whole network."""
    generator = NETWORKS[name]()
    for module in generator.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.track_running_stats, module.running_mean = True, torch.zeros(module.num_features)
            module.running_var = torch.ones(module.num_features)
    subject = subject_of(generator)
    gated, images = GatedGenerator(subject), toy_images(2, dtype=torch.float32)
    bits = random_bits(subject.space, 4)
    gated.gates.data.copy_(torch.tensor(bits))
    gated.original(images)
    assert torch.allclose(gated(images), mask(generator, subject.space, bits)(images), atol=1e-4)


def test_a_norm_does_not_undo_what_the_gates_of_a_group_have_in_common():
    subject = subject_of(toy_generator())
    gated, images = GatedGenerator(subject), toy_images(2, dtype=torch.float32)
    wanted = gated.original(images)
    gated.gates.data[: subject.space.group_sizes[0]] = 0.5
    assert (gated(images) - wanted).abs().mean() > 0.01


def test_a_coupled_gate_is_in_the_penalty_once_for_each_layer_that_reads_it():
    network = nn.Sequential(nn.Conv2d(3, 2, 1), Residual())
    network[1].a = nn.Conv2d(2, 3, 1)
    gated = GatedGenerator(subject_of(network.eval()))
    gated.gates.data.copy_(torch.tensor([1.0, 2.0, 4.0, 5.0, 6.0]))  # 2 read once, 3 read twice
    assert gated.mean_gate().item() == pytest.approx((1 + 2 + 2 * (4 + 5 + 6)) / 8)


def test_slimming_closes_the_gate_of_a_useless_filter_and_leaves_those_that_matter_open():
    network = plain(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1), nn.Tanh())
    enliven(network)
    with torch.no_grad():
        network[2].weight[:, 2] = 0  # nobody listens to filter 2
    scores = slimming(subject_of(network), 1, steps=60, penalty=0.05).scores
    assert scores[2] == 0
    assert np.delete(scores, 2).min() > 0.5


def test_slimming_leaves_the_generator_as_it_was():
    generator = toy_generator(norm="batch")
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    flags = [(p.requires_grad, p.grad) for p in generator.parameters()]
    slimming(subject_of(generator), 1, steps=2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())
    assert [(p.requires_grad, p.grad) for p in generator.parameters()] == flags and not generator.training


# --- all of them


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", [method for method in BASELINES if method != "random"])
def test_a_dead_filter_goes_first(method, name):
    generator = NETWORKS[name]()
    space = FilterSpace(generator, size=SIZE)
    dead = [int(start) + 1 for start in space.offsets[:-1]]  # one of each group, in every layer that writes it
    generator = mask(generator, space, [int(index not in dead) for index in range(len(space))])
    scores = rank(method, subject_of(generator), steps=60).scores
    for index, part in zip(dead, space.split(scores), strict=True):
        assert scores[index] == part.min()
    # and is worth less than anything else of all groups where there is one threshold
    if BASELINES[method].width == "global":
        assert scores[dead].max() <= np.delete(scores, dead).min()


@pytest.mark.slow
@pytest.mark.parametrize("method", BASELINES)
def test_scores_are_finite_one_per_bit_and_the_same_for_the_same_seed(method):
    for name in ("resnet", "unet"):
        subjects = [subject_of(NETWORKS[name]()) for _ in range(2)]
        first, again = (rank(method, subject, 3).scores for subject in subjects)
        assert first.shape == (len(subjects[0].space),) and np.isfinite(first).all()
        assert first.tolist() == again.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("method", BASELINES)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_method_yields_a_network_with_each_kind_of_weights(method, name):
    subject = subject_of(NETWORKS[name]())
    ranking = rank(method, subject)
    most = subject.space.parameter_count(subject.space.full()) // 2
    bits = allocate(subject.space, order_filters(subject.space, ranking.scores, BASELINES[method].width), most)
    images, outputs = toy_images(2, dtype=torch.float32), {}
    for weights in ("own", "sliced", "reconstructed"):
        network = BaselineBuilder(subject, ranking, weights)(bits)
        assert sum(p.numel() for p in network.parameters()) == subject.space.parameter_count(bits) <= most
        outputs[weights] = network(images)
        assert torch.isfinite(outputs[weights]).all()
    assert torch.equal(outputs["sliced"], compact(subject.generator, subject.space, bits)(images))
    assert torch.equal(outputs["reconstructed"], subject.reconstruction.network(bits)(images))
    assert torch.equal(outputs["own"], outputs["sliced"]) == (method != "thinet")


def test_a_method_or_weights_that_do_not_exist():
    with pytest.raises(UserError, match=r"baseline: got tinet; expected l1, .* Did you mean 'thinet'\?"):
        Baseline("tinet")
    with pytest.raises(UserError, match=r"weights: got slised; expected own, sliced, .* Did you mean 'sliced'\?"):
        Baseline("l1", "slised")


# --- from scores to a size


def fits(space, bits, most):
    return space.parameter_count(bits) <= most


@pytest.mark.slow
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("width", ["uniform", "global"])
@pytest.mark.parametrize("name", NETWORKS)
def test_bits_fit_keep_the_best_of_each_group_and_leave_no_room_for_another_filter(name, width, ratio):
    generator = NETWORKS[name]()
    space = FilterSpace(generator, size=SIZE)
    scores = np.random.default_rng(1).normal(size=len(space))
    least, full = space.parameter_count(space.repair([0] * len(space))), space.parameter_count(space.full())
    most = max(least, int(full / ratio))
    bits = allocate(space, order_filters(space, scores, width), most)
    assert fits(space, bits, most) and space.check(bits).any()
    for part, values in zip(space.split(bits), space.split(scores), strict=True):
        kept = part.astype(bool)
        assert kept.any() and (kept.all() or values[kept].min() >= values[~kept].max())
    for index in np.flatnonzero(np.array(bits) == 0):
        more = list(bits)
        more[index] = 1
        assert not fits(space, more, most)
    # the same size wanted again gives the same filters
    assert allocate(space, order_filters(space, scores, width), space.parameter_count(bits)) == bits


def test_uniform_keeps_the_same_share_and_global_the_highest_scores():
    space = FilterSpace(toy_generator(ngf=8), size=SIZE)
    scores = np.random.default_rng(2).uniform(size=len(space))
    scores[: space.group_sizes[0]] += 10  # one group above all others
    most = space.parameter_count(space.full()) // 4
    uniform, highest = (allocate(space, order_filters(space, scores, width), most) for width in ("uniform", "global"))
    shares = [part.mean() for part in space.split(uniform)]
    assert max(shares) - min(shares) <= 2 / min(space.group_sizes)
    kept = np.array(highest, dtype=bool)
    assert kept[: space.group_sizes[0]].all()
    # But for each group's first filter, which stays, and what fills up, there is one threshold.
    dropped = scores[~kept].max()
    below = [part.sum() - 1 for part in space.split(kept & (scores < dropped))]
    assert sum(count for count in below if count > 0) <= len(space.groups)


def test_equal_scores_keep_the_same_share_of_every_group():
    space = FilterSpace(toy_generator(), size=SIZE)
    flat = np.zeros(len(space))
    assert order_filters(space, flat, "global") == order_filters(space, flat, "uniform")


def test_everything_fits_into_all_that_there_is_and_nothing_into_too_little():
    space = FilterSpace(toy_generator(), size=SIZE)
    order = order_filters(space, np.zeros(len(space)), "uniform")
    full, least = space.parameter_count(space.full()), space.parameter_count(space.repair([0] * len(space)))
    assert allocate(space, order, full) == allocate(space, order, 10 * full) == space.full()
    assert sum(allocate(space, order, least)) == len(space.groups)
    with pytest.raises(UserError, match=f"parameters: got {least - 1}; expected {least} or more, with one filter per"):
        allocate(space, order, least - 1)


def test_coupled_filters_share_bits_under_either_encoding():
    generator = toy_generator()
    for encoding in ("grouped", "tied"):
        space = FilterSpace(generator, encoding=encoding, size=SIZE)
        subject = Subject("A2B", generator, space, toy_images(4, dtype=torch.float32), Images())
        for method in BASELINES:
            assert rank(method, subject).scores.shape == (len(space),)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [4.3, 8, 10, 20])
def test_sizes_of_the_shipped_generators_are_within_two_per_cent(shipped_space, ratio):
    space, generator = shipped_space
    wanted = space.parameter_count(space.full()) / ratio
    for method in ("l1", "l1-global", "random"):
        scores = rank(method, Subject("A2B", generator, space, toy_images(1), Images())).scores
        bits = allocate(space, order_filters(space, scores, BASELINES[method].width), int(wanted))
        assert 0.98 * wanted <= space.parameter_count(bits) <= wanted


@pytest.fixture(scope="module")
def shipped_space():
    generator = load_cyclegan(default_checkpoint())["A2B"].generator
    return FilterSpace(generator, size=64), generator


def test_a_ranking_without_factors_leaves_the_originals_weights():
    subject = subject_of(toy_generator())
    bits = random_bits(subject.space, 0)
    own = BaselineBuilder(subject, Ranking(np.zeros(len(subject.space))), "own")(bits)
    sliced = compact(subject.generator, subject.space, bits)
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), sliced.parameters(), strict=True))


def test_factors_go_to_the_inputs_of_a_transposed_convolution_too():
    subject = subject_of(enliven(UNet()).eval())
    bits, factors = random_bits(subject.space, 0), {}
    kept = subject.space.kept(bits)
    for layer, dim in subject.space.channels(produces=False).items():
        factors[layer] = np.arange(1.0, 1 + len(kept[layer, "weight", dim]))
    ranking = Ranking(np.zeros(len(subject.space)), lambda given: factors)
    own, sliced = (layer_at(BaselineBuilder(subject, ranking, w)(bits), "up1") for w in ("own", "sliced"))
    inputs = torch.rand(1, sliced.in_channels, 4, 4)
    scaled = inputs * torch.as_tensor(factors["up1"], dtype=torch.float32).view(1, -1, 1, 1)
    assert torch.allclose(own(inputs), F.conv_transpose2d(scaled, sliced.weight, sliced.bias, 2, 1), atol=1e-5)
