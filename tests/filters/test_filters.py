"""Filter groups, bits and compact networks. Masked == compact, for every architecture."""

import json
import warnings
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES, case, chain, float_case, make_space
from networks import (
    SIZE,
    enliven,
    random_bits,
    toy_generator,
    toy_images,
)
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from ganprune.cost.profile import parameters, weight_counts
from ganprune.errors import UserError
from ganprune.evolution.individual import pack_bits
from ganprune.filters.builder import KEPT_NETWORKS, NetworkBuilder, compact, mask
from ganprune.filters.groups import tie_blocks
from ganprune.filters.saving import load_generator, save_generator
from ganprune.filters.space import FilterSpace
from ganprune.filters.tracing import find_groups
from ganprune.models.architecture import input_channels
from ganprune.models.generator import GeneratorConfig, ResnetGenerator


@pytest.fixture(scope="module")
def generator():
    """The float64 toy with ngf=4 and 2 blocks; must not be changed."""
    return toy_generator(torch.float64)


@pytest.fixture(scope="module")
def space(generator):
    return make_space(generator)


@pytest.fixture(scope="module")
def tied(generator):
    return make_space(generator, "tied")


@pytest.mark.parametrize("encoding", ["grouped", "tied"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_masked_equals_compact(name, encoding):
    network, space = case(name, encoding)
    channels = input_channels(network)
    original = network(toy_images(channels=channels))
    assert not all(random_bits(space, 0))
    for seed, density in enumerate((0.5, 0.2, 0.9)):
        bits = random_bits(space, seed, density)
        masked, small = mask(network, space, bits), compact(network, space, bits)
        for size in ((16, 16), (20, 32)):
            image = toy_images(2, size, channels=channels)
            with torch.no_grad():
                assert (masked(image) - small(image)).abs().max() < 1e-10
        assert parameters(masked) == parameters(network)
        if not all(bits):
            assert parameters(small) < parameters(masked)
            changed = small(toy_images(channels=channels)) - original
            assert changed.abs().max() > 1e-3, "pruning changed nothing"
    assert torch.equal(network(toy_images(channels=channels)), original), "the original was changed"


def test_masked_equals_compact_in_training_mode_too(generator, space):
    bits = random_bits(space, 3)
    masked, small = (form(generator, space, bits).train() for form in (mask, compact))
    assert (masked(toy_images()) - small(toy_images())).abs().max() < 1e-10


def test_parts_of_a_grouped_convolution_keep_as_many_channels_as_each_other():
    network, space = case("grouped", "grouped")
    sizes = {group.name: group.size for group in space.groups}
    # "0" is read in 2 parts; "2" writes 2 parts and is read by 3: only steps that suit both can go; "8" is read whole.
    assert sizes == {"0": 4, "2": 2, "4": 2, "8": 6}
    small = compact(network, space, space.encode({"0": [1, 3], "2": [0], "4": [1], "8": [0, 2]}))
    layers = {name: module for name, module in small.named_modules() if hasattr(module, "groups")}
    assert [(m.in_channels, m.out_channels, m.groups) for m in layers.values()] == [
        (3, 4, 1), (4, 6, 2), (6, 3, 3), (3, 3, 3), (3, 2, 1), (2, 3, 1)
    ]  # fmt: skip
    assert space.widths(space.encode({"0": [1, 3]}))["2"] == (4, 12)


def test_a_last_layer_in_parts_with_fewer_outputs_than_inputs_keeps_its_filters():
    network = enliven(nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
                                    nn.Conv2d(8, 4, 3, padding=1, groups=4))).double().eval()  # fmt: skip
    space = FilterSpace(network, size=SIZE)
    assert [group.name for group in space.groups] == ["0"] and "2" in space.unprunable
    image, bits = toy_images(2), random_bits(space, 0)
    assert torch.allclose(compact(network, space, bits)(image), mask(network, space, bits)(image), atol=1e-10, rtol=0)


def test_every_bit_of_a_grouped_network_counts():
    network, space = case("grouped", "grouped")
    full = space.parameter_count(space.full())
    for index in range(len(space)):
        bits = space.full()
        bits[index] = 0
        assert space.parameter_count(bits) < full
        assert parameters(compact(network, space, bits)) == space.parameter_count(bits)


def test_filters_that_a_pixel_shuffle_rearranges_stay():
    space = case("pixel shuffle", "grouped")[1]
    assert [group.name for group in space.groups] == ["0", "5"]
    assert list(space.unprunable) == ["2", "7"] and space.unprunable["2"] == "5 reads them in another arrangement"


def test_all_bits_on_is_the_original(generator, space):
    for form in (mask, compact):
        assert torch.equal(form(generator, space, space.full())(toy_images()), generator(toy_images()))


@pytest.mark.parametrize("mode", [True, False])
def test_compact_keeps_mode_dtype_and_whether_gradients_flow(mode):
    generator = toy_generator(torch.float64, norm="batch").train(mode).requires_grad_(mode)
    small = compact(generator, space := make_space(generator), random_bits(space, 0))
    assert all(module.training == mode for module in small.modules())
    assert all(p.requires_grad == mode and p.dtype == torch.float64 for p in small.parameters())
    assert generator.training == mode


@pytest.mark.parametrize("all_on", [True, False])
def test_a_compact_networks_tensors_are_its_own(all_on):
    generator = toy_generator(torch.float64, norm="batch")
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    small = compact(generator, space := make_space(generator), space.full() if all_on else random_bits(space, 0))
    own = {tensor.untyped_storage().data_ptr() for tensor in small.state_dict().values()}
    assert not own & {tensor.untyped_storage().data_ptr() for tensor in generator.state_dict().values()}
    for tensor in small.state_dict().values():
        tensor.fill_(7)
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())


