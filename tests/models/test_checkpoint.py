"""Checkpoints: own format, public layouts, and damaged or hostile files."""

import json
import os
import pickle
import shutil

import pytest
import torch
from networks import enliven, toy_cyclegan, toy_generator, toy_images
from safetensors.torch import load_file, save_file
from thirdparty import CourseGenerator, Pix2PixUnet, PooledDiscriminator, affine_nearest, alive
from torch import nn

from ganprune.errors import UserError
from ganprune.models.architecture import build
from ganprune.models.checkpoint import load_cyclegan, save_cyclegan
from ganprune.models.cyclegan import CycleGAN, Side
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.models.infer import infer_discriminator, infer_generator
from ganprune.models.layouts import CONFIG_NAME, WEIGHTS_NAME
from ganprune.models.options import CheckpointOptions
from ganprune.models.sizing import check_size
from ganprune.models.unet import UnetConfig
from ganprune.models.weights import read_data

MARKS = {  # which constant the first bias of each file holds, and so which network must end up where
    "latest_net_G_A": {
        "latest_net_G_A.pth": 1,
        "latest_net_D_A.pth": 2,
        "latest_net_G_B.pth": 3,
        "latest_net_D_B.pth": 4,
    },
    "netG_A2B": {"netG_A2B.pth": 1, "netD_B.pth": 2, "netG_B2A.pth": 3, "netD_A.pth": 4},
}
PLACES = {1: "A2B.generator", 2: "A2B.discriminator", 3: "B2A.generator", 4: "B2A.discriminator"}


def tensors(cyclegan):
    return {f"{n}.{k}": v for n, network in cyclegan.networks().items() for k, v in network.state_dict().items()}


def write_layout(folder, layout="latest_net_G_A", change=dict):
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


@pytest.mark.parametrize("layout", MARKS)
def test_public_layouts_give_each_side_the_discriminator_of_its_output(tmp_path, layout):
    networks = load_cyclegan(write_layout(tmp_path / "public", layout)).networks()
    for mark, place in PLACES.items():
        bias = networks[place].model[1 if place.endswith("generator") else 0].bias
        assert (bias == mark).all(), f"{place} holds another network"


@pytest.mark.parametrize("layout", MARKS)
def test_files_of_a_backwards_training_hold_the_other_sides(tmp_path, layout):
    networks = load_cyclegan(
        write_layout(tmp_path / "public", layout), options=CheckpointOptions(trained="BtoA")
    ).networks()
    for mark, place in PLACES.items():
        other = place.replace("A2B", "-").replace("B2A", "A2B").replace("-", "B2A")
        assert (networks[other].model[1 if place.endswith("generator") else 0].bias == mark).all()
    with pytest.raises(UserError, match="--trained: got BtoA with --side A2B; expected one of the two"):
        CheckpointOptions(trained="BtoA", side="A2B")


def test_sides_know_their_domains_and_partner(cyclegan):
    assert [(side.source, side.target) for side in cyclegan.values()] == [("A", "B"), ("B", "A")]
    assert cyclegan.partner("A2B") is cyclegan["B2A"] and cyclegan.partner("B2A") is cyclegan["A2B"]
    assert list(CycleGAN(cyclegan["B2A"], cyclegan["A2B"])) == ["A2B", "B2A"]


