"""The networks: public parameter names, sizes, shapes and initialisation."""

import pytest
import torch
from networks import enliven, toy_generator, toy_images, toy_unet

from ganprune.cost.profile import memory_mb, parameters
from ganprune.errors import UserError
from ganprune.models.architecture import build, config_from_json
from ganprune.models.cyclegan import new_cyclegan
from ganprune.models.discriminator import DiscriminatorConfig, PatchDiscriminator
from ganprune.models.generator import GeneratorConfig, ImageConv2d, ResnetGenerator, norm_layer
from ganprune.models.unet import UnetConfig, UnetGenerator


def names(network):
    return set(network.state_dict())


def test_generator_has_the_public_parameter_names():
    both = {f"model.{index}.{tensor}" for index in (1, 4, 7) for tensor in ("weight", "bias")}
    blocks = {f"model.{i}.conv_block.{j}.{t}" for i in (10, 11) for j in (1, 5) for t in ("weight", "bias")}
    last = {f"model.{index}.{tensor}" for index in (12, 15, 19) for tensor in ("weight", "bias")}
    assert names(toy_generator()) == both | blocks | last


def test_paper_sized_generator_ends_in_model_26_with_nine_blocks():
    with torch.device("meta"):
        tensors = names(ResnetGenerator())
    assert {"model.10.conv_block.1.weight", "model.18.conv_block.5.bias", "model.26.weight"} <= tensors
    assert not any(name.startswith("model.27") or name.startswith("model.19.conv_block") for name in tensors)


def test_dropout_shifts_the_second_convolution_as_in_the_public_files():
    assert "model.10.conv_block.6.weight" in names(toy_generator(dropout=True))
    assert "model.10.conv_block.5.weight" not in names(toy_generator(dropout=True))


def test_batch_norm_replaces_the_biases_before_it():
    tensors = names(toy_generator(norm="batch"))
    assert {"model.2.running_mean", "model.2.weight", "model.2.num_batches_tracked", "model.19.bias"} <= tensors
    assert "model.1.bias" not in tensors and "model.10.conv_block.1.bias" not in tensors


def test_discriminator_has_the_public_parameter_names():
    with torch.device("meta"):
        tensors = names(PatchDiscriminator())
    assert tensors == {f"model.{index}.{tensor}" for index in (0, 2, 5, 8, 11) for tensor in ("weight", "bias")}


def test_the_papers_generator_has_its_parameters_and_memory():
    with torch.device("meta"):
        generator = ResnetGenerator()
    assert parameters(generator) == 11378179
    assert memory_mb(generator) == pytest.approx(43.40, abs=0.005)


@pytest.mark.parametrize(
    ("given", "returned"), [((16, 16), (16, 16)), ((16, 24), (16, 24)), ((18, 21), (20, 24)), ((17, 19), (20, 20))]
)
def test_generator_rounds_sizes_up_to_a_multiple_of_four(given, returned):
    assert toy_generator()(toy_images(2, given, torch.float32)).shape == (2, 3, *returned)


def test_generator_output_stays_in_range_and_depends_on_the_input():
    output = toy_generator()(toy_images(2, dtype=torch.float32))
    assert output.abs().max() <= 1
    assert output.std() > 0.1 and (output[0] - output[1]).abs().max() > 0.1


@pytest.mark.parametrize("padding", ["reflect", "replicate"])
def test_paddings_differ_in_values_and_not_in_names(padding):
    network = toy_generator(padding=padding)
    assert names(network) == names(toy_generator())
    same = torch.allclose(
        network(toy_images(1, dtype=torch.float32)), toy_generator()(toy_images(1, dtype=torch.float32))
    )
    assert same == (padding == "reflect")


def test_zero_padding_is_the_convolutions_own_as_in_the_public_files():
    network = toy_generator(padding="zero", dropout=True)
    assert {"model.10.conv_block.0.weight", "model.10.conv_block.4.weight"} <= names(network)
    assert network(toy_images(1, dtype=torch.float32)).shape == (1, 3, 16, 16)