def test_compact_networks_record_their_widths(generator, space):
    small = compact(generator, space, random_bits(space, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an instance norm warns of channels that it does not expect
        small(toy_images())
    for module in small.modules():
        if isinstance(module, nn.ConvTranspose2d):
            assert (module.in_channels, module.out_channels) == module.weight.shape[:2]
        elif isinstance(module, nn.Conv2d):
            assert (module.out_channels, module.in_channels) == module.weight.shape[:2]


def test_groups_are_the_layers_with_the_trunk_as_one(space):
    assert [group.name for group in space.groups] == [
        "model.1", "model.4", "model.7", "model.10.conv_block.1", "model.11.conv_block.1", "model.12", "model.15",
    ]  # fmt: skip
    assert space.group_sizes == (4, 8, 16, 16, 16, 8, 4) and len(space) == 72
    trunk = space.groups[2]
    blocks = {f"model.{index}.conv_block.{{}}" for index in (10, 11)}
    assert trunk.convolutions(produces=True).keys() == {"model.7", *(name.format(5) for name in blocks)}
    assert trunk.convolutions(produces=False).keys() == {"model.12", *(name.format(1) for name in blocks)}


def test_tied_blocks_share_the_trunks_bits(tied):
    assert tied.group_sizes == (4, 8, 16, 8, 4) and len(tied) == 40
    small = compact(toy_generator(torch.float64), tied, tied.encode({"model.7": [1, 5, 6]}))
    for block in (small.model[10], small.model[11]):
        assert block.conv_block[1].weight.shape == block.conv_block[5].weight.shape == (3, 3, 3, 3)


@pytest.mark.slow
def test_bit_counts_of_the_papers_generator():
    groups, unprunable = find_groups(ResnetGenerator(GeneratorConfig()), torch.zeros(1, 3, 16, 16))
    assert unprunable == {"model.26": "they are channels of the output image"}
    assert sum(group.size for group in groups) == 2944
    assert sum(group.size for group in tie_blocks(groups)) == 640


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_image_channels_are_never_pruned(name):
    network, space = case(name, "grouped")
    one_each = space.encode({group.name: [0] for group in space.groups})
    assert sum(one_each) == len(space.groups)
    small = compact(network, space, one_each)
    image = toy_images(channels=input_channels(network))
    assert small(image).shape == network(image).shape
    assert input_channels(small) == input_channels(network)


@pytest.mark.parametrize("encoding", ["grouped", "tied"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_size_share_counts_the_compact_networks_weights(name, encoding):
    network, space = case(name, encoding)
    assert space.size_share(space.full()) == 1
    bits = random_bits(space, 2)
    kept, total = weight_counts(compact(network, space, bits)), weight_counts(network)
    assert space.weight_counts(bits) == kept
    assert space.size_share(bits) == pytest.approx(sum(kept.values()) / sum(total.values()), rel=1e-12)


def test_size_share_by_hand(space):
    kept = {
        "model.1": 1, "model.4": 2, "model.7": 3, "model.10.conv_block.1": 4, "model.11.conv_block.1": 5, "model.12": 6,
        "model.15": 2,
    }  # fmt: skip
    a, b, t, i, j, u, v = kept.values()
    wanted = 49 * 3 * a + 9 * (a * b + b * t + 2 * t * i + 2 * t * j + t * u + u * v) + 49 * v * 3
    total = 49 * 3 * 4 + 9 * (4 * 8 + 8 * 16 + 4 * 16 * 16 + 16 * 8 + 8 * 4) + 49 * 4 * 3
    bits = space.encode({name: range(count) for name, count in kept.items()})
    assert space.size_share(bits) == pytest.approx(wanted / total, rel=1e-12)


def test_encode_and_decode_are_inverse(space, tied):
    for one in (space, tied):
        bits = random_bits(one, 4)
        decoded = one.decode(bits)
        assert list(decoded) == [group.name for group in one.groups]
        assert one.encode(decoded) == bits
    assert space.decode(space.encode({"model.4": [6, 0]}))["model.4"] == [0, 6]
    assert space.encode({}) == space.full()


def test_encode_names_what_it_does_not_know(space):
    with pytest.raises(UserError, match=r"group: got model\.5; expected a group's name. Did you mean 'model\."):
        space.encode({"model.5": [0]})
    for wrong in (8, -1):
        with pytest.raises(UserError, match=rf"group model\.4: got filter {wrong}; expected 0 to 7"):
            space.encode({"model.4": [0, wrong]})


def test_repair_adds_the_most_salient_filter_of_an_empty_group_only(space):
    bits = [0] * len(space)
    bits[:4] = [0, 1, 0, 1]
    repaired = space.repair(bits)
    assert repaired[:4] == [0, 1, 0, 1]
    for group, part, saliency in zip(
        space.groups[1:], space.split(repaired)[1:], space.split(space.saliency)[1:], strict=True
    ):
        assert part.sum() == 1 and part.argmax() == saliency.argmax(), group.name
    assert bits == [0, 1, 0, 1] + [0] * 68, "the argument was changed"


def test_repair_is_idempotent_leaves_individuals_alone_and_draws_nothing(space):
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    for seed in range(5):
        bits = random_bits(space, seed, 0.3)
        assert space.repair(bits) == bits
    empty = space.repair.least()
    assert space.repair(empty) == empty and sum(empty) == len(space.groups)
    assert (np.random.get_state()[1] == state[0]).all() and torch.equal(torch.get_rng_state(), state[1])


def test_saliency_is_the_mean_absolute_weight_relative_to_the_layer():
    generator = toy_generator(torch.float64)
    with torch.no_grad():
        for index, weight in enumerate((1.0, 2.0, -3.0, 6.0)):
            generator.model[1].weight[index] = weight
            generator.model[15].weight[:, index] = weight
        for layer in (generator.model[7], *(generator.model[index].conv_block[5] for index in (10, 11))):
            layer.weight.fill_(1)
        generator.model[7].weight[0] = 5  # four times its layer's mean of 20 / 16
    space = make_space(generator)
    saliency = space.split(space.saliency)
    for part in (saliency[0], saliency[-1]):  # a convolution and a transposed one
        assert part == pytest.approx([1 / 3, 2 / 3, 1, 2])
    assert saliency[2] == pytest.approx([(4 + 1 + 1) / 3] + [(0.8 + 1 + 1) / 3] * 15), (
        "three convolutions write the trunk"
    )


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ([1] * 71, r"bits: got shape \(71,\); expected 72 bits"),
        ([[1] * 72], r"bits: got shape \(1, 72\); expected 72 bits"),
        ([2] * 72, r"bits: got values other than 0 and 1"),
        ([0.5] * 72, r"bits: got values other than 0 and 1"),
        ([1] * 4 + [0] * 8 + [1] * 60, r"bits: got no filter left in model\.4; .*Call space\.repair"),
    ],
)
def test_bits_that_are_no_individual_are_named(space, generator, bits, message):
    for use in (
        space.check,
        space.size_share,
        lambda b: compact(generator, space, b),
        lambda b: mask(generator, space, b),
    ):
        with pytest.raises(UserError, match=message):
            use(bits)


class Silent(nn.Module):
    def forward(self, x):
        return x


class Shifted(nn.Module):
    """A function that tracing sees and a module's name does not tell: f(0) = 1."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        return self.last(torch.exp(self.first(x)))


class Mixed(nn.Module):
    """Each filter's output is divided by the mean of all: no module tells, and tracing does not see it."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        x = self.first(x)
        return self.last(x / (1 + x.abs().mean(1, keepdim=True)))


class Narrow(nn.Module):
    """It counts on its number of filters where tracing can't see it."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
        self.scale = torch.ones(1, 4, 1, 1)

    def forward(self, x):
        return self.last(self.first(x) * self.scale.to(x))


class Doubled(nn.Module):
    """It returns two images."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        x = self.last(torch.relu(self.first(x)))
        return x, x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: chain(nn.Sigmoid()),
            r"the filters of 0 stay, since 1 \(Sigmoid\) makes something of zeros: f\(0\) !=",
        ),
        (lambda: chain(nn.ReLU(), nn.Softplus()), r"the filters of 0 stay, since 2 \(Softplus\) makes"),
        (lambda: chain(nn.Hardsigmoid()), r"the filters of 0 stay, since 1 \(Hardsigmoid\) makes"),
        (
            lambda: chain(nn.GroupNorm(1, 4)),
            r"the filters of 0 stay, since 1 \(GroupNorm\) normalises several filters together",
        ),
        (lambda: chain(nn.ReLU(), nn.LayerNorm([4, 16, 16])), r"since 2 \(LayerNorm\) normalises several filters"),
        (
            lambda: nn.Sequential(
                nn.utils.spectral_norm(nn.Conv2d(3, 4, 3, padding=1)), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1)
            ),
            r"the weight of 0 is computed \(spectral or weight norm: remove_parametrizations",
        ),
        (
            lambda: nn.Sequential(
                nn.Conv2d(3, 4, 3), weight_norm(nn.Conv2d(4, 4, 3, padding=1)), nn.ReLU(), nn.Conv2d(4, 3, 3)
            ),
            r"the weight of 1 is computed",
        ),
        (Mixed, r"generator: got Mixed; .*the masked and compact forms differ from what layer last is given on"),
        (
            Narrow,
            r"generator: got Narrow; the filters of first stay, since the network can't do without one of them \(Att",
        ),
        (Doubled, r"generator: got Doubled, which returns tuple; expected a network that returns images"),
        (
            lambda: enliven(Shifted()),
            r"generator: got Shifted; .*the masked and compact forms differ from what layer last is given on",
        ),
        (
            lambda: nn.Sequential(nn.Linear(3, 3)),
            r"network: got Sequential; expected a network with 2-d convolutions",
        ),
        (Silent, r"network: got Silent; expected a network with 2-d convolutions"),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Tanh()),
            r"expected at least one prunable filter group",
        ),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 3, 3)),
            r"generator: got Sequential \(in layer 1: RuntimeError: .*can be traced",
        ),
    ],
)
def test_what_cannot_be_pruned_is_refused_by_name(make, message):
    with pytest.raises(UserError, match=message):
        make_space(make())


