"""Norms that leave no trace: told apart by what trained networks do, or by the user; and what is listed."""

import copy
import dataclasses

import pytest
import torch
from networks import enliven, toy_generator
from torch import nn

from ganprune.assets import default_checkpoint, toy_checkpoint
from ganprune.errors import UserError
from ganprune.models.architecture import build, reread
from ganprune.models.checkpoint import load_cyclegan, save_cyclegan
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.models.options import CheckpointOptions
from ganprune.models.readings import Evidence, biases_count, verdict
from ganprune.models.unet import UnetConfig

FILES = {
    ("A2B", "generator"): "G_A", ("A2B", "discriminator"): "D_A", ("B2A", "generator"): "G_B",
    ("B2A", "discriminator"): "D_B",
}  # fmt: skip


def write(folder, networks):
    """Write networks in a public layout: what they are is not said."""
    for place, network in networks.items():
        torch.save(network.state_dict(), folder / f"latest_net_{FILES[place]}.pth")
    return folder


def bare(network):
    """The same function of a trained network with instance norms, without the biases that do nothing."""
    return reread(network, dataclasses.replace(network.config, bias=False))


def trained():
    networks = load_cyclegan(toy_checkpoint()).networks()
    return {place: bare(networks[".".join(place)]) for place in FILES}


def painter(bias=None):
    """A generator without norms that paints what it is given, but for the tanh."""
    network = build(GeneratorConfig(ngf=8, blocks=0, downsamplings=0, norm="none", bias=bias))
    first, last = network.model[1], network.model[5]
    for layer in (first, last):
        nn.init.zeros_(layer.weight)
    for channel in range(3):
        for place, sign in ((channel, 1), (channel + 3, -1)):
            first.weight.data[place, channel, 3, 3] = sign
            last.weight.data[channel, place, 3, 3] = sign
    return network.eval()


def norms(cyclegan):
    return {network.config.norm for network in cyclegan.networks().values()}


def test_instance_norms_without_biases_are_known_by_what_they_do(tmp_path):
    networks = trained()
    cyclegan = load_cyclegan(write(tmp_path, networks))
    assert norms(cyclegan) == {"instance"}
    assert not any(network.config.biased for network in cyclegan.networks().values())
    told = [line for line in cyclegan.taken_for if line.startswith("norms of the generators: instance, measured: ")]
    assert len(told) == 1 and told[0].endswith("(--generator resnet:norm=none)")
    assert any(line.startswith("norms of the discriminators: instance") for line in cyclegan.taken_for)


def test_networks_without_norms_are_known_by_what_they_do_and_their_discriminators_with_them(tmp_path):
    discriminator = enliven(build(DiscriminatorConfig(ndf=4, norm="none")))
    networks = {place: painter() if place[1] == "generator" else discriminator for place in FILES}
    cyclegan, image = load_cyclegan(write(tmp_path, networks)), torch.rand(1, 3, 32, 32)
    assert norms(cyclegan) == {"none"}
    with torch.no_grad():
        assert torch.equal(cyclegan["A2B"].generator(image), painter()(image))
        assert torch.equal(cyclegan["A2B"].discriminator(image), discriminator(image))
    assert any(line.startswith("norms of the generators: none, measured: ") for line in cyclegan.taken_for)
    assert any(line.endswith("(--discriminator patch:norm=instance)") for line in cyclegan.taken_for)


@pytest.mark.parametrize("place", [("A2B", "generator"), ("B2A", "generator")])
def test_a_generator_alone_is_known_where_one_reading_is_flat(tmp_path, place):
    cyclegan = load_cyclegan(write(tmp_path, {place: trained()[place]}))
    assert norms(cyclegan) == {"instance"}


def test_discriminators_alone_may_be_open(tmp_path):
    whole = load_cyclegan(toy_checkpoint()).networks()
    networks = trained() | {place: whole[".".join(place)] for place in FILES if place[1] == "generator"}
    assert norms(load_cyclegan(write(tmp_path, networks))) == {"instance"}
    lost = enliven(build(DiscriminatorConfig(ndf=4, bias=False)))
    write(tmp_path, {place: lost for place in FILES if place[1] == "discriminator"})
    message = r"discriminator norms: got .*Give --discriminator patch:norm=none, or --discriminator patch:norm=instance"
    with pytest.raises(UserError, match=message):
        load_cyclegan(tmp_path)


def test_what_cannot_be_told_is_asked_and_the_answer_holds_for_all(tmp_path):
    write(tmp_path, {place: toy_generator(bias=False) for place in FILES if place[1] == "generator"})
    write(tmp_path, {("A2B", "discriminator"): build(DiscriminatorConfig(ndf=4, bias=False))})
    message = (
        r"generator norms: got .*measured: none: .*Give --generator resnet:norm=none, or --generator resnet:norm=i"
    )
    with pytest.raises(UserError, match=message) as caught:
        load_cyclegan(tmp_path)
    assert len(str(caught.value)) < 500
    for norm in ("none", "instance"):
        cyclegan = load_cyclegan(tmp_path, options=CheckpointOptions(generator=f"resnet:norm={norm}"))
        assert norms(cyclegan) == {norm} and not cyclegan["A2B"].generator.config.biased
        assert not any("norms of the generators" in line for line in cyclegan.taken_for)


