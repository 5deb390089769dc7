"""Checkpoints: own format, public layouts, and damaged or hostile files."""

import json
import os
import pickle
import shutil

import pytest
import torch
from networks import enliven, toy_cyclegan, toy_generator, toy_images
from torch import nn

from ganprune.errors import UserError
from ganprune.models.architecture import build, infer_discriminator, infer_generator
from ganprune.models.checkpoint import (
    CONFIG_NAME,
    LAYOUTS,
    WEIGHTS_NAME,
    CycleGAN,
    load_cyclegan,
    read_pth,
    save_cyclegan,
)
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig

MARKS = {  # which constant the first bias of each file holds, and so which network must end up where
    "latest_net": {"latest_net_G_A.pth": 1, "latest_net_D_A.pth": 2, "latest_net_G_B.pth": 3, "latest_net_D_B.pth": 4},
    "netG_A2B": {"netG_A2B.pth": 1, "netD_B.pth": 2, "netG_B2A.pth": 3, "netD_A.pth": 4},
}
PLACES = {1: "A2B.generator", 2: "A2B.discriminator", 3: "B2A.generator", 4: "B2A.discriminator"}


def tensors(cyclegan):
    return {f"{n}.{k}": v for n, network in cyclegan.networks().items() for k, v in network.state_dict().items()}


def write_layout(folder, layout="latest_net", change=dict):
    """Write four marked networks; ``change`` edits each state dict before it is saved."""
    folder.mkdir()
    for file, mark in MARKS[layout].items():
        network = (
            toy_generator(seed=mark) if "G_" in file else enliven(build(DiscriminatorConfig(ndf=4, layers=1)), mark)
        )
        state = network.state_dict()
        state["model.1.bias" if "G_" in file else "model.0.bias"].fill_(mark)
        torch.save(change(state), folder / file)
    return folder


@pytest.fixture
def saved(tmp_path, cyclegan):
    save_cyclegan(cyclegan, tmp_path / "own")
    return tmp_path / "own"


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_own_format_returns_every_tensor_exactly(tmp_path, norm):
    original = toy_cyclegan(norm=norm)
    save_cyclegan(original, tmp_path / "new" / "folder")
    loaded = load_cyclegan(tmp_path / "new" / "folder")
    wanted, got = tensors(original), tensors(loaded)
    assert wanted.keys() == got.keys()
    assert all(torch.equal(wanted[name], got[name]) and got[name].dtype == wanted[name].dtype for name in wanted)
    assert [network.config for network in loaded.networks().values()] == [
        n.config for n in original.networks().values()
    ]
    assert not any(network.training for network in loaded.networks().values())
    assert not any(p.requires_grad for network in loaded.networks().values() for p in network.parameters())


def test_half_precision_halves_the_file_and_loads_as_float32(tmp_path, cyclegan, saved):
    save_cyclegan(cyclegan, tmp_path / "half", half=True)
    sizes = [(folder / WEIGHTS_NAME).stat().st_size for folder in (tmp_path / "half", saved)]
    assert sizes[0] < 0.7 * sizes[1]
    wanted, got = tensors(cyclegan), tensors(load_cyclegan(tmp_path / "half"))
    assert all(value.dtype == torch.float32 for value in got.values())
    assert all(torch.allclose(wanted[name], got[name], rtol=1e-3, atol=1e-6) for name in wanted)
    assert any(not torch.equal(wanted[name], got[name]) for name in wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_public_layouts_give_each_side_the_judge_of_its_output(tmp_path, layout):
    networks = load_cyclegan(write_layout(tmp_path / "public", layout)).networks()
    for mark, place in PLACES.items():
        bias = networks[place].model[1 if place.endswith("generator") else 0].bias
        assert (bias == mark).all(), f"{place} holds another network"


def test_sides_know_their_domains_and_partner(cyclegan):
    assert [(side.source, side.target) for side in cyclegan.values()] == [("A", "B"), ("B", "A")]
    assert cyclegan.partner("A2B") is cyclegan["B2A"] and cyclegan.partner("B2A") is cyclegan["A2B"]
    assert list(CycleGAN(cyclegan["B2A"], cyclegan["A2B"])) == ["A2B", "B2A"]


def test_with_generators_copies_the_discriminators(cyclegan):
    other = cyclegan.with_generators({name: toy_generator(seed=9) for name in cyclegan})
    other["A2B"].discriminator.model[0].bias.data.fill_(7)
    assert not (cyclegan["A2B"].discriminator.model[0].bias == 7).any()


def test_data_parallel_prefix_is_dropped(tmp_path):
    plain = load_cyclegan(write_layout(tmp_path / "plain"))
    prefixed = write_layout(tmp_path / "prefixed", change=lambda state: {f"module.{k}": v for k, v in state.items()})
    wanted, got = tensors(plain), tensors(load_cyclegan(prefixed))
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)