@pytest.mark.parametrize(
    "layer", [nn.GELU(), nn.LeakyReLU(0.1), nn.SiLU(), nn.PReLU(4), nn.AvgPool2d(3, 1, 1), nn.Identity()]
)
def test_layers_that_keep_zero_are_accepted(layer):
    network = chain(layer).double()
    space = make_space(network)
    bits = [1, 0, 0, 1]
    assert (mask(network, space, bits)(toy_images()) - compact(network, space, bits)(toy_images())).abs().max() < 1e-10


def test_an_output_sigmoid_is_no_obstacle():
    assert len(make_space(nn.Sequential(*chain(nn.ReLU())[:-1], nn.Sigmoid()))) == 4


def test_a_space_never_changes(space):
    before = vars(space).copy()
    other = space.with_repair(multiple=4, order=range(len(space)), fits=lambda bits: sum(bits) <= 40, slope=1.0)
    assert sum(other.repair(space.full())) <= 40 and space.repair(space.full()) == space.full()
    assert other.groups is space.groups and other.saliency != space.saliency
    assert vars(space) == before
    for one in (space, other):
        with pytest.raises(AttributeError, match="a filter space never changes, nor does its repair"):
            one.repair = None
        with pytest.raises(FrozenInstanceError):
            one.repair.multiple = 2
    with pytest.raises(TypeError, match="multiples"):
        space.with_repair(multiples=4)


