"""Objectives of a fine-tune: their names, and weights of one's own."""

import pytest

from ganprune.errors import UserError
from ganprune.settings.evolve import make_settings
from ganprune.settings.training import OBJECTIVES, FinetuneSettings, read_objective


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_name_alone_is_its_own_weights(name):
    assert read_objective(name) == OBJECTIVES[name]


def test_weights_that_are_given_take_the_place_of_its_own():
    wanted = {**OBJECTIVES["distil"], "ssim": 1.5, "disa": 0, "lam": 5}
    assert read_objective("distil: ssim=1.5, disa=0, lam=5") == wanted
    settings = make_settings("quick", finetune="distil:ssim=1.5,lam=5", finetune_average=0.9)
    training = settings.finetune.training(lam=3.0, precision="float32", seed=1)
    assert (training.ssim, training.lam, training.distil, training.average) == (1.5, 5, 10, 0.9)
    assert FinetuneSettings("cyclegan").training(lam=3.0, precision="float32", seed=1).lam == 3


def test_an_objective_that_asks_discriminators_says_so():
    nothing = "distil:adversarial=0,disa=0"
    for objective, asks in (
        ("distil", True),
        (nothing, False),
        (f"{nothing},style=1", True),
        (f"{nothing},ssim=1", False),
    ):
        assert make_settings("quick", finetune=objective, loss="gena").needs_discriminators == asks, objective


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gan", "finetune: got gan; expected distil, features or cyclegan"),
        ("distil:steps=3", "parameter of distil: got steps; expected one that it takes"),
        ("distil:learning_rate=3", "parameter of distil: got learning_rate"),
        ("distil:ssim=nan", "distil:ssim: got nan"),
    ],
)
def test_other_objectives_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        FinetuneSettings(objective=text)
