"""Files as people have them: state dicts inside other dicts, several networks in one file, names of other projects."""

import argparse
import itertools

import numpy as np
import pytest
import torch
from networks import enliven, toy_generator
from safetensors.torch import save_file
from thirdparty import CourseGenerator, alive
from torch import nn

from ganprune.errors import UserError
from ganprune.models.architecture import build
from ganprune.models.checkpoint import load_cyclegan, save_cyclegan
from ganprune.models.cyclegan import CycleGAN, Side
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.names import FAMILIES
from ganprune.models.options import CheckpointOptions


def generator(mark):
    """A generator's tensors, the first bias of which is ``mark``."""
    state = toy_generator(seed=1).state_dict()
    state["model.1.bias"].fill_(mark)
    return state


def discriminator(mark):
    state = enliven(build(DiscriminatorConfig(ndf=4, layers=1)), 1).state_dict()
    state["model.0.bias"].fill_(mark)
    return state


def marks(cyclegan):
    """The marks of all networks by "A2B.generator" and so on."""
    return {name: float(network.model[1 if "gen" in name else 0].bias[0]) for name, network in
            cyclegan.networks().items()}  # fmt: skip


def saved(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(data, path) if path.suffix == ".safetensors" else torch.save(data, path)
    return path


def prefixed(**states):
    return {f"{prefix}.{key}": value for prefix, state in states.items() for key, value in state.items()}


def adam():
    """The state of an optimiser that has made a step."""
    layer = nn.Conv2d(3, 4, 3)
    optimiser = torch.optim.Adam(layer.parameters())
    layer(torch.zeros(1, 3, 4, 4)).sum().backward()
    optimiser.step()
    return optimiser.state_dict()


BESIDE = {"epoch": 3, "optimizer": adam(), "loss": {"G": torch.tensor(0.5)}, "pool": [torch.zeros(1, 3, 4, 4)]}
ALL = {"A2B.generator": 1, "A2B.discriminator": 2, "B2A.generator": 3, "B2A.discriminator": 4}
WRAPPED = {
    "state_dict": lambda: {"state_dict": generator(1), **BESIDE},
    "model": lambda: {"model": generator(1), "iter": 5},
    "another word": lambda: {"weights_of_my_network": generator(1), **BESIDE},
    "twice": lambda: {"checkpoint": {"net": generator(1), **BESIDE}, "epoch": 3},
    "epoch beside the tensors": lambda: {**generator(1), "epoch": 3},
    "beside others": lambda: {"net": generator(1), "vgg": generator(2)},
    "with its discriminator left out": lambda: {"model": generator(1), "lr_scheduler": {"last": 1.0}},
    "averaging's own": lambda: {"n_averaged": torch.tensor(9), **prefixed(module=generator(1))},
    "a module's attribute": lambda: {"state_dict": prefixed(net=generator(1))},
    "a module's generator": lambda: {"state_dict": prefixed(generator=generator(1))},
    "a module's module": lambda: {"state_dict": prefixed(**{"_orig_mod.net.module": generator(1)})},
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_a_state_dict_inside_other_things_is_found(tmp_path, wrap):
    assert marks(load_cyclegan(saved(tmp_path / "some.pth", wrap()))) == {"A2B.generator": 1}
    assert marks(load_cyclegan(saved(tmp_path / "folder" / "latest_net_G_B.pth", wrap()).parent)) == {
        "B2A.generator": 1
    }


def test_averaged_weights_come_first_and_that_is_said(tmp_path):
    for name, data in {
        "keys": {"params": generator(2), "params_ema": generator(1)},
        "networks": {"G_A2B": generator(2), "G_A2B_ema": generator(1)},
        "prefixes": {"state_dict": prefixed(G=generator(2), G_ema=generator(1))},
        "a copy of the whole": {"state_dict": prefixed(**{"netG_A": generator(2), "ema.netG_A": generator(1)})},
    }.items():
        cyclegan = load_cyclegan(saved(tmp_path / f"{name}.pth", data))
        assert marks(cyclegan) == {"A2B.generator": 1}
        assert any(text.startswith("weights: averaged") and "ema" in text for text in cyclegan.taken_for)


SETS = {
    "keys": lambda names, states: dict(zip(names, states, strict=True)) | BESIDE,
    "keys and words": lambda names, states: {
        f"{name}_state_dict": state for name, state in zip(names, states, strict=True)
    },
    "state dicts of each": lambda names, states: {
        name: {"state_dict": state, **BESIDE} for name, state in zip(names, states, strict=True)
    },
    "prefixes": lambda names, states: {
        "state_dict": prefixed(**dict(zip(names, states, strict=True)), vgg=generator(5)), **BESIDE
    },
    "prefixes inside a module": lambda names, states: prefixed(
        **{f"model.{name}.module": state for name, state in zip(names, states, strict=True)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", SETS.values(), ids=SETS)
@pytest.mark.parametrize("family", FAMILIES, ids=[family.examples[0] for family in FAMILIES])
def test_one_file_of_all_gives_each_side_the_discriminator_of_its_output(tmp_path, family, make):
    states = [generator(1), discriminator(2), generator(3), discriminator(4)]
    cyclegan = load_cyclegan(saved(tmp_path / "latest.ckpt", make(family.examples, states)))
    assert marks(cyclegan) == ALL
    judges = [text for text in cyclegan.taken_for if " discriminator: " in text]
    assert len(judges) == (0 if family.certain else 2)
    assert all(family.examples[place] in "".join(judges) for place in (1, 3) if judges)
    assert family.guessed == any(text.startswith("directions: ") for text in cyclegan.taken_for)


@pytest.mark.parametrize("order", ["{side}.{part}", "model.{part}s.{side}", "nets.{part}_{side}"])
@pytest.mark.parametrize("nested", [True, False])
def test_parts_and_sides_may_be_said_one_after_the_other(tmp_path, order, nested):
    networks = {"A2B.generator": generator(1), "A2B.discriminator": discriminator(2)}
    networks |= {"B2A.generator": generator(3), "B2A.discriminator": discriminator(4)}
    data = {}
    for name, state in networks.items():
        side, part = name.split(".")
        keys = order.format(side=side, part=part).split(".")
        place = data
        for key in keys[:-1] if nested else ():
            place = place.setdefault(key, {})
        place |= {keys[-1]: state} if nested else prefixed(**{".".join(keys): state})
    assert marks(load_cyclegan(saved(tmp_path / "a.pt", data))) == ALL


@pytest.mark.parametrize("suffix", [".pth", ".pth.tar", ".safetensors"])
@pytest.mark.parametrize("name", ["{}", "{}_epoch_7", "7_{}", "horse2zebra_{}_men_7"])
@pytest.mark.parametrize("family", [FAMILIES[0], FAMILIES[3], FAMILIES[6]], ids=lambda family: family.examples[0])
def test_files_are_called_by_part_side_and_epoch_in_any_order(tmp_path, family, name, suffix):
    states = [generator(1), discriminator(2), generator(3), discriminator(4)]
    for example, state in zip(family.examples, states, strict=True):
        saved(tmp_path / f"{name.format(example)}{suffix}", state)
    assert marks(load_cyclegan(tmp_path)) == ALL
    if "7" in name:
        assert marks(load_cyclegan(tmp_path, options=CheckpointOptions(epoch="7"))) == ALL
        with pytest.raises(UserError, match=r"without epoch 8; expected one of its epochs: 7\. Give --epoch 7"):
            load_cyclegan(tmp_path, options=CheckpointOptions(epoch="8"))


def test_of_several_epochs_the_latest_or_the_one_without_is_read(tmp_path):
    for mark, name in enumerate(("G_AB_5", "G_AB_0010", "G_AB")):
        saved(tmp_path / f"{name}.pth", generator(mark))
    assert marks(load_cyclegan(tmp_path)) == {"A2B.generator": 2}
    assert marks(load_cyclegan(tmp_path, options=CheckpointOptions(epoch="10"))) == {"A2B.generator": 1}
    (tmp_path / "G_AB.pth").unlink()
    with pytest.raises(UserError, match=r"without epoch latest; expected one of its epochs: 5, 0010\. Give --epoch"):
        load_cyclegan(tmp_path)


def test_a_folder_with_one_file_of_all_is_that_file(tmp_path):
    both = {"genA2B": generator(1), "genB2A": generator(3)}
    saved(tmp_path / "model_epoch3.pth", both)
    assert set(marks(load_cyclegan(tmp_path))) == {"A2B.generator", "B2A.generator"}
    saved(tmp_path / "model_epoch20.pth", {name: generator(9) for name in both})
    loaded = load_cyclegan(tmp_path, options=CheckpointOptions(epoch="20"))
    assert marks(loaded) == {"A2B.generator": 9, "B2A.generator": 9}
    with pytest.raises(UserError, match=r"expected one of its epochs: 3, 20"):
        load_cyclegan(tmp_path)


def test_the_usual_names_come_before_copies_of_them(tmp_path):
    for mark, name in enumerate(("latest_net_G", "latest_net_G_A", "netG_A2B", "old_netG_A2B", "latest_net_G_B")):
        saved(tmp_path / f"{name}.pth", generator(mark))
    cyclegan = load_cyclegan(tmp_path)
    assert marks(cyclegan) == {"A2B.generator": 1, "B2A.generator": 4}
    assert "latest_net_G.pth is left out: its side is not said" in cyclegan.notes


def test_what_is_beside_the_networks_is_said(tmp_path):
    networks = {"G": generator(1), "D_Y": discriminator(2), "D_X": discriminator(3), "F": generator(4)}
    cyclegan = load_cyclegan(saved(tmp_path / "a.pth", networks))
    assert marks(cyclegan) == {"A2B.generator": 1, "A2B.discriminator": 2}
    assert "F is left out: no generator or discriminator by its name" in cyclegan.notes
    assert "D_X is left out: its generator is not there" in cyclegan.notes
    turned = load_cyclegan(tmp_path / "a.pth", options=CheckpointOptions(side="B2A"))
    assert marks(turned) == {"B2A.generator": 1, "B2A.discriminator": 3}
    for name in ("latest_net_G", "latest_net_F"):
        saved(tmp_path / "folder" / f"{name}.pth", generator(1))
    notes = load_cyclegan(tmp_path / "folder").notes
    assert "latest_net_F.pth is left out: no generator or discriminator by its name" in notes


def test_two_files_of_one_network_are_named(tmp_path):
    for name in ("apple_netG_A2B", "horse_netG_A2B"):
        saved(tmp_path / f"{name}.pth", generator(1))
    with pytest.raises(UserError, match=r"apple_netG_A2B\.pth, horse_netG_A2B\.pth; expected one generator of a side"):
        load_cyclegan(tmp_path)


def test_of_two_discriminators_of_one_side_the_first_is_taken(tmp_path):
    networks = {"genA2B": generator(1), "disGB": discriminator(2), "disLB": discriminator(3)}
    cyclegan = load_cyclegan(saved(tmp_path / "a.pt", networks))
    assert marks(cyclegan) == {"A2B.generator": 1, "A2B.discriminator": 2}
    assert "disLB is left out: disGB is taken for the discriminator" in cyclegan.notes


@pytest.mark.parametrize(
    ("name", "side", "said"),
    [
        ("G", "A2B", False), ("some", "A2B", False), ("generator_10", "A2B", False),
        ("netG_B2A_100", "B2A", True), ("G_BA", "B2A", True), ("horse_BtoA", "B2A", True),
    ],
)  # fmt: skip
def test_a_lone_file_is_the_side_of_its_name_or_what_the_option_says(tmp_path, name, side, said):
    path = saved(tmp_path / f"{name}.pth", generator(1))
    for where in (path, tmp_path):
        cyclegan = load_cyclegan(where)
        assert list(cyclegan) == [side]
        line = "side: A2B, as no name says it (--side B2A)"
        assert (line in cyclegan.taken_for) != said
        asked = load_cyclegan(where, options=CheckpointOptions(side="B2A"))
        assert list(asked) == ["B2A"] and not any(line.startswith("side") for line in asked.taken_for)


def test_one_direction_and_its_discriminator_are_turned_together(tmp_path, cyclegan):
    options = CheckpointOptions(side="B2A")
    file = saved(tmp_path / "a.pth", {"generator": generator(1), "discriminator": discriminator(2)})
    assert marks(load_cyclegan(file, options=options)) == {"B2A.generator": 1, "B2A.discriminator": 2}
    save_cyclegan(CycleGAN(Side("A2B", cyclegan["A2B"].generator)), tmp_path / "own")
    assert list(load_cyclegan(tmp_path / "own", options=options)) == ["B2A"]
    save_cyclegan(cyclegan, tmp_path / "pair")
    both = saved(tmp_path / "both.pth", {"G_AB": generator(1), "G_BA": generator(2)})
    for path in (both, tmp_path / "pair"):
        with pytest.raises(UserError, match=r"side: got B2A with .*, which has both directions; .*--only B2A"):
            load_cyclegan(path, options=options)


def test_discriminators_that_are_not_wanted_are_not_read(tmp_path):
    for place, state in zip(FAMILIES[2].examples, map(generator, range(4)), strict=True):
        saved(tmp_path / f"{place}.pth", state)
    for name in ("netD_A", "netD_B"):
        (tmp_path / f"{name}.pth").write_bytes(b"damaged")
    for text in ("none", "none/none"):
        cyclegan = load_cyclegan(tmp_path, options=CheckpointOptions(discriminator=text))
        assert list(cyclegan.networks()) == ["A2B.generator", "B2A.generator"]
    unsure = saved(tmp_path / "unsure.ckpt", {"G_AB": generator(1), "D_B": discriminator(2)})
    lines = load_cyclegan(unsure, options=CheckpointOptions(discriminator="none")).taken_for
    assert not any("discriminator" in line for line in lines)
    saved(tmp_path / "netD_A.pth", discriminator(7))
    cyclegan = load_cyclegan(tmp_path, options=CheckpointOptions(discriminator="none/patch"))
    assert "A2B discriminator is left out: L_GenA instead of L_DisA" in cyclegan.notes
    assert marks(cyclegan)["B2A.discriminator"] == 7 and cyclegan["A2B"].discriminator is None
    with pytest.raises(UserError, match=r"netD_B\.pth \("):
        load_cyclegan(tmp_path)
    for text in ("none:ndf=4", "nothing"):
        with pytest.raises(UserError, match=r"discriminator: got .*; expected patch, none, or package\.module:factory"):
            CheckpointOptions(discriminator=text)


def test_an_unknown_discriminator_says_that_it_can_be_left_out(tmp_path):
    path = saved(
        tmp_path / "a.pth", {"G_AB": generator(1), "D_B": discriminator(2) | {"model.9.weight": torch.ones(1)}}
    )
    with pytest.raises(UserError, match=r"say what it is by --discriminator\. Or leave it out: --discriminator"):
        load_cyclegan(path)
    saved(tmp_path / "folder" / "G_AB.pth", generator(1))
    (tmp_path / "folder" / "D_B.pth").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"D_B\.pth \(.* Or leave it out: --discriminator none\.$"):
        load_cyclegan(tmp_path / "folder")


def test_a_factory_takes_tensors_whose_prefixes_look_like_networks(tmp_path):
    state = prefixed(generator=alive(CourseGenerator(), 1).state_dict())
    options = CheckpointOptions(generator="thirdparty:course_generator:width=4")
    bare = load_cyclegan(saved(tmp_path / "bare.pth", state), options=options)
    assert type(bare["A2B"].generator) is CourseGenerator
    whole = CheckpointOptions(generator="thirdparty:Holder")
    assert list(load_cyclegan(tmp_path / "bare.pth", options=whole)["A2B"].generator.state_dict()) == list(state)


@pytest.mark.parametrize(
    ("thing", "kind"),
    [
        (argparse.Namespace(lr=1), r"it holds argparse\.Namespace\)"),
        (np.float64(0.5), r"it holds numpy\.[\w.]+\)"),
    ],
)
def test_what_is_in_the_way_is_named_with_how_to_save_a_clean_file(tmp_path, monkeypatch, thing, kind):
    path = saved(tmp_path / "a.pth", {"state_dict": generator(1), "more": thing, "hyper_parameters": {"args": thing}})
    with pytest.raises(UserError, match=kind) as caught:
        load_cyclegan(path)
    monkeypatch.chdir(tmp_path)
    exec(caught.value.remedy.partition(": ")[2])  # the remedy does what it says
    assert marks(load_cyclegan("clean.pth")) == {"A2B.generator": 1}


def test_a_whole_network_is_not_read(tmp_path):
    with pytest.raises(UserError, match=r"holds torch\.nn\.[\w.]+Conv2d, which only code can make.*state_dict\(\)"):
        load_cyclegan(saved(tmp_path / "a.pth", {"G": nn.Conv2d(1, 1, 1)}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<!DOCTYPE html>", r"a web page"), (b"version https://git-lfs.github.com/spec/v1", r"git lfs pull"),
        (b"", r"a\.pth \(empty\)"), (b"no such thing", r"\(no PyTorch file, or damaged: .*expected a PyTorch state"),
    ],
)  # fmt: skip
def test_files_that_are_something_else_are_named(tmp_path, data, said):
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(UserError, match=said):
        load_cyclegan(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"encoder": generator(1), "decoder": generator(2)}, r"with encoder, decoder; expected one generator"),
        ({"G_AB": {"epoch": 3}, "losses": [1.0]}, r"\(dict of G_AB, losses\); expected tensors by name"),
        ({"D_A": discriminator(1), "D_B": discriminator(2)}, r"with D_A, D_B \(discriminators\); expected a generator"),
        ({f"part{n}": generator(n) for n in range(30)}, r"part7 and 22 more; expected one generator"),
        ([1, 2], r"\(list\); expected tensors by name"),
    ],
)
def test_what_a_file_holds_is_named_where_it_is_no_generator(tmp_path, data, said):
    with pytest.raises(UserError, match=said):
        load_cyclegan(saved(tmp_path / "a.pth", data))


def test_what_a_folder_holds_is_named_where_it_is_unknown(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"\(no known files\) with images/, notes\.txt; expected"):
        load_cyclegan(tmp_path)
    for name in ("first", "second"):
        saved(tmp_path / f"{name}.pth", generator(1))
    with pytest.raises(UserError, match=r"with first\.pth, second\.pth; expected names that say .*Give one file"):
        load_cyclegan(tmp_path)


def test_every_message_is_one_screen(tmp_path):
    long = {f"{'a' * 300}{n}": {f"{'b' * 300}.weight": torch.ones(2, 2)} for n in range(40)}
    with pytest.raises(UserError) as caught:
        load_cyclegan(saved(tmp_path / "a.pth", long))
    assert len(str(caught.value)) < 80 * 24 and "a.pth" in str(caught.value)


def test_every_place_can_be_missing_but_one_generator(tmp_path):
    networks = dict(zip(FAMILIES[3].examples, [generator(1), discriminator(2), generator(3), discriminator(4)],
                        strict=True))  # fmt: skip
    for count in (1, 2, 3):
        for kept in itertools.combinations(networks, count):
            path = saved(tmp_path / "a.pth", {name: networks[name] for name in kept})
            if not {"G_AB", "G_BA"} & {*kept}:
                continue
            found = set(marks(load_cyclegan(path)))
            sides = {side for name, side in (("G_AB", "A2B"), ("G_BA", "B2A")) if name in kept}
            judged = {s for name, s in (("D_B", "A2B"), ("D_A", "B2A")) if name in kept and s in sides}
            assert found == {f"{side}.generator" for side in sides} | {f"{side}.discriminator" for side in judged}