def test_with_generators_copies_the_discriminators(cyclegan):
    other = cyclegan.with_generators({name: toy_generator(seed=9) for name in cyclegan})
    other["A2B"].discriminator.model[0].bias.data.fill_(7)
    assert not (cyclegan["A2B"].discriminator.model[0].bias == 7).any()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_data_parallel_and_compile_are_dropped(tmp_path, prefix):
    plain = load_cyclegan(write_layout(tmp_path / "plain"))
    prefixed = write_layout(tmp_path / "prefixed", change=lambda state: {prefix + k: v for k, v in state.items()})
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
        {"padding": "zero"},
        {"padding": "zero", "dropout": True, "norm": "batch"},
        {"affine": True, "bias": False},
        {"norm": "batch", "bias": True},
        {"bias": False},
        {"upsampling": "nearest"},
        {"upsampling": "nearest", "upsampling_padding": "reflect", "dropout": True, "blocks": 3},
        {"upsampling": "nearest", "norm": "batch", "blocks": 0},
        {"downsamplings": 1},
        {"downsamplings": 4, "blocks": 3},
        {"downsamplings": 3, "upsampling": "nearest", "blocks": 0},
        {"downsamplings": 1, "upsampling": "nearest", "upsampling_padding": "reflect", "padding": "zero"},
        {"downsamplings": 1, "upsampling": "nearest", "dropout": True},
        {"downsamplings": 0, "norm": "batch"},
    ],
)
def test_a_generators_architecture_is_inferred_from_its_tensors(options, tmp_path):
    config = GeneratorConfig(**{"ngf": 4, "blocks": 2, **options})
    assert infer_generator(build(config).state_dict(), tmp_path) == config


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "instance"},
        {"norm": "instance", "affine": True, "bias": False},
        {"levels": 2},
        {"levels": 8, "ngf": 2},
        {"in_channels": 1, "out_channels": 2},
        {"bias": True},
    ],
)
def test_a_unets_architecture_is_inferred_from_its_tensors(options, tmp_path):
    config = UnetConfig(**{"ngf": 4, "levels": 3, **options})
    assert infer_generator(build(config).state_dict(), tmp_path) == config


def test_affine_instance_norms_with_old_running_statistics_are_not_taken_for_batch_norms(tmp_path):
    state = build(GeneratorConfig(ngf=4, blocks=1, affine=True)).state_dict()
    state |= {"model.2.running_mean": torch.zeros(4), "model.2.running_var": torch.ones(4)}
    assert infer_generator(state, tmp_path) == GeneratorConfig(ngf=4, blocks=1, affine=True)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"affine": True}, {"norm": "batch"}, {"layers": 1}, {"layers": 4}, {"ndf": 6, "in_channels": 1},
        {"affine": True, "bias": False},
    ],
)  # fmt: skip
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
        (lambda s: {"netD": s}, r"latest_net_G_A\.pth with netD; expected a generator"),
        (lambda s: {0: torch.ones(1)}, r"latest_net_G_A\.pth \(dict of 0\); expected tensors by name"),
        (lambda s: torch.ones(3), r"latest_net_G_A\.pth \(Tensor\); expected tensors by name"),
        (lambda s: {"encoder.weight": torch.ones(1)}, r"first tensor encoder\.weight\); expected a ResNet generator"),
        (lambda s: {}, r"latest_net_G_A\.pth \(dict of nothing\); expected tensors by name"),
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


@pytest.mark.parametrize("layout", MARKS)
def test_a_missing_generator_leaves_the_other_side_alone(tmp_path, layout):
    folder = write_layout(tmp_path / "public", layout)
    names = {PLACES[mark]: file for file, mark in MARKS[layout].items()}
    (folder / names["B2A.generator"]).unlink()
    cyclegan = load_cyclegan(folder)
    assert list(cyclegan) == ["A2B"] and cyclegan.reverse("A2B") is None
    assert list(cyclegan.networks()) == ["A2B.generator", "A2B.discriminator"]
    notes = "\n".join(cyclegan.notes)
    assert f"{names['B2A.discriminator']} is left out: its generator is not there" in notes
    assert f"{names['B2A.generator'].removesuffix('.pth')} is not in {folder}: no cycle term" in notes


@pytest.mark.parametrize("layout", MARKS)
def test_a_missing_discriminator_leaves_its_side_without(tmp_path, layout):
    folder = write_layout(tmp_path / "public", layout)
    missing = next(file for file, mark in MARKS[layout].items() if PLACES[mark] == "A2B.discriminator")
    (folder / missing).unlink()
    cyclegan = load_cyclegan(folder)
    assert list(cyclegan) == ["A2B", "B2A"]
    assert cyclegan["A2B"].discriminator is None and cyclegan["B2A"].discriminator is not None
    text = f"{missing.removesuffix('.pth')} is not in {folder}: A2B has no discriminator: L_GenA instead of L_DisA"
    assert text in cyclegan.notes


def test_discriminators_alone_are_refused(tmp_path):
    folder = write_layout(tmp_path / "public")
    for file in folder.glob("*G_*"):
        file.unlink()
    with pytest.raises(UserError, match=r"latest_net_D_A\.pth, latest_net_D_B\.pth only; expected a generator"):
        load_cyclegan(folder)


