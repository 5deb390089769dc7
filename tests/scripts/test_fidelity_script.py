"""``scripts/fidelity.py``: the sequential form that it measures beside the one that a search scores."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import SIZE, UNet, enliven, random_bits, separable, toy_generator, toy_images

from ganprune.filters.builder import compact
from ganprune.filters.reconstruction import Reconstruction
from ganprune.filters.space import FilterSpace


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("fidelity", Path(__file__).parents[2] / "scripts" / "fidelity.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NETWORKS = {
    "instance": lambda: toy_generator(torch.float64),
    "batch": lambda: toy_generator(torch.float64, norm="batch"),
    "unet": lambda: enliven(UNet()).double().eval(),
    "separable": lambda: enliven(separable()).double().eval(),
}


def reconstructed(name):
    network = NETWORKS[name]()
    images = toy_images(2, (8, 8)) if name == "separable" else toy_images(2)
    return Reconstruction(network, FilterSpace(network, size=SIZE), images)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_sequential_is_exact_with_all_bits_deterministic_and_finite(script, name):
    reconstruction = reconstructed(name)
    space, images = reconstruction.space, reconstruction.images
    full = script.sequential(reconstruction, space.full())(images)
    if not reconstruction.has_batch_norm:
        assert (full - reconstruction.generator(images)).abs().max() < 1e-7
    bits = random_bits(space, 3)
    one, two = (script.sequential(reconstruction, bits).state_dict() for _ in range(2))
    assert all(torch.equal(one[key], two[key]) and torch.isfinite(one[key]).all() for key in one)
    fewest = space.encode({group.name: [1] for group in space.groups})
    assert torch.isfinite(script.sequential(reconstruction, fewest)(images)).all()
    assert not any(module._forward_pre_hooks for module in reconstruction.generator.modules())


@torch.no_grad()
@pytest.mark.parametrize("name", ["instance", "unet"])
def test_sequential_comes_nearer_to_the_original_than_slicing(script, name):
    reconstruction, distances = reconstructed(name), {"sliced": [], "sequential": []}
    wanted = reconstruction.generator(reconstruction.images)
    for seed in range(3):
        bits = random_bits(reconstruction.space, seed, 0.6)
        networks = {
            "sliced": compact(reconstruction.generator, reconstruction.space, bits),
            "sequential": script.sequential(reconstruction, bits),
        }
        for form, network in networks.items():
            distances[form].append(float((network(reconstruction.images) - wanted).square().mean()))
    assert np.mean(distances["sequential"]) < np.mean(distances["sliced"])