def test_networks_that_cannot_be_measured_are_asked_about(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("an odd layer")

    monkeypatch.setattr("ganprune.models.readings.measure", fails)
    write(tmp_path, {("A2B", "generator"): toy_generator(bias=False)})
    with pytest.raises(UserError, match=r"it can't be measured: .*an odd layer.*Give --generator resnet:norm=none"):
        load_cyclegan(tmp_path)


def test_discriminators_of_pairs_are_not_asked_about(tmp_path):
    write(tmp_path, {("A2B", "generator"): toy_generator()})
    write(tmp_path, {("A2B", "discriminator"): build(DiscriminatorConfig(ndf=4, bias=False, in_channels=6))})
    assert load_cyclegan(tmp_path)["A2B"].discriminator is None


def test_biases_before_norms_mean_instance_norms_without_measuring(tmp_path, monkeypatch):
    monkeypatch.setattr("ganprune.models.readings.measure", None)
    networks = load_cyclegan(default_checkpoint()).networks()
    write(tmp_path, {place: networks[".".join(place)] for place in FILES})
    cyclegan = load_cyclegan(tmp_path)
    assert norms(cyclegan) == {"instance"}
    assert cyclegan.taken_for == [
        "norms of the generators: instance (--generator resnet:norm=none)",
        "padding of the blocks of the generators: reflect (--generator resnet:padding=replicate)",
        "images of the generators: made anew, not added to those given (--generator resnet:residual=true)",
        "norms of the discriminators: instance (--discriminator patch:norm=none)",
    ]


def with_counting_biases(network):
    """A copy whose biases are as those of trained networks without norms: of one sign more than of the other."""
    network = enliven(copy.deepcopy(network))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            layer.bias.data += 0.5
    return network


def test_biases_that_no_norm_takes_off_are_seen(tmp_path):
    assert not biases_count(toy_generator(ngf=8))
    odd = with_counting_biases(toy_generator(ngf=8))
    assert biases_count(odd)
    (norm, *_) = load_cyclegan(write(tmp_path, {("A2B", "generator"): odd})).taken_for
    assert norm.startswith("norms of generator A2B: instance, although the biases before them look as if they counted")


def test_networks_without_norms_but_with_biases_are_known_by_what_they_do(tmp_path):
    network = painter(bias=True)
    network.model[1].bias.data.copy_(torch.linspace(0.01, 0.02, 8))
    network.model[5].bias.data.zero_()
    cyclegan = load_cyclegan(write(tmp_path, {place: network for place in FILES if place[1] == "generator"}))
    assert norms(cyclegan) == {"none"} and cyclegan["B2A"].generator.config.biased
    assert cyclegan.taken_for[0].startswith("norms of the generators: none, measured: ")


@pytest.mark.parametrize("config", [GeneratorConfig(ngf=4, blocks=1, norm="none"), UnetConfig(ngf=4, levels=2)])
def test_what_a_file_says_is_not_listed(tmp_path, cyclegan, config):
    for side in cyclegan.values():
        side.generator = build(config)
    save_cyclegan(cyclegan, tmp_path)
    loaded = load_cyclegan(tmp_path)
    assert loaded["A2B"].generator.config == config and loaded.taken_for == []


def test_what_sides_differ_in_is_listed_for_each(tmp_path):
    write(tmp_path, {("A2B", "generator"): build(UnetConfig(ngf=4, levels=2))})
    write(tmp_path, {("B2A", "generator"): toy_generator(upsampling="nearest", padding="zero")})
    assert load_cyclegan(tmp_path).taken_for == [
        "statistics of batch norms of generator A2B: running (--generator unet:statistics=batch)",
        "dropout in training of generator A2B: none (--generator unet:dropout=true)",
        "norms of generator B2A: instance (--generator resnet:norm=none)",
        "images of generator B2A: made anew, not added to those given (--generator resnet:residual=true)",
        "enlargement of generator B2A: nearest (--generator resnet:upsampling=bilinear)",
    ]


def test_an_instance_norm_in_the_place_of_a_batch_norm_finds_out_about_biases(tmp_path):
    batch = toy_generator(norm="batch")
    write(tmp_path, {("A2B", "generator"): batch})
    loaded = [
        load_cyclegan(tmp_path, options=CheckpointOptions(generator=text))["A2B"].generator
        for text in ("resnet:norm=instance,affine=true", "resnet:statistics=batch")
    ]
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        wanted = batch.train()(image)
        assert all(torch.allclose(network(image), wanted, atol=1e-5) for network in loaded)


@pytest.mark.parametrize(
    ("none", "instance", "found"),
    [
        ((0.6, 0.42, 1.4), (1.5, 0.14, 1.4), "none"),
        ((0.6, 0.99, 0.2), (1.5, 0.95, 0.8), "none"),
        ((0.01, 0.0, 1.0), (2.0, 0.4, 2.0), "instance"),
        ((0.5, 0.0, 1.0), (2.0, 0.4, 2.0), "instance"),
        ((0.05,), (2.0,), "instance"),
        ((0.5,), (2.0,), None),
        ((1.0, 0.5, 1.0), (1.0, 0.4, 1.0), None),  # the cycle closes under both
        ((1.0, 0.1, 1.0), (1.0, 0.0, 1.0), None),  # under neither
        ((0.01, 0.0, 1.0), (2.0, 0.1, 2.0), None),
        ((0.01, 0.0, 1.0), (0.02, 0.0, 1.0), None),
    ],
)
def test_only_a_clear_margin_decides(none, instance, found):
    assert verdict({"none": Evidence(*none), "instance": Evidence(*instance)})[0] == found


def test_discriminators_with_norms_that_they_never_had_are_loud():
    none, instance = Evidence(0.05), Evidence(4.0, loud=True)
    assert verdict({"none": none, "instance": instance})[0] is None
