"""Reconstructed weights: the closed form against least squares, and what it promises."""

import copy
from functools import cache

import numpy as np
import pytest
import scipy.linalg
import torch
from networks import (
    SIZE,
    UNet,
    enliven,
    grouped,
    random_bits,
    separable,
    toy_generator,
    toy_images,
    toy_unet,
    twice,
)
from torch import nn

from ganprune.filters.builder import NetworkBuilder, compact
from ganprune.filters.layers import hooks, layer_at
from ganprune.filters.reconstruction import (
    RIDGE,
    PatchSampler,
    Reconstruction,
    add_products,
    patch_matrices,
    restore_batch_statistics,
    set_weight_matrix,
    solvable_layers,
    solve_ridge,
    weight_matrix,
)
from ganprune.filters.space import FilterSpace


def settled(network):
    """With running statistics of such images, as training leaves them."""
    restore_batch_statistics(network, toy_images(8, seed=9), 8)
    return network


NETWORKS = {
    "instance": lambda: toy_generator(torch.float64),
    "batch": lambda: settled(toy_generator(torch.float64, norm="batch")),
    "unet": lambda: enliven(UNet()).double().eval(),
    "separable": lambda: enliven(separable()).double().eval(),
    "pix2pix": lambda: settled(toy_unet(torch.float64)),
    "grouped": lambda: settled(enliven(grouped()).double().eval()),
    "repeated": lambda: enliven(twice()).double().eval(),
    "nearest": lambda: toy_generator(torch.float64, upsampling="nearest", affine=True, bias=False),
}
FEW = ("separable", "grouped", "repeated")  # with a single layer or so that is solved
IMAGES = toy_images(2)


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


@cache
def reconstructed(name):
    """A network's reconstruction, on images so few and small that every patch is taken; must not be changed."""
    network = NETWORKS[name]()
    images = toy_images(2, (8, 8)) if name in FEW else IMAGES
    return Reconstruction(network, FilterSpace(network, size=SIZE), images)


def indices_of(reconstruction, bits, name):
    """Indices of the kept outputs and inputs of a convolution, from what FilterSpace says."""
    layer = reconstruction.generator.get_submodule(name)
    kept = reconstruction.space.kept(bits)
    out_dim = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    return [
        kept.get((name, "weight", dim), np.arange(layer.weight.shape[dim])).tolist() for dim in (out_dim, 1 - out_dim)
    ]


def input_of(network, name, images):
    """What a layer is given when its network sees these images."""
    given = []
    with hooks({name: layer_at(network, name)}, lambda name, layer, inputs: given.append(inputs[0].clone())):
        network(images)
    return given[0]


def rows(layer, inputs):
    return torch.cat(list(patch_matrices(layer, inputs)))