@pytest.mark.parametrize(("upsampling", "step"), [("nearest", 4), ("bilinear", 4), ("nearest", 5)])
def test_a_decoder_of_enlargements_shifts_the_layers_after_them(upsampling, step):
    padding = "zero" if step == 4 else "reflect"
    network = toy_generator(upsampling=upsampling, upsampling_padding=padding)
    first = 12 + step - 3
    assert {f"model.{first}.weight", f"model.{first + step}.weight"} <= names(network)
    assert network(toy_images(2, (16, 24), torch.float32)).shape == (2, 3, 16, 24)


def test_a_bias_can_be_had_or_left_out_against_custom():
    assert "model.1.bias" not in names(toy_generator(affine=True, bias=False))
    assert "model.1.bias" in names(toy_generator(norm="batch", bias=True))


def test_without_norms_there_are_no_biases_before_them_and_names_stay_as_in_the_public_files():
    convolutions = {name for name in names(toy_generator()) if name.endswith("weight")}
    assert names(toy_generator(norm="none")) == convolutions | {"model.19.bias"}
    convolutions = {name for name in names(toy_unet(norm="none")) if name.endswith("weight")}
    assert names(toy_unet(norm="none")) == convolutions | {"model.model.3.bias"}
    discriminator = build(DiscriminatorConfig(ndf=4, norm="none"))
    assert {name for name in names(discriminator) if name.endswith("bias")} == {"model.0.bias", "model.11.bias"}


@torch.no_grad()
def test_without_norms_layers_give_what_convolutions_and_activations_do():
    network, image = toy_generator(torch.float64, norm="none", blocks=0, downsamplings=0), toy_images(1)
    (first, last), pad = (network.model[1], network.model[5]), torch.nn.ReflectionPad2d(3)
    assert torch.allclose(network(image), torch.tanh(last(pad(torch.relu(first(pad(image)))))), atol=1e-12)


@pytest.mark.parametrize("make", [toy_generator, toy_unet])
@torch.no_grad()
def test_statistics_of_each_image_are_those_of_a_batch_norm_in_training_with_one(make):
    running, own = make(torch.float64, norm="batch"), make(torch.float64, norm="batch", statistics="batch")
    own.load_state_dict({name: tensor for name, tensor in running.state_dict().items() if name in own.state_dict()})
    images = toy_images(3)
    apart = [(one - other).abs().max() for one, other in zip(running(images), own(images), strict=True)]
    assert min(apart) > 0.01
    wanted = torch.cat([running.train()(image) for image in images.split(1)])
    assert torch.allclose(own(images), wanted, atol=1e-12)


@pytest.mark.parametrize(("halvings", "channels", "side"), [(0, 4, 17), (1, 8, 18), (3, 32, 24), (4, 64, 32)])
def test_a_generator_halves_the_size_as_often_as_it_is_told(halvings, channels, side):
    network = toy_generator(downsamplings=halvings)
    assert network.model[4 + 3 * halvings].conv_block[1].weight.shape[0] == channels
    assert network(toy_images(1, (17, 17), torch.float32)).shape[2:] == (side, side)


def test_unet_of_pix2pix_has_its_parameters():
    with torch.device("meta"):
        network = UnetGenerator()  # unet_256
    assert parameters(network) == 54413955
    assert {"model.model.0.weight", "model.model.1.model.6.running_mean", "model.model.3.bias"} <= names(network)
    assert "model.model.0.bias" not in names(network)


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_unet_takes_multiples_of_a_power_of_two(levels):
    network = enliven(build(UnetConfig(ngf=4, levels=levels))).eval()
    size = 2**levels
    assert network(toy_images(2, (size, 2 * size), torch.float32)).shape == (2, 3, size, 2 * size)


