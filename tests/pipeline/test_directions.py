"""Which way round a checkpoint is, as real images of both domains tell."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from networks import SIZE, toy_cyclegan
from PIL import Image
from torch import nn

from ganprune.cli import main
from ganprune.data.images import UnpairedImages
from ganprune.models.cyclegan import CycleGAN, Side
from ganprune.pipeline.directions import Evidence, Preference, gather_evidence, warnings_of
from ganprune.pipeline.task import Task


class Brightness(nn.Module):
    """A discriminator that finds bright images real, or dark ones."""

    def __init__(self, sign=1.0):
        super().__init__()
        self.last = nn.Conv2d(3, 1, 1, bias=False)
        self.last.weight.data.fill_(sign)

    def forward(self, x):
        return self.last(x)


class Shift(nn.Module):
    """A generator that makes images brighter, or darker, within what images can be."""

    def __init__(self, by):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)
        self.layer.weight.data.copy_(torch.eye(3)[:, :, None, None])
        self.layer.bias.data.fill_(by)

    def forward(self, x):
        return self.layer(x).clamp(-1, 1)


UP, DOWN = 1.3, -1.3  # from domain A, which is dark, to B, which is bright, and back


@pytest.fixture(scope="module")
def dark_and_bright(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for folder, level in (("trainA", 30), ("testA", 30), ("trainB", 220), ("testB", 220)):
        (root / folder).mkdir()
        for index in range(10):
            pixels = np.full((SIZE, SIZE, 3), level + index, dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{index}.png")
    return root


def evidence_of(data, generators, judges):
    sides = [
        Side(name, Shift(by), None if sign is None else Brightness(sign))
        for name, by, sign in zip(("A2B", "B2A"), generators, judges, strict=False)
    ]
    return gather_evidence(Task(CycleGAN(*sides), UnpairedImages(data, SIZE), None, None))


@pytest.mark.parametrize(
    "generators, judges, told",
    [
        ((UP, DOWN), (1, -1), None),
        ((DOWN, UP), (-1, 1), "trained with --direction BtoA: give --trained BtoA"),  # all of its files, that is
        ((UP, DOWN), (-1, 1), "the files of the two discriminators are probably swapped"),
        ((DOWN, UP), (1, -1), "the files of the two generators are probably swapped"),
        ((DOWN, UP), (None, None), "trained with --direction BtoA"),
        ((DOWN,), (-1,), "trained with --direction BtoA"),
        ((UP,), (1,), None),
        ((UP,), (None,), None),
        ((DOWN,), (None,), None),  # what one generator leaves as it is, is a hint only
        ((DOWN,), (1,), None),
        ((UP, DOWN), (-1, -1), "their files are not simply swapped"),
    ],
)
def test_what_is_the_wrong_way_round_is_told_apart(dark_and_bright, generators, judges, told):
    warned = warnings_of(evidence_of(dark_and_bright, generators, judges))
    assert (told in warned[-1]) if told else not warned


def test_both_causes_are_named_where_the_generators_do_not_tell():
    preference = Preference(own_domain=0.1, source_domain=0.9)
    warned = warnings_of(Evidence({"A2B": preference, "B2A": preference}, 0.5, 0.45))
    assert len(warned) == 3 and "swapped" in warned[-1] and "--direction BtoA" in warned[-1]
    assert "discriminator of A2B finds real images of domain A (0.900) more real than those of domain B" in warned[0]


def test_a_domain_without_images_or_of_other_channels_tells_nothing(dark_and_bright):
    task = Task(CycleGAN(Side("A2B", Shift(UP))), UnpairedImages(dark_and_bright, SIZE), None, None)
    for domain in "AB":
        del task.images.domains[domain]
        assert gather_evidence(task) == Evidence()
    grey = UnpairedImages(dark_and_bright, SIZE, channels={"A": 1, "B": 3})
    assert gather_evidence(Task(task.cyclegan, grey, None, None)) == Evidence()


@pytest.mark.slow
def test_inspect_and_evolve_warn_before_a_search(tmp_path, dark_and_bright):
    pair = toy_cyclegan()
    files = {"netG_A2B": pair["A2B"].generator, "netG_B2A": pair["B2A"].generator,
             "netD_B": Brightness(-1.0), "netD_A": Brightness(1.0)}  # fmt: skip
    (tmp_path / "checkpoint").mkdir()
    for name, network in files.items():
        torch.save(network.state_dict(), tmp_path / "checkpoint" / f"{name}.pth")
    options = ["--data", dark_and_bright, "--discriminator", "test_directions:Brightness", "--generations", 1,
               "--population", 2, "--size", SIZE, "--threads", 1]  # fmt: skip
    quick = ["--finetune-steps", 1, "--features", "none", "--out", tmp_path / "run"]
    for command in (["inspect", tmp_path / "checkpoint"], ["evolve", "--checkpoint", tmp_path / "checkpoint", *quick]):
        result = CliRunner().invoke(main, [str(part) for part in [*command, *options]])
        assert result.exit_code == 0, result.output
        warned = [line for line in result.output.splitlines() if "Warning: " in line]
        assert "discriminator of A2B finds real images of domain A" in warned[0]