def test_an_unknown_encoding_is_named(generator):
    with pytest.raises(UserError, match=r"encoding: got group; expected grouped or tied. Did you mean 'grouped'"):
        make_space(generator, "group")


def test_making_a_space_changes_neither_the_network_nor_its_mode():
    network = toy_generator(norm="batch").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    make_space(network)
    assert network.training and all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def save(network, space, bits, stem):
    architecture = network.config.to_json()
    save_generator(compact(network, space, bits), stem, architecture=architecture, bits=pack_bits(bits), side="A2B")


@pytest.mark.parametrize("suffix", ["", ".json", ".safetensors"])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"affine": True}, {"norm": "batch"}, {"dropout": True, "ngf": 3}, {"norm": "none"},
        {"norm": "batch", "statistics": "batch"}, {"downsamplings": 3, "ngf": 2},
    ],
)  # fmt: skip
def test_saved_generators_come_back_exactly(tmp_path, options, suffix):
    network, space = float_case(**options)
    bits = random_bits(space, 1)
    save(network, space, bits, tmp_path / "A2B.v1")
    loaded, image = load_generator(f"{tmp_path / 'A2B.v1'}{suffix}"), toy_images(dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(loaded(image), compact(network, space, bits)(image))
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert all(p.requires_grad for p in load_generator(tmp_path / "A2B.v1.json", trainable=True).parameters())
    assert json.loads((tmp_path / "A2B.v1.json").read_text())["side"] == "A2B"


def test_a_saved_generator_of_four_halvings_comes_back(tmp_path):
    network = toy_generator(ngf=1, downsamplings=4, blocks=1)
    save_generator(network, tmp_path / "A2B", architecture=network.config.to_json(), bits="1:1")
    image = toy_images(1, (32, 32), torch.float32)
    assert torch.equal(load_generator(tmp_path / "A2B")(image), network(image))


def test_a_description_of_before_there_were_depths_and_statistics_is_read(saved):
    path = saved.with_name("A2B.json")
    data = json.loads(path.read_text())
    for name in ("downsamplings", "statistics"):
        del data["architecture"][name]
    path.write_text(json.dumps(data))
    assert load_generator(saved).config == GeneratorConfig(ngf=4, blocks=2)


@pytest.fixture
def saved(tmp_path):
    network, space = float_case()
    save(network, space, random_bits(space, 1), tmp_path / "A2B")
    return tmp_path / "A2B"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"generator: got .*A2B\.json \(missing\); expected a compact generator's JSON file"),
        ("{", r"generator: got .*A2B\.json \(.*\); expected an undamaged file"),
        ("[]", r"A2B\.json: got format None; expected format 1"),
        ("{}", r"A2B\.json: got format None; expected format 1"),
        ('{"format": 9}', r"A2B\.json: got format 9, a newer version's; expected format 1"),
        ('{"format": 1}', r"A2B\.json \('architecture'\)"),
        ('{"format": 1, "bits": "2:1"}', r"A2B\.json \('architecture'\)"),
        ('{"format": 1, "bits": "012"}', r"A2B\.json \(bits: got '012'; expected 'LENGTH:HEX'"),
        ('{"format": 1, "bits": [1]}', r"A2B\.json \(bits: got \[1\]; expected 'LENGTH:HEX'"),
        ('{"format": 1, "bits": "1:1", "architecture": {"kind": "vit"}}', r"generator kind: got vit; expected resnet"),
        (
            '{"format": 1, "bits": "1:1", "architecture": {"kind": "factory", "reference": "os:abort"}}',
            r"generator: got a network that os:abort makes; .*nothing that a file names is imported",
        ),
        ('{"format": 1, "bits": "1:1", "architecture": "resnet"}', r"generator: got resnet; expected an architecture"),
        ('{"format": 1, "bits": "1:1", "architecture": {"kind": "resnet", "depth": 3}}', r"generator: got .*'depth'"),
    ],
)
def test_a_damaged_description_is_named(saved, text, message):
    path = saved.with_name("A2B.json")
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_generator(saved)


