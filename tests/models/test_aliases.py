"""Layers under two names, and layers that share a tensor: files hold each tensor once, and it is still shared."""

import pytest
import torch
from networks import SIZE, enliven, toy_images
from safetensors.torch import load_file
from thirdparty import TwoNames, alive
from torch import nn

from ganprune.evolution.individual import pack_bits
from ganprune.filters.builder import compact
from ganprune.filters.saving import load_generator, save_generator
from ganprune.filters.space import FilterSpace
from ganprune.models.aliases import save_tensors, second_names
from ganprune.models.checkpoint import load_cyclegan, save_cyclegan
from ganprune.models.cyclegan import CycleGAN, Side
from ganprune.models.options import CheckpointOptions
from ganprune.settings.training import TrainingSettings
from ganprune.training import CycleGANTrainer

SECOND = {f"encoder.{index}.{name}" for index in (0, 2) for name in ("weight", "bias")}
DISTIL = TrainingSettings(steps=2, batch=1, lam=0.0, identity=0.0, adversarial=0.0, distil=1.0)


def test_second_names_are_found_without_any_content():
    with torch.device("meta"):
        assert second_names(TwoNames()).keys() == SECOND
    assert second_names(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))) == {}


def test_a_compact_generator_is_saved_and_loaded(tmp_path):
    network = alive(TwoNames())
    space = FilterSpace(network, size=SIZE)
    small = compact(network, space, space.repair([1, 0] * (len(space) // 2)))
    save_generator(small, tmp_path / "A2B", architecture={"kind": "factory"}, bits=pack_bits([1]), side="A2B")
    assert load_file(tmp_path / "A2B.safetensors").keys() == small.state_dict().keys() - SECOND
    loaded = load_generator(tmp_path / "A2B", factory=TwoNames)
    assert loaded.encoder[0] is loaded.first and loaded.first.out_channels == 4
    images = toy_images(dtype=torch.float32)
    assert torch.equal(loaded(images), small(images))


def test_our_checkpoints_and_old_files_with_both_names_are_read(tmp_path):
    network = alive(TwoNames())
    save_cyclegan(CycleGAN(Side("A2B", network)), tmp_path / "ours")
    (tmp_path / "old").mkdir()
    torch.save(network.state_dict(), tmp_path / "old" / "netG_A2B.pth")
    for folder in ("ours", "old"):
        options = CheckpointOptions(generator="thirdparty:TwoNames")
        loaded = load_cyclegan(tmp_path / folder, options=options)["A2B"].generator
        assert loaded.encoder[0] is loaded.first
        assert all(torch.equal(value, network.state_dict()[key]) for key, value in loaded.state_dict().items())


def test_a_training_goes_on_from_its_state(images, tmp_path):
    original = CycleGAN(Side("A2B", alive(TwoNames(), 0)))

    def trainer():
        return CycleGANTrainer(CycleGAN(Side("A2B", alive(TwoNames(), 1))), images, DISTIL, teacher=original)

    whole, first, second = trainer(), trainer(), trainer()
    list(whole.train())
    first.train_step()
    first.save(tmp_path)
    second.load(tmp_path)
    list(second.train())
    theirs = whole.cyclegan["A2B"].generator.state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in second.cyclegan["A2B"].generator.state_dict().items())


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.second.weight = self.first.weight

    def forward(self, x):
        return torch.tanh(self.second(torch.relu(self.first(x))))


def test_layers_that_no_longer_share_a_tensor_keep_their_own(tmp_path):
    network = enliven(Tied()).eval()
    network.second.weight = nn.Parameter(network.first.weight.detach() * 2)  # as pruning and a fine-tune may leave them
    save_generator(network, tmp_path / "A2B", architecture={"kind": "factory"}, bits=pack_bits([1]), side="A2B")
    loaded = load_generator(tmp_path / "A2B", factory=Tied)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in loaded.state_dict().items())
    tied = enliven(Tied())
    save_generator(tied, tmp_path / "B2A", architecture={"kind": "factory"}, bits=pack_bits([1]), side="B2A")
    loaded = load_generator(tmp_path / "B2A", factory=Tied)
    assert loaded.second.weight is loaded.first.weight and torch.equal(loaded.first.weight, tied.first.weight)


@pytest.mark.parametrize("part", [slice(None), slice(1, 3)])
def test_tensors_that_share_memory_are_written_each_for_itself(tmp_path, part):
    tensor = torch.arange(12.0).reshape(4, 3)
    save_tensors({"a": tensor, "b": tensor[part]}, tmp_path / "file")
    found = load_file(tmp_path / "file")
    assert torch.equal(found["a"], tensor) and torch.equal(found["b"], tensor[part])