def test_image_channels_follow_the_configuration():
    network = toy_generator(in_channels=1, out_channels=2)
    assert network(toy_images(1, dtype=torch.float32, channels=1)).shape == (1, 2, 16, 16)


@pytest.mark.parametrize(("size", "layers", "patches"), [(32, 3, 2), (48, 3, 4), (256, 3, 30), (16, 1, 6), (24, 2, 4)])
def test_discriminator_scores_overlapping_patches(size, layers, patches):
    with torch.device("meta"):
        discriminator = PatchDiscriminator(DiscriminatorConfig(ndf=4, layers=layers))
        assert discriminator(torch.zeros(2, 3, size, size)).shape == (2, 1, patches, patches)


def test_discriminator_sees_seventy_pixels():
    discriminator = (
        build(DiscriminatorConfig(ndf=4, norm="batch")).double().eval()
    )  # instance norm would look at the whole image
    image = toy_images(1, (128, 128)).requires_grad_(True)
    scores = discriminator(image)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    rows = (image.grad.abs().sum((0, 1, 3)) > 0).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_initialisation_is_cyclegans_and_depends_on_the_generator_only():
    config = GeneratorConfig(ngf=16, blocks=1, affine=True)
    torch.manual_seed(1)
    one = build(config, torch.Generator().manual_seed(3)).state_dict()
    torch.manual_seed(2)
    two = build(config, torch.Generator().manual_seed(3)).state_dict()
    other = build(config, torch.Generator().manual_seed(4)).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["model.1.weight"], other["model.1.weight"])
    weight = one["model.10.conv_block.1.weight"]
    assert abs(float(weight.mean())) < 1e-3 and float(weight.std()) == pytest.approx(0.02, rel=0.03)
    assert float(one["model.10.conv_block.2.weight"].mean()) == pytest.approx(1.0, abs=0.02)
    assert not one["model.1.bias"].any() and not one["model.2.bias"].any()


def test_new_cyclegan_draws_all_four_networks_from_its_seed():
    configs = GeneratorConfig(ngf=4, blocks=1), DiscriminatorConfig(ndf=4, layers=1)
    first, again, other = (new_cyclegan(*configs, seed).networks() for seed in (7, 7, 8))
    for name, network in first.items():
        weight = next(network.parameters())
        assert torch.equal(weight, next(again[name].parameters()))
        assert not torch.equal(weight, next(other[name].parameters()))
    assert not torch.equal(*(next(first[f"{side}.generator"].parameters()) for side in ("A2B", "B2A")))