def test_running_statistics_of_old_instance_norms_are_dropped(tmp_path):
    def with_statistics(state):
        statistics = {
            "running_mean": torch.full((8,), 9.0),
            "running_var": torch.ones(8),
            "num_batches_tracked": torch.tensor(3),
        }
        return state | {f"model.5.{name}": value for name, value in statistics.items()}

    plain = load_cyclegan(write_layout(tmp_path / "plain"))["A2B"].generator
    old = load_cyclegan(write_layout(tmp_path / "old", change=with_statistics))["A2B"].generator
    image = toy_images(1, dtype=torch.float32)
    assert torch.equal(old(image), plain(image))
    assert not any("running" in name for name in old.state_dict())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"affine": True},
        {"norm": "batch"},
        {"dropout": True},
        {"dropout": True, "norm": "batch"},
        {"dropout": True, "affine": True},
        {"blocks": 6},
        {"blocks": 9},
        {"blocks": 0},
        {"ngf": 6, "in_channels": 1, "out_channels": 2},
    ],
)
def test_a_generators_architecture_is_inferred_from_its_tensors(options, tmp_path):
    config = GeneratorConfig(**{"ngf": 4, "blocks": 2, **options})
    assert infer_generator(build(config).state_dict(), tmp_path) == config


def test_affine_instance_norms_with_old_running_statistics_are_not_taken_for_batch_norms(tmp_path):
    state = build(GeneratorConfig(ngf=4, blocks=1, affine=True)).state_dict()
    state |= {"model.2.running_mean": torch.zeros(4), "model.2.running_var": torch.ones(4)}
    assert infer_generator(state, tmp_path) == GeneratorConfig(ngf=4, blocks=1, affine=True)


@pytest.mark.parametrize(
    "options", [{}, {"affine": True}, {"norm": "batch"}, {"layers": 1}, {"layers": 4}, {"ndf": 6, "in_channels": 1}]
)
def test_a_discriminators_architecture_is_inferred_from_its_tensors(options, tmp_path):
    config = DiscriminatorConfig(**{"ndf": 4, **options})
    assert infer_discriminator(build(config).state_dict(), tmp_path) == config


def without(name):
    return lambda state: {key: value for key, value in state.items() if key != name}


def damage(name, value):
    return lambda state: {**state, name: value} if name in state or not name.startswith("model") else dict(state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("model.4.weight"), r"latest_net_G_A\.pth without tensor model\.4\.weight \(1 missing\)"),
        (lambda s: {**s, "model.99.weight": torch.ones(1, 1, 3, 3)}, r"G_A\.pth with extra tensor model\.99\.weight"),
        (damage("model.4.bias", torch.ones(3)), r"model\.4\.bias of shape \(3,\); expected shape \(8,\)"),
        (damage("model.7.bias", torch.full((16,), float("nan"))), r"model\.7\.bias with NaN or Inf"),
        (damage("model.7.bias", torch.full((16,), float("inf"))), r"model\.7\.bias with NaN or Inf"),
        (lambda s: {"netG": s}, r"latest_net_G_A\.pth \(dict\); expected tensors by name"),
        (lambda s: {0: torch.ones(1)}, r"latest_net_G_A\.pth \(dict\); expected tensors by name"),
        (lambda s: torch.ones(3), r"latest_net_G_A\.pth \(Tensor\); expected tensors by name"),
        (lambda s: {"encoder.weight": torch.ones(1)}, r"first tensor encoder\.weight\); expected a ResNet generator"),
        (lambda s: {}, r"first tensor None\); expected a ResNet generator"),
    ],
)
def test_a_wrong_tensor_of_a_public_file_is_named(tmp_path, change, message):
    folder = write_layout(tmp_path / "public")
    state = torch.load(folder / "latest_net_G_A.pth", weights_only=True)
    torch.save(change(state), folder / "latest_net_G_A.pth")
    with pytest.raises(UserError, match=message):
        load_cyclegan(folder)


def test_something_else_than_a_discriminator_is_named(tmp_path):
    folder = write_layout(tmp_path / "public")
    torch.save(nn.Linear(2, 2).state_dict(), folder / "latest_net_D_B.pth")
    with pytest.raises(UserError, match=r"latest_net_D_B\.pth \(first tensor weight\); expected a PatchGAN"):
        load_cyclegan(folder)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_side_is_named(tmp_path, layout):
    folder = write_layout(tmp_path / "public", layout)
    missing = LAYOUTS[layout]["B2A", "generator"]
    (folder / missing).unlink()
    with pytest.raises(
        UserError, match=rf"without {missing}; expected two generators and two discriminators\. .*needs both sides"
    ):
        load_cyclegan(folder)


