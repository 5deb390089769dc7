"""What a network costs: parameters, MACs by both conventions, latency."""

import time
from types import SimpleNamespace

import pytest
import torch
from networks import separable, toy_generator, toy_images
from torch import nn

from ganprune.cost.profile import (
    latency_ms,
    layer_positions,
    macs,
    memory_mb,
    one_thread_clock,
    parameters,
    weight_counts,
)
from ganprune.models.generator import ResnetGenerator


def both(network, size, channels=3):
    return macs(weight_counts(network), layer_positions(network, channels, size))


def test_parameters_and_memory_count_biases():
    assert parameters(nn.Conv2d(3, 4, 3)) == 3 * 4 * 9 + 4
    assert memory_mb(nn.Linear(2**18 - 1, 1)) == 1.0


def test_macs_of_each_kind_of_layer_by_hand():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=2, padding=2),  # 16 -> 8
        nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1),  # 8 -> 16
        nn.Conv2d(2, 2, 3, groups=2),  # 16 -> 14
    )
    assert weight_counts(network) == {"0": 3 * 4 * 25, "1": 4 * 2 * 9, "2": 2 * 9}
    plain, depthwise = 3 * 4 * 25 * 8 * 8, 2 * 9 * 14 * 14
    assert both(network, 16) == {
        "input_size": plain + 4 * 2 * 9 * 8 * 8 + depthwise,
        "output_size": plain + 4 * 2 * 9 * 16 * 16 + depthwise,
    }


def generator_macs(ngf, blocks, size, doubled):
    """By hand: outer 7x7 layers, two down, the trunk at a quarter size, two up (at input or at output size)."""
    outer = 2 * 49 * 3 * ngf * size**2
    down = 9 * (ngf * 2 * ngf * (size // 2) ** 2 + 2 * ngf * 4 * ngf * (size // 4) ** 2)
    trunk = blocks * 2 * 9 * (4 * ngf) ** 2 * (size // 4) ** 2
    up = 9 * (4 * ngf * 2 * ngf * (size // 4) ** 2 + 2 * ngf * ngf * (size // 2) ** 2)
    return outer + down + trunk + up * (4 if doubled else 1)


def test_macs_of_the_toy_generator():
    wanted = {"input_size": generator_macs(4, 2, 16, False), "output_size": generator_macs(4, 2, 16, True)}
    assert both(toy_generator(), 16) == wanted


def test_macs_of_the_papers_generator():
    with torch.device("meta"):
        counted = both(ResnetGenerator(), 256)
    assert counted == {"input_size": generator_macs(64, 9, 256, False), "output_size": generator_macs(64, 9, 256, True)}
    assert counted["input_size"] == pytest.approx(49.55e9, abs=0.005e9)
    assert counted["output_size"] == pytest.approx(56.80e9, abs=0.005e9)


def test_counting_leaves_the_network_as_it_was():
    network = separable().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    layer_positions(network, 3, 16)
    assert network.training and all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_latency_takes_turns_and_returns_every_name():
    calls = []

    class Called(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, x):
            calls.append(self.name)
            return x

    times = latency_ms({"one": Called("one"), "two": Called("two")}, toy_images(1), repeats=3, warm_up=2)
    assert set(times) == {"one", "two"} and all(time > 0 for time in times.values())
    assert calls == ["one", "two"] * 5


def test_a_threads_own_clock_is_used_where_it_is_fine_enough(monkeypatch):
    for resolution, clock in ((1e-9, time.thread_time), (1 / 64, time.perf_counter)):
        monkeypatch.setattr(time, "get_clock_info", lambda name, of=resolution: SimpleNamespace(resolution=of))
        assert one_thread_clock() is clock