@pytest.mark.parametrize("keep", [0, 50, 0.5, 0.99])
def test_damaged_weights_are_named(saved, keep):
    path = saved.with_name("A2B.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(UserError, match=r"A2B\.safetensors \(.*expected an undamaged file"):
        load_generator(saved)


def change_tensors(stem, change):
    from safetensors.torch import load_file, save_file

    path = stem.with_name(stem.name + ".safetensors")
    save_file(change(load_file(path)), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "model.4.weight"}, r"without tensor model\.4\.weight"),
        (lambda s: {**s, "model.77.weight": torch.ones(1)}, r"with extra tensor model\.77\.weight"),
        (lambda s: {**s, "model.4.bias": s["model.4.bias"] * float("nan")}, r"tensor model\.4\.bias with NaN or Inf"),
        (lambda s: {**s, "model.4.weight": s["model.4.weight"][0]}, r"tensor model\.4\.weight of shape"),
        (
            lambda s: {**s, "model.4.weight": s["model.4.weight"][:, :1].contiguous()},
            r"whose layers do not fit each other",
        ),
        (lambda s: {**s, "model.4.bias": torch.cat([s["model.4.bias"]] * 2)}, r"whose layers do not fit each other"),
    ],
)
def test_tensors_that_do_not_fit_are_named(saved, change, message):
    change_tensors(saved, change)
    with pytest.raises(UserError, match=message):
        load_generator(saved)