@pytest.mark.parametrize(
    "config",
    [
        GeneratorConfig(ngf=4, blocks=0, norm="batch", dropout=True, padding="zero", in_channels=1),
        GeneratorConfig(upsampling="bilinear", upsampling_padding="reflect", bias=False),
        UnetConfig(ngf=4, levels=3, norm="instance", affine=True, dropout=True),
        GeneratorConfig(norm="batch", statistics="batch", downsamplings=4),
        UnetConfig(norm="none"),
        DiscriminatorConfig(ndf=8, layers=2, affine=True, bias=False),
    ],
)
def test_configurations_survive_json(config):
    assert config_from_json(config.to_json(), "network") == config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GeneratorConfig(ngf=0), r"generator ngf: got 0; expected a whole number from 1 to 4096"),
        (lambda: GeneratorConfig(ngf=2.5), r"generator ngf: got 2\.5"),
        (lambda: GeneratorConfig(blocks=-1), r"generator blocks: got -1"),
        (
            lambda: GeneratorConfig(norm="batchnorm"),
            r"generator norm: got batchnorm; expected instance, batch or none\. Did you mean 'batch'",
        ),
        (lambda: GeneratorConfig(padding="reflection"), r"generator padding: got reflection; .*Did you mean 'reflect'"),
        (lambda: GeneratorConfig(upsampling="nearst"), r"generator upsampling: got nearst; .*Did you mean 'nearest'"),
        (lambda: GeneratorConfig(upsampling_padding="z"), r"generator upsampling padding: got z"),
        (lambda: GeneratorConfig(downsamplings=9), r"generator downsamplings: got 9; .* from 0 to 8"),
        (
            lambda: GeneratorConfig(statistics="batch"),
            r"generator statistics: got batch with norm=instance; .*Leave it",
        ),
        (lambda: GeneratorConfig(norm="batch", statistics="own"), r"generator statistics: got own"),
        (lambda: UnetConfig(levels=1), r"generator levels: got 1"),
        (lambda: UnetConfig(norm="group"), r"generator norm: got group"),
        (lambda: DiscriminatorConfig(layers=0), r"discriminator layers: got 0"),
        (lambda: DiscriminatorConfig(norm="instanse"), r"discriminator norm: got instanse; .*Did you mean 'instance'"),
        (
            lambda: config_from_json({"kind": "vit"}, "A2B.generator"),
            r"A2B\.generator kind: got vit; expected resnet or unet or patch",
        ),
        (lambda: config_from_json({"kind": "resnet", "nfg": 4}, "A2B.generator"), r"A2B\.generator: got .*'nfg'"),
        (lambda: config_from_json("resnet", "A2B.generator"), r"A2B\.generator: got resnet; expected an architecture"),
    ],
)
def test_bad_architectures_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_our_instance_norm_is_pytorchs(affine, dtype):
    ours = norm_layer("instance", 6, affine).to(dtype)
    theirs = torch.nn.InstanceNorm2d(6, affine=affine).to(dtype)
    if affine:
        torch.nn.init.normal_(ours.weight)
        torch.nn.init.normal_(ours.bias)
        theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 6, 5, 7, generator=torch.Generator().manual_seed(0)).mul(3).add(1).to(dtype)
    assert torch.allclose(ours(x), theirs(x), atol=1e-12 if dtype == torch.float64 else 1e-5)
    assert set(ours.state_dict()) == set(theirs.state_dict())


@pytest.mark.parametrize("shape", [(3, 6, 5, 7), (2, 8, 32, 32)])
def test_in_mixed_precision_our_instance_norm_stays_bfloat16_and_is_no_less_exact_than_pytorchs(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(3).add(1).bfloat16()
    wanted = torch.nn.InstanceNorm2d(shape[1])(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = norm_layer("instance", shape[1])(x), torch.nn.InstanceNorm2d(shape[1])(x)
    assert ours.dtype == torch.bfloat16
    assert (ours.double() - wanted).abs().mean() <= (theirs.double() - wanted).abs().mean()


@pytest.mark.parametrize("size", [(6, 8), (7, 8), (6, 9)])
@pytest.mark.parametrize(("outputs", "kernel", "padding"), [(3, 7, 0), (1, 3, 1), (4, 4, 2), (8, 3, 1)])
def test_an_image_computed_in_blocks_is_the_convolutions(size, outputs, kernel, padding):
    ours = ImageConv2d(5, outputs, kernel, padding=padding).double()
    theirs = torch.nn.Conv2d(5, outputs, kernel, padding=padding).double()
    theirs.load_state_dict(ours.state_dict())
    height, width = (side + kernel - 1 - 2 * padding for side in size)
    x = torch.randn(2, 5, height, width, generator=torch.Generator().manual_seed(0)).double()
    mine, wanted = ours(x), theirs(x)
    assert mine.shape == wanted.shape == (2, outputs, *size)
    assert torch.allclose(mine, wanted, atol=1e-12)
    mine.square().sum().backward()
    wanted.square().sum().backward()
    assert torch.allclose(ours.weight.grad, theirs.weight.grad, atol=1e-10)
    assert torch.allclose(ours.bias.grad, theirs.bias.grad, atol=1e-10)


def test_an_image_too_small_to_normalise_is_still_an_error():
    with pytest.raises(ValueError, match="spatial"):
        norm_layer("instance", 6).train()(torch.zeros(1, 6, 1, 1))
