"""docs/checkpoints.md says what the code does: its specifications, files and printed lines are those of the code."""

import re

import pytest
import torch
from networks import toy_generator
from pages import read

from ganprune.models.architecture import KINDS
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.layouts import SUFFIXES
from ganprune.models.names import FAMILIES
from ganprune.models.options import NONE, CheckpointOptions, is_reference

TEXT = read("docs/checkpoints.md")
SAID = re.findall(r"`--(generator|discriminator) ([^`]+)`", TEXT)


@pytest.mark.parametrize(("part", "text"), SAID)
def test_every_specification_is_one(part, text):
    options = CheckpointOptions(**{part: text})
    for side in ("A2B", "B2A"):
        said = options.specification(part, side)
        kind, _, values = said.partition(":")
        if options.leaves_out(part, side):
            assert kind == NONE and not values
            continue
        fields = KINDS[kind][0].__dataclass_fields__
        assert not is_reference(part, said)
        assert all(pair.partition("=")[0] in fields for pair in values.split(",") if pair)


@pytest.mark.parametrize("family", FAMILIES, ids=[family.examples[0] for family in FAMILIES])
def test_every_habit_of_naming_is_a_row_with_its_discriminators_where_they_belong(family):
    a2b, its, b2a, its_own = family.examples
    assert f"| `{a2b}`, `{its}` | `{b2a}`, `{its_own}` |" in TEXT


def test_every_ending_is_named():
    assert all(f"`{suffix}`" in TEXT for suffix in SUFFIXES)


def test_the_printed_line_is_what_is_printed(tmp_path):
    torch.save(toy_generator().state_dict(), tmp_path / "latest_net_G_A.pth")
    (line,) = [line for line in load_cyclegan(tmp_path).notes if line.startswith("A2B generator")]
    (shown,) = [line for line in TEXT.splitlines() if line.startswith("A2B generator: resnet:")]
    names = [re.findall(r"(\w+)=", text) for text in (line, shown)]
    assert names[0][: len(names[1])] == names[1]
    assert line.endswith("parameters, latest_net_G_A.pth)") and shown.endswith("parameters, latest_net_G_A.pth)")
