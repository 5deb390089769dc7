"""The greedy importance order: against an exhaustive search, and what it promises."""

import itertools

import numpy as np
import pytest
import torch
from networks import SIZE, UNet, enliven, separable, toy_generator, toy_images
from torch import nn

from ganprune.filters.builder import NetworkBuilder
from ganprune.filters.importance import importance_order
from ganprune.filters.layers import layer_at
from ganprune.filters.reconstruction import Reconstruction
from ganprune.filters.space import FilterSpace


def reconstruction_of(generator):
    space = FilterSpace(generator, size=SIZE)
    return Reconstruction(generator, space, toy_images(8, dtype=torch.float32))


@pytest.fixture
def toy():
    return reconstruction_of(toy_generator(ngf=4, blocks=1))


def lost(reconstruction, name, kept):
    """The layer's squared error with only these inputs (and the bias), by least squares on its moments."""
    moments, layer = reconstruction.moments[name], reconstruction.layers[name]
    taps = layer.kernel_size[0] * layer.kernel_size[1]
    columns = [c * taps + t for c in kept for t in range(taps)]
    if layer.bias is not None:
        columns.append(len(moments.gram) - 1)
    gram, product = moments.gram.double(), moments.product.double()
    whole = (product * moments.weight.double()).sum()
    if not columns:
        return float(whole)
    inner = gram[columns][:, columns] + 1e-9 * torch.eye(len(columns))
    return float(whole - (torch.linalg.solve(inner, product[:, columns].T) * product[:, columns].T).sum())


def test_each_choice_is_the_one_that_helps_its_layer_most(toy):
    # The first group feeds the second convolution and nothing else.
    order = np.argsort(importance_order(toy)[: toy.space.group_sizes[0]])
    name = list(toy.layers)[1]
    for step in range(len(order)):
        errors = {c: lost(toy, name, [*order[:step], c]) for c in order[step:]}
        assert errors[order[step]] <= min(errors.values()) + 1e-3 * lost(toy, name, [])


def test_what_is_kept_is_nearly_as_good_as_the_best_set(toy):
    name, size = list(toy.layers)[1], toy.space.group_sizes[0]
    order = np.argsort(importance_order(toy)[:size])
    sets = {kept: lost(toy, name, kept) for kept in itertools.combinations(range(size), size // 2)}
    chosen = lost(toy, name, sorted(order[: size // 2]))
    assert chosen <= np.median(list(sets.values()))
    assert chosen <= 1.5 * min(sets.values())


def test_a_copy_of_a_filter_is_kept_last():
    generator = toy_generator(ngf=4, blocks=1)
    first = layer_at(generator, "model.1")
    with torch.no_grad():
        first.weight[3], first.bias[3] = first.weight[0], first.bias[0]
    places = importance_order(reconstruction_of(generator))[:4]
    assert max(places[0], places[3]) == 3


@pytest.mark.parametrize(
    "network", [toy_generator(), toy_generator(norm="batch"), enliven(UNet()).eval(), enliven(separable()).eval()]
)
def test_every_group_gets_an_order_of_its_own(network):
    reconstruction = reconstruction_of(network)
    places = importance_order(reconstruction)
    assert places == importance_order(reconstruction)
    space = reconstruction.space
    for start, end in zip(space.offsets[:-1], space.offsets[1:], strict=True):
        assert sorted(places[start:end]) == list(range(end - start))


@pytest.mark.slow
def test_a_silent_filter_breaks_nothing():
    generator = toy_generator(ngf=4, blocks=1)
    for module in generator.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    places = importance_order(reconstruction_of(generator))
    assert sorted(places[:4]) == [0, 1, 2, 3]


def test_a_builder_that_reconstructs_repairs_by_importance_and_leaves_its_space_as_it_was():
    generator = toy_generator()
    space = FilterSpace(generator, size=SIZE)
    before = space.saliency
    assert NetworkBuilder(generator, space).space is space
    builder = NetworkBuilder(generator, space, toy_images(8, dtype=torch.float32))
    assert space.saliency == before != builder.space.saliency
    places = importance_order(builder.reconstruction)
    most = space.parameter_count(space.full()) / 2
    space = builder.space.with_repair(fits=lambda bits: space.parameter_count(bits) <= most)
    repaired = space.repair(space.full())
    for start, end in zip(space.offsets[:-1], space.offsets[1:], strict=True):
        kept = [places[i] for i in range(start, end) if repaired[i]]
        assert sorted(kept) == list(range(len(kept)))
        best = max(range(start, end), key=space.saliency.__getitem__)
        assert places[best] == 0