def test_a_single_direction_and_a_single_file_are_a_side_alone(tmp_path):
    folder = write_layout(tmp_path / "public")
    (folder / "latest_net_G_A.pth").rename(folder / "latest_net_G.pth")
    (folder / "latest_net_D_A.pth").rename(folder / "latest_net_D.pth")
    for file in folder.glob("*_B.pth"):
        file.unlink()
    cyclegan = load_cyclegan(folder)
    assert list(cyclegan) == ["A2B"] and (cyclegan["A2B"].discriminator.model[0].bias == 2).all()
    alone = load_cyclegan(folder / "latest_net_G.pth")
    assert list(alone) == ["A2B"] and alone["A2B"].discriminator is None
    (folder / "latest_net_G.pth").rename(folder / "netG_B2A.pth")
    assert list(load_cyclegan(folder / "netG_B2A.pth")) == ["B2A"]
    (folder / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"notes\.txt; expected a folder, or a file ending in \.safetensors, \.pth"):
        load_cyclegan(folder / "notes.txt")


def test_one_side_of_two_can_be_taken_and_the_other_is_its_reverse(tmp_path):
    pair = load_cyclegan(write_layout(tmp_path / "public"), options=CheckpointOptions(only="B2A"))
    assert list(pair) == ["B2A"]
    assert (pair.reverse("B2A").model[1].bias == 1).all()
    assert list(pair.networks()) == ["B2A.generator", "B2A.discriminator", "A2B.generator"]
    with pytest.raises(UserError, match=r"only: got A2B; expected B2A"):
        CycleGAN(pair["B2A"]).only("A2B")
    with pytest.raises(UserError, match=r"only: got A; expected A2B or B2A"):
        CheckpointOptions(only="A")


def test_an_epoch_is_chosen_and_those_there_are_listed(tmp_path):
    folder = write_layout(tmp_path / "public")
    for file in list(folder.iterdir()):
        state = torch.load(file, weights_only=True)
        for epoch, mark in ((5, 50.0), (100, 60.0)):
            first = "model.1.bias" if "G_" in file.name else "model.0.bias"
            torch.save({**state, first: torch.full_like(state[first], mark)}, folder / f"{epoch}{file.name[6:]}")
        file.unlink()
    chosen = load_cyclegan(folder, options=CheckpointOptions(epoch="100"))
    assert all((side.generator.model[1].bias == 60).all() for side in chosen.values())
    with pytest.raises(UserError, match=r"without epoch latest; expected one of its epochs: 5, 100\. Give --epoch 100"):
        load_cyclegan(folder)
    with pytest.raises(UserError, match=r"without epoch 7; expected one of its epochs: 5, 100"):
        load_cyclegan(folder, options=CheckpointOptions(epoch="7"))


def test_layouts_without_epochs_say_so(tmp_path, saved):
    folder = write_layout(tmp_path / "public", "netG_A2B")
    for path in (folder, saved, folder / "netG_A2B.pth"):
        with pytest.raises(UserError, match=r"epoch: got 3 with .*; expected none"):
            load_cyclegan(path, options=CheckpointOptions(epoch="3"))


def test_safetensors_of_a_layout_come_before_pickles(tmp_path):
    folder = write_layout(tmp_path / "public")
    state = torch.load(folder / "latest_net_G_A.pth", weights_only=True)
    state["model.1.bias"] = torch.full_like(state["model.1.bias"], 9)
    save_file({f"module.{name}": tensor for name, tensor in state.items()}, folder / "latest_net_G_A.safetensors")
    assert (load_cyclegan(folder)["A2B"].generator.model[1].bias == 9).all()


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
        read_data(path)


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


def test_own_format_holds_a_side_alone_too(tmp_path, cyclegan):
    save_cyclegan(CycleGAN(cyclegan["A2B"]), tmp_path)
    assert list(load_cyclegan(tmp_path).networks()) == ["A2B.generator", "A2B.discriminator"]
    save_cyclegan(cyclegan.only("B2A"), tmp_path)
    loaded = load_cyclegan(tmp_path)
    assert list(loaded) == ["A2B", "B2A"] and loaded["A2B"].discriminator is None