def test_missing_and_foreign_folders_are_named(tmp_path):
    with pytest.raises(UserError, match=r"checkpoint: got .*nowhere; expected an existing folder"):
        load_cyclegan(tmp_path / "nowhere")
    with pytest.raises(
        UserError, match=r"\(no known files\); expected a folder with one of cyclegan\.json, latest_net_G_A\.pth"
    ):
        load_cyclegan(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 100, 0.3, 0.9])
def test_a_truncated_safetensors_file_is_named(saved, keep):
    path = saved / WEIGHTS_NAME
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(UserError, match=r"cyclegan\.safetensors \(.*expected an undamaged file"):
        load_cyclegan(saved)


def test_a_missing_safetensors_file_is_named(saved):
    (saved / WEIGHTS_NAME).unlink()
    with pytest.raises(UserError, match=r"cyclegan\.safetensors \(missing\); expected a safetensors file"):
        load_cyclegan(saved)


@pytest.mark.parametrize("keep", [0, 1, 30, 0.3, 0.9])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_pth_file_is_named(tmp_path, keep, zipped):
    path = tmp_path / "latest_net_G_A.pth"
    torch.save(toy_generator().state_dict(), path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(UserError, match=r"latest_net_G_A\.pth \(.*\); expected a PyTorch state dict"):
        read_pth(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"cyclegan\.json \(.*\); expected a JSON file with architecture"),
        ("", r"cyclegan\.json \("),
        ("[]", r"cyclegan\.json: got format None; expected format 1"),
        ("{}", r"cyclegan\.json: got format None; expected format 1"),
        ('{"format": 1}', r"cyclegan\.json \('architecture'\)"),
        ('{"format": 1, "architecture": "resnet"}', r"cyclegan\.json \("),
        ('{"format": 2, "architecture": {}}', r"format 2, a newer version's; .*Upgrade ganprune"),
        ('{"format": 0, "architecture": {}}', r"format 0, an older version's; expected format 1"),
        ('{"format": true, "architecture": {}}', r"got format True; expected format 1"),
    ],
)
def test_damaged_json_is_named(saved, text, message):
    (saved / CONFIG_NAME).write_text(text)
    with pytest.raises(UserError, match=message):
        load_cyclegan(saved)


def test_json_that_is_no_text_is_named(saved):
    (saved / CONFIG_NAME).write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(UserError, match=r"cyclegan\.json \("):
        load_cyclegan(saved)


def test_tensors_and_json_must_agree(saved):
    data = json.loads((saved / CONFIG_NAME).read_text())
    del data["architecture"]["B2A.discriminator"]
    (saved / CONFIG_NAME).write_text(json.dumps(data))
    with pytest.raises(UserError, match=r"with extra tensor B2A\.discriminator\..*; expected only known networks"):
        load_cyclegan(saved)


def test_own_format_without_a_side_is_refused(tmp_path, cyclegan):
    half = CycleGAN(cyclegan["A2B"])
    save_cyclegan(half, tmp_path)
    with pytest.raises(UserError, match=r"without B2A\.generator; expected both sides"):
        load_cyclegan(tmp_path)


def test_own_format_with_another_width_names_the_tensor(saved):
    data = json.loads((saved / CONFIG_NAME).read_text())
    data["architecture"]["A2B.generator"]["ngf"] = 5
    (saved / CONFIG_NAME).write_text(json.dumps(data))
    with pytest.raises(
        UserError, match=r"tensor model\.1\.weight of shape \(4, 3, 7, 7\); expected shape \(5, 3, 7, 7\)"
    ):
        load_cyclegan(saved)


class Hostile:
    """Unpickling this makes a directory."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_is_refused_and_not_executed(tmp_path, zipped):
    folder, trap = write_layout(tmp_path / "public"), tmp_path / "trap"
    state = {"model.1.weight": Hostile(trap)}
    torch.save(state, folder / "latest_net_G_A.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"latest_net_G_A\.pth \(.*expected a PyTorch state dict"):
        load_cyclegan(folder)
    assert not trap.exists()
    torch.load(folder / "latest_net_G_A.pth", weights_only=False)
    assert trap.exists(), "the file was harmless, so that this test showed nothing"


def test_a_bare_hostile_pickle_is_refused_and_not_executed(tmp_path):
    folder, trap = write_layout(tmp_path / "public"), tmp_path / "trap"
    (folder / "latest_net_G_A.pth").write_bytes(pickle.dumps(Hostile(trap), protocol=2))
    with pytest.raises(UserError, match=r"latest_net_G_A\.pth \("):
        load_cyclegan(folder)
    assert not trap.exists()


def test_own_format_comes_before_a_layout_in_the_same_folder(saved, tmp_path, cyclegan):
    public = write_layout(tmp_path / "public")
    for file in public.iterdir():
        shutil.copy(file, saved)
    assert torch.equal(load_cyclegan(saved)["A2B"].generator.model[1].bias, cyclegan["A2B"].generator.model[1].bias)
