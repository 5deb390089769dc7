"""What names of files, keys and prefixes say, and which discriminator belongs to whom."""

import pytest

from ganprune.models.names import FAMILIES, judged_side, read_name


@pytest.mark.parametrize("family", FAMILIES, ids=[family.examples[0] for family in FAMILIES])
def test_the_examples_of_a_habit_are_read_as_it_means_them(family):
    names = [read_name(example) for example in family.examples]
    assert [name.part for name in names] == ["generator", "discriminator"] * 2
    assert [names[0].side, names[2].side] == ["A2B", "B2A"]
    assert names[0].family is names[2].family is family
    assert [judged_side(names[place], family) for place in (1, 3)] == ["A2B", "B2A"]
    assert (names[0].other, names[2].other) == (names[2].text, names[0].text)


@pytest.mark.parametrize(
    ("text", "part", "side", "epoch"),
    [
        ("latest_net_G_A", "generator", "A2B", "latest"), ("100_net_G_B", "generator", "B2A", "100"),
        ("netG_A2B_epoch_100", "generator", "A2B", "100"), ("G_A_epoch_7", "generator", "A2B", "7"),
        ("G_BA_100", "generator", "B2A", "100"), ("genB2A", "generator", "B2A", None),
        ("netG_a2b", "generator", "A2B", None), ("G_XtoY", "generator", "A2B", None),
        ("G_B_to_A", "generator", "B2A", None), ("generator_AB_state_dict", "generator", "A2B", None),
        ("horse2zebra_A2B", "generator", "A2B", None), ("A2B_generator", "generator", "A2B", None),
        ("gen_A2B_men_epoch_3", "generator", "A2B", "3"), ("200000-G", "generator", None, "200000"),
        ("generator_10", "generator", None, "10"), ("latest_net_D", "discriminator", None, "latest"),
        ("discriminator_ab", "discriminator", "A2B", None), ("best_net_D_A", "discriminator", None, "best"),
        ("epoch=10-step=100", None, None, "10"), ("latest_net_F", None, None, "latest"), ("vgg19", None, None, None),
    ],
)  # fmt: skip
def test_a_name_is_split_into_part_side_and_epoch(text, part, side, epoch):
    name = read_name(text)
    assert (name.part, name.side, name.epoch) == (part, side, epoch)


@pytest.mark.parametrize("text", ["optimizer_G", "G_optimizer", "optimG", "disc_A_opt", "lr_scheduler_D_A", "g_scaler"])
def test_optimisers_and_schedules_are_no_networks(text):
    assert read_name(text) is None


def test_averages_are_known_by_their_names():
    averaged = ["params_ema", "G_A2B_ema", "ema_G", "netG_A_ema", "averaged_model"]
    assert all(read_name(text).averaged for text in averaged)
    assert not any(read_name(text).averaged for text in ("params", "G_A2B", "gemma_G"))
    assert read_name("netG_A_ema").side == "A2B" and read_name("netG_A_ema").words == ()