def test_own_format_without_any_generator_is_refused(saved):
    data = json.loads((saved / CONFIG_NAME).read_text())
    data["architecture"] = {name: entry for name, entry in data["architecture"].items() if "discr" in name}
    (saved / CONFIG_NAME).write_text(json.dumps(data))
    tensors = {name: tensor for name, tensor in load_file(saved / WEIGHTS_NAME).items() if "discr" in name}
    save_file(tensors, saved / WEIGHTS_NAME)
    with pytest.raises(UserError, match=r"without a generator; expected at least one"):
        load_cyclegan(saved)


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


@pytest.mark.parametrize(
    "make",
    [
        affine_nearest,
        Pix2PixUnet,
        lambda: Pix2PixUnet(levels=2, image=(1, 3)),
        lambda: Pix2PixUnet(levels=3),
    ],
)
def test_generators_that_others_wrote_are_the_same_function_here(tmp_path, make):
    theirs = alive(make())
    torch.save(theirs.state_dict(), tmp_path / "latest_net_G.pth")
    ours = load_cyclegan(tmp_path)["A2B"].generator
    image = toy_images(2, (32, 32), torch.float32, channels=ours.config.in_channels)
    with torch.no_grad():
        assert (ours(image) - theirs(image)).abs().max() < 1e-5


def test_what_is_found_is_said_as_the_options_take_it(tmp_path):
    torch.save(alive(affine_nearest()).state_dict(), tmp_path / "latest_net_G.pth")
    notes = load_cyclegan(tmp_path).notes
    said = next(note for note in notes if note.startswith("A2B generator: "))
    text = said.split(" ")[2]
    assert (
        "ngf=4,blocks=2,norm=instance,affine=true" in text and "upsampling=nearest,upsampling_padding=reflect" in text
    )
    again = load_cyclegan(tmp_path, options=CheckpointOptions(generator=text))
    assert again["A2B"].generator.config == load_cyclegan(tmp_path)["A2B"].generator.config


def test_what_is_said_takes_the_place_of_what_is_inferred(tmp_path):
    folder = write_layout(tmp_path / "public")
    options = CheckpointOptions(
        generator="resnet:padding=replicate/resnet:dropout=false", discriminator="patch:norm=instance"
    )
    loaded = load_cyclegan(folder, options=options)
    assert loaded["A2B"].generator.config.padding == "replicate" and loaded["B2A"].generator.config.padding == "reflect"
    with pytest.raises(UserError, match=r"latest_net_G_A\.pth without tensor model\.11.*by --generator"):
        load_cyclegan(folder, options=CheckpointOptions(generator="resnet:blocks=1"))
    with pytest.raises(UserError, match=r"latest_net_G_A\.pth without tensor model\.model\.0\.weight"):
        load_cyclegan(folder, options=CheckpointOptions(generator="unet:levels=2"))
    with pytest.raises(UserError, match=r"parameter of resnet: got blcks; .*Did you mean 'blocks'"):
        load_cyclegan(folder, options=CheckpointOptions(generator="resnet:blcks=1"))
    with pytest.raises(UserError, match=r"resnet:blocks: got many; expected a number"):
        load_cyclegan(folder, options=CheckpointOptions(generator="resnet:blocks=many"))


def course_files(folder):
    torch.save(alive(CourseGenerator(), 1).state_dict(), folder / "netG_A2B.pth")
    torch.save(alive(PooledDiscriminator(), 2).state_dict(), folder / "netD_B.pth")
    return folder