LAYERS = [
    nn.Conv2d(3, 4, 3),
    nn.Conv2d(3, 4, 3, bias=False),
    nn.Conv2d(3, 4, 3, stride=2, padding=1),
    nn.Conv2d(3, 4, (2, 5), stride=(1, 2), padding=(1, 2)),
    nn.Conv2d(3, 4, 3, padding=2, dilation=2),
    nn.Conv2d(3, 4, 1),
    nn.Conv2d(3, 4, 4, padding="same"),
    nn.Conv2d(3, 4, 3, padding="valid"),
    nn.Conv2d(3, 4, 3, padding=(1, 2), padding_mode="reflect"),
    nn.Conv2d(3, 4, 5, padding=2, padding_mode="replicate", stride=2),
    nn.Conv2d(3, 4, 3, padding=(2, 1), padding_mode="circular"),
    nn.Conv2d(3, 4, 3, padding="same", padding_mode="reflect"),
    nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1),
    nn.ConvTranspose2d(3, 4, 4, stride=2, padding=1, bias=False),
    nn.ConvTranspose2d(3, 4, (3, 2), stride=(3, 2), padding=(0, 1), output_padding=(2, 0)),
    nn.ConvTranspose2d(3, 4, 3, dilation=2, padding=1),
    nn.ConvTranspose2d(3, 4, 2, stride=2, padding=2),
    nn.ConvTranspose2d(3, 4, 1, stride=2, output_padding=1),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_patches_times_weights_are_the_layers_output(layer):
    layer = copy.deepcopy(layer).double()
    image = toy_images(2, (7, 6))
    wanted = layer(image)  # (2, 4, H, W)
    computed = rows(layer, image) @ weight_matrix(layer).T  # (2 * H * W, 4)
    assert (computed - wanted.permute(0, 2, 3, 1).flatten(0, 2)).abs().max() < 1e-12


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_setting_a_weight_matrix_is_the_inverse_of_reading_it(layer):
    layer = copy.deepcopy(layer).double()
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    set_weight_matrix(layer, weight_matrix(layer).clone())
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())
    other = torch.randn(weight_matrix(layer).shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    set_weight_matrix(layer, other)
    assert torch.equal(weight_matrix(layer), other)


def test_patches_come_in_bounded_parts_in_the_order_of_the_images(monkeypatch):
    layer, image = nn.Conv2d(3, 4, 3).double(), toy_images(5)
    whole = rows(layer, image)
    monkeypatch.setattr("ganprune.filters.reconstruction.PATCH_BYTES", 1)
    parts = list(patch_matrices(layer, image))
    assert len(parts) == 5 and torch.equal(torch.cat(parts), whole)


def test_samplers_take_the_same_places_as_each_other_and_all_of_a_small_image():
    layer = nn.Conv2d(3, 4, 3).double()  # 28 unknowns: 224 patches, of 16 images: 64 of each at least
    sampler = PatchSampler(layer, 16)
    assert sampler.per_image == 64 and PatchSampler(layer, 2).per_image == 112
    first = [sampler(100).tolist() for _ in range(3)]
    assert all(len(set(places)) == 64 and max(places) < 100 for places in first)
    assert first[0] != first[1] and sampler(100).tolist() not in first
    again = PatchSampler(layer, 16)
    assert [again(100).tolist() for _ in range(3)] == first
    assert sorted(sampler(64).tolist()) == list(range(64))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_sampled_patches_are_those_at_the_samplers_places(layer):
    layer, image = copy.deepcopy(layer).double(), toy_images(2, (19, 18))
    whole = rows(layer, image).unflatten(0, (2, -1))
    sampler, again = (PatchSampler(layer, 100) for _ in range(2))
    places = [again(whole.shape[1]) for _ in image]
    assert all(len(chosen) == 64 for chosen in places)
    wanted = torch.cat([patches[chosen] for patches, chosen in zip(whole, places, strict=True)])
    assert torch.equal(torch.cat(list(patch_matrices(layer, image, sampler))), wanted)


def test_products_add_up_in_the_upper_triangle():
    first, second = torch.randn(2, 30, 600, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gram = torch.zeros(600, 600, dtype=torch.float64)
    for part in (first, second):
        add_products(gram, part)
    assert torch.allclose(gram.triu(), (first.T @ first + second.T @ second).triu())


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_moments_are_those_of_all_patches_of_small_images(name):
    reconstruction = reconstructed(name)
    for path, layer in solvable_layers(reconstruction.generator).items():
        patches = rows(layer, input_of(reconstruction.generator, path, reconstruction.images))
        assert len(patches) <= 2 * PatchSampler(layer, 2).per_image
        moments = reconstruction.moments[path]
        assert torch.allclose(moments.gram, patches.T @ patches / len(patches), rtol=1e-10, atol=1e-12)
        assert torch.allclose(moments.product, moments.weight @ moments.gram)


@pytest.mark.parametrize("name", NETWORKS)
def test_all_bits_on_changes_nothing(name):
    reconstruction = reconstructed(name)
    full = reconstruction.space.full()
    wanted = reconstruction.generator(reconstruction.images)
    assert torch.equal(reconstruction.network(full)(reconstruction.images), wanted)


@pytest.mark.parametrize("density", [0.3, 0.6])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_solved_layer_is_worse_than_the_sliced_one(name, density):
    reconstruction = reconstructed(name)
    bits = random_bits(reconstruction.space, 1, density)
    networks = reconstruction.network(bits), compact(reconstruction.generator, reconstruction.space, bits)
    better = 0
    for path, original in solvable_layers(reconstruction.generator).items():
        given = input_of(reconstruction.generator, path, reconstruction.images)
        outputs, inputs = indices_of(reconstruction, bits, path)
        wanted = original(given)[:, outputs]
        solved, sliced = ((n.get_submodule(path)(given[:, inputs]) - wanted).square().sum() for n in networks)
        assert solved <= sliced * (1 + 1e-9) + 1e-18, path
        better += bool(solved < 0.9 * sliced)
    assert better >= (1 if name in FEW else 2), "the reconstruction did hardly anything"


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_solved_weights_are_those_of_ridge_least_squares(name):
    reconstruction = reconstructed(name)
    bits = random_bits(reconstruction.space, 2)
    network = reconstruction.network(bits)
    solved = 0
    for path, original in solvable_layers(reconstruction.generator).items():
        outputs, inputs = indices_of(reconstruction, bits, path)
        layer = network.get_submodule(path)
        given = input_of(reconstruction.generator, path, reconstruction.images)
        sliced = compact(reconstruction.generator, reconstruction.space, bits).get_submodule(path)
        if len(inputs) == given.shape[1]:
            assert torch.equal(layer.weight, sliced.weight), f"{path} keeps its inputs, so it is only sliced"
            continue
        patches = rows(layer, given[:, inputs])
        wanted = rows(original, given) @ weight_matrix(original)[outputs].T
        prior = weight_matrix(sliced)
        r = RIDGE * float(patches.square().mean())  # relative to the mean diagonal of the patches' second moments
        pull = np.sqrt(r * len(patches))
        left = np.vstack([patches.numpy(), pull * np.eye(patches.shape[1])])
        right = np.vstack([wanted.numpy(), pull * prior.numpy().T])
        solution = scipy.linalg.lstsq(left, right)[0].T
        assert np.abs(weight_matrix(layer).numpy() - solution).max() < 1e-8 * max(1, np.abs(solution).max())
        solved += 1
    assert solved >= (1 if name in FEW else 2)


def test_a_layer_whose_lost_inputs_are_copies_of_kept_ones_is_reconstructed_exactly():
    generator = toy_generator(torch.float64)
    with torch.no_grad():
        for tensor in (generator.model[1].weight, generator.model[1].bias):
            tensor[2:] = tensor[:2]  # filters 2 and 3 say what 0 and 1 say
    space = FilterSpace(generator, size=SIZE)
    network = Reconstruction(generator, space, IMAGES, ridge=1e-12).network(space.encode({"model.1": [0, 1]}))
    assert (network(IMAGES) - generator(IMAGES)).abs().max() < 1e-5
    sliced = compact(generator, space, space.encode({"model.1": [0, 1]}))
    assert (sliced(IMAGES) - generator(IMAGES)).abs().max() > 0.1


@pytest.mark.parametrize("name", NETWORKS)
def test_reconstruction_is_deterministic_finite_and_leaves_the_original_alone(name):
    reconstruction = reconstructed(name)
    bits = random_bits(reconstruction.space, 3)
    before = {key: tensor.clone() for key, tensor in reconstruction.generator.state_dict().items()}
    one, two = (reconstruction.network(bits).state_dict() for _ in range(2))
    assert all(torch.equal(one[key], two[key]) and torch.isfinite(one[key]).all() for key in one)
    assert all(torch.equal(before[key], tensor) for key, tensor in reconstruction.generator.state_dict().items())
    assert not any(module._forward_pre_hooks for module in reconstruction.generator.modules())


@pytest.mark.parametrize("name", ["instance", "batch", "unet", "pix2pix", "nearest"])
def test_images_are_nearer_to_the_originals_than_sliced_ones(name):
    reconstruction = reconstructed(name)
    wanted = reconstruction.generator(IMAGES)
    distances = {"sliced": [], "network": []}
    for seed in range(3):
        bits = random_bits(reconstruction.space, seed, 0.6)
        networks = {
            "sliced": compact(reconstruction.generator, reconstruction.space, bits),
            "network": reconstruction.network(bits),
        }
        for form, network in networks.items():
            distances[form].append(float((network(IMAGES) - wanted).square().mean()))
    assert np.mean(distances["network"]) < np.mean(distances["sliced"])


def test_a_depthwise_layer_with_one_filter_left_is_served():
    reconstruction = reconstructed("separable")
    bits = reconstruction.space.encode({group.name: [1] for group in reconstruction.space.groups})
    assert torch.isfinite(reconstruction.network(bits)(IMAGES)).all()


def test_batch_norms_get_the_statistics_of_the_compact_networks_own_activations():
    reconstruction = reconstructed("batch")
    network = reconstruction.network(random_bits(reconstruction.space, 4))
    seen = {}
    probe = copy.deepcopy(network).train()
    for path, module in probe.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(
                lambda m, inputs, path=path: seen.update({path: inputs[0].detach().clone()})
            )
    probe(IMAGES)
    assert len(seen) == 5 + 2 * 2
    for path, inputs in seen.items():
        norm = network.get_submodule(path)
        assert torch.allclose(norm.running_mean, inputs.mean((0, 2, 3)), rtol=1e-9, atol=1e-11)
        assert torch.allclose(norm.running_var, inputs.var((0, 2, 3)), rtol=1e-9)
        assert norm.momentum == 0.1 and not norm.training


def test_single_precision_is_close_to_double():
    images = IMAGES.float()
    single = Reconstruction(toy_generator(), FilterSpace(toy_generator(), size=SIZE), images)
    double = reconstructed("instance")
    bits = random_bits(double.space, 5, 0.6)
    for name, moments in single.moments.items():
        assert moments.gram.dtype == torch.float32
        wanted = double.moments[name].gram
        assert (moments.gram - wanted).abs().max() < 1e-4 * wanted.abs().max(), name
    got, wanted = (form.network(bits)(part) for form, part in ((single, images), (double, IMAGES)))
    assert (got - wanted).abs().max() < 0.02 and wanted.std() > 0.1


def draws(*shape, dtype):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "gram",
    [
        lambda x: x.T @ x,  # 3 patches for 8 unknowns: singular
        lambda x: 0 * (x.T @ x),
        lambda x: 1e30 * (x.T @ x),
        lambda x: 1e-30 * (x.T @ x),
        lambda x: torch.finfo(x.dtype).max * (x.T @ x),  # overflows to infinity
        lambda x: x.T @ x - 0.1 * torch.eye(8, dtype=x.dtype),  # rounding made it indefinite
        lambda x: float("nan") * (x.T @ x),
        lambda x: -(x.T @ x),
    ],
    ids=["singular", "zero", "huge", "tiny", "overflow", "indefinite", "nan", "negative"],
)
def test_solutions_are_always_finite(gram, dtype):
    matrix = gram(draws(3, 8, dtype=dtype))
    prior = draws(5, 8, dtype=dtype)
    solution = solve_ridge(matrix, prior @ matrix, prior, RIDGE)
    assert solution.shape == (5, 8) and torch.isfinite(solution).all()


def test_no_activations_leave_the_sliced_weights():
    prior = draws(5, 8, dtype=torch.float32)
    zero = torch.zeros(8, 8)
    assert torch.allclose(solve_ridge(zero, prior @ zero, prior, RIDGE), prior, rtol=1e-2)


def test_a_ridge_solution_by_hand():
    gram, cross, prior = torch.diag(torch.tensor([3.0, 1.0])), torch.tensor([[6.0, 0.0]]), torch.tensor([[1.0, 4.0]])
    # r = 0.5 * mean(3, 1) = 1: (6 + 1) / (3 + 1) and (0 + 4) / (1 + 1)
    assert torch.allclose(solve_ridge(gram, cross, prior, 0.5), torch.tensor([[1.75, 2.0]]))


def test_the_builder_reconstructs_where_there_are_calibration_images():
    reconstruction = reconstructed("instance")
    builder = NetworkBuilder(reconstruction.generator, reconstruction.space, IMAGES)
    bits = random_bits(reconstruction.space, 6)
    assert torch.equal(builder(bits)(IMAGES), reconstruction.network(bits)(IMAGES))
    assert torch.equal(builder.final(bits)(IMAGES), reconstruction.network(bits)(IMAGES))


def test_very_wide_layers_are_sliced():
    network = nn.Sequential(nn.Conv2d(3, 320, 1), nn.Conv2d(320, 2, 4, padding=2), nn.Conv2d(2, 3, 2))
    network = network.double().eval()
    assert list(solvable_layers(network)) == ["0", "2"]
    space = FilterSpace(network, size=SIZE)
    bits = random_bits(space, 0)
    reconstruction = Reconstruction(network, space, IMAGES)
    assert set(reconstruction.moments) == {"0", "2"}
    sliced = compact(network, space, bits)
    assert torch.equal(reconstruction.network(bits).get_submodule("1").weight, sliced.get_submodule("1").weight)


def test_layers_kept_from_relatives_change_no_network():
    generator = toy_generator()
    space = FilterSpace(generator, size=SIZE)
    kept, fresh = (Reconstruction(generator, space, toy_images(6, dtype=torch.float32)) for _ in range(2))
    parents = [random_bits(space, seed, 0.6) for seed in range(3)]
    children = [space.repair(a[:9] + b[9:]) for a in parents for b in parents]
    for bits in [*parents, *children, *parents]:
        fresh.solved.clear()
        wanted = fresh.network(bits).state_dict()
        assert all(torch.equal(value, wanted[key]) for key, value in kept.network(bits).state_dict().items())


def test_solved_layers_are_bounded_in_bytes(monkeypatch):
    generator = toy_generator()
    space = FilterSpace(generator, size=SIZE)
    monkeypatch.setattr("ganprune.filters.reconstruction.SOLVED_BYTES", 12_000)
    reconstruction = Reconstruction(generator, space, toy_images(6, dtype=torch.float32))
    for seed in range(8):
        reconstruction.network(random_bits(space, seed))
        assert 0 < reconstruction.solved.held <= 12_000