def test_weights_of_another_depth_are_named(saved):
    path = saved.with_name("A2B.json")
    data = json.loads(path.read_text())
    data["architecture"]["blocks"] = 3
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=r"A2B\.safetensors without tensor model\."):
        load_generator(saved)


def test_builder_slices_without_calibration_and_keeps_the_last_networks(generator, space):
    builder = NetworkBuilder(generator, space)
    first = random_bits(space, 0)
    network = builder(first)
    assert torch.equal(network(toy_images()), compact(generator, space, first)(toy_images()))
    assert builder(first) is network and builder(tuple(first)) is network
    for seed in range(1, KEPT_NETWORKS):
        builder(random_bits(space, seed))
    assert builder(first) is network
    for seed in range(KEPT_NETWORKS, 2 * KEPT_NETWORKS):
        builder(random_bits(space, seed))
    assert builder(first) is not network
    assert builder.final(first) is not builder(first)


def test_a_layer_of_one_filter_keeps_it():
    network = toy_generator(torch.float64, ngf=1)
    space = make_space(network)
    assert all(group.size > 1 for group in space.groups) and "model.1" not in {g.name for g in space.groups}
    bits, images = random_bits(space, 0), toy_images(1)
    assert (mask(network, space, bits)(images) - compact(network, space, bits)(images)).abs().max() < 1e-10