def test_a_factory_makes_what_we_do_not_know(tmp_path):
    options = CheckpointOptions(
        generator="thirdparty:course_generator:width=4", discriminator="thirdparty:PooledDiscriminator"
    )
    cyclegan = load_cyclegan(course_files(tmp_path), options=options)
    image = toy_images(2, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(cyclegan["A2B"].generator(image), alive(CourseGenerator(), 1)(image))
    assert type(cyclegan["A2B"].discriminator) is PooledDiscriminator
    save_cyclegan(cyclegan, tmp_path / "own")
    again = load_cyclegan(tmp_path / "own", options=options)["A2B"].generator
    with torch.no_grad():
        assert torch.equal(again(image), cyclegan["A2B"].generator(image))
    with pytest.raises(
        UserError, match=r"A2B\.generator: got a network that thirdparty:course_generator:width=4 makes"
    ):
        load_cyclegan(tmp_path / "own")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("thirdparty:course_generater", r"expected a function of thirdparty\. Did you mean 'course_generator'"),
        ("no_such_module:make", r"generator: got no_such_module:make; .*Importing 'no_such_module' failed"),
        ("thirdparty:number", r"factory: got thirdparty:number, which returns int; expected a torch\.nn\.Module"),
        ("thirdparty:broken", r"factory: got thirdparty:broken \(ValueError: no such width\)"),
        ("thirdparty:course_generator:depth=2", r"parameter of thirdparty:course_generator: got depth"),
        (
            "thirdparty:course_generator:width=5",
            r"tensor entry\.conv\.weight of shape .*or say what it is by --generator",
        ),
        (
            "resnett",
            r"generator: got resnett; expected resnet, unet, or package\.module:factory\. Did you mean 'resnet'",
        ),
        ("", r"generator: got ''; expected one specification"),
        ("resnet/unet/resnet", r"generator: got resnet/unet/resnet; expected one specification, or A2B's and B2A's"),
        (None, r"netG_A2B\.pth \(first tensor entry\.conv\.weight\); .*Say how it is built: --generator"),
    ],
)
def test_a_factory_that_does_not_fit_is_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        load_cyclegan(course_files(tmp_path), options=CheckpointOptions(generator=text))


def test_discriminators_of_pairs_are_left_out(tmp_path):
    torch.save(alive(Pix2PixUnet()).state_dict(), tmp_path / "latest_net_G.pth")
    discriminator = build(DiscriminatorConfig(ndf=4, layers=1, norm="batch", in_channels=6))
    torch.save(discriminator.state_dict(), tmp_path / "latest_net_D.pth")
    cyclegan = load_cyclegan(tmp_path)
    assert cyclegan["A2B"].discriminator is None
    assert "A2B discriminator is left out: it scores pairs of images" in cyclegan.notes[-1]


def test_sizes_and_channels_that_do_not_fit_are_refused(tmp_path):
    unet = CycleGAN(Side("A2B", alive(Pix2PixUnet())))
    check_size(unet, (32, 32))
    with pytest.raises(UserError, match=r"size: got 20x20, which the A2B generator can't take"):
        check_size(unet, (20, 20))
    colours = CycleGAN(Side("A2B", toy_generator(out_channels=1)), Side("B2A", toy_generator()))
    with pytest.raises(UserError, match=r"size: got 16x16, which the B2A generator can't take"):
        check_size(colours, (16, 16))
    one_way = CycleGAN(
        Side("A2B", toy_generator(out_channels=1)), Side("B2A", toy_generator(in_channels=1, out_channels=1))
    )
    with pytest.raises(UserError, match=r"a B2A that returns other images than the 3-channel ones A2B takes"):
        check_size(one_way, (16, 16))
    check_size(
        CycleGAN(Side("A2B", toy_generator(out_channels=1)), Side("B2A", toy_generator(in_channels=1))), (16, 16)
    )


def test_options_of_a_file_import_nothing(tmp_path):
    saved = {"generator": "thirdparty:course_generator"}
    with pytest.raises(UserError, match=r"generator: got thirdparty:course_generator from the run's file; .*Add --gen"):
        CheckpointOptions.from_json(saved, {})
    with pytest.raises(UserError, match=r"--generator: got thirdparty:number; expected thirdparty:course_generator"):
        CheckpointOptions.from_json(saved, {"generator": "thirdparty:number"})
    assert CheckpointOptions.from_json(saved, saved).generator == "thirdparty:course_generator"
    known = CheckpointOptions(generator="resnet:padding=zero", epoch="7", only="A2B")
    assert CheckpointOptions.from_json(known.to_json(), {"generator": None}) == known
    for damaged, message in (
        ([], "names and texts"),
        ({"epoch": 7}, "names and texts"),
        ({"genrator": "unet"}, "Did you"),
    ):
        with pytest.raises(UserError, match=message):
            CheckpointOptions.from_json(damaged, {})
