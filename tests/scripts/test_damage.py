"""Known damage: more of it with every dose, the same each time, and images stay images."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ganprune.assets import default_images
from ganprune.data.images import UnpairedImages

specification = importlib.util.spec_from_file_location("damage", Path(__file__).parents[2] / "scripts" / "damage.py")
damage = importlib.util.module_from_spec(specification)
sys.modules["damage"] = damage  # where its dataclass looks for its own module
specification.loader.exec_module(damage)


@pytest.fixture(scope="module")
def real():
    return UnpairedImages(default_images(), 64)["A"].validation.tensor(range(12))


@pytest.mark.parametrize("name", damage.DAMAGES)
def test_every_dose_does_more_damage_than_the_one_before(real, name):
    kind = damage.DAMAGES[name]
    damaged = [kind.apply(real, dose, np.random.default_rng(0)) for dose in kind.doses]
    again = kind.apply(real, kind.doses[-1], np.random.default_rng(0))
    assert torch.equal(again, damaged[-1]) and all(each.shape == real.shape for each in damaged)
    assert all(float(each.abs().max()) <= 1.001 for each in damaged)
    if name == "fewer images":
        counts = [len(torch.unique(each.flatten(1), dim=0)) for each in damaged]
        assert counts == [9, 6, 3, 1, 1]
    elif name != "hue":  # turned far enough, some colours come back
        distances = [float((each - real).abs().mean()) for each in damaged]
        assert distances == sorted(distances) and distances[0] > 0
    assert list(kind.looks) == sorted(kind.looks) and set(kind.looks) <= set(kind.doses)
