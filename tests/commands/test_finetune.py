"""The last fine-tune with weights of one's own: from the command to the terms, and averaged weights as its result."""

import pytest
import torch
from networks import toy_cyclegan
from toytask import contents

from ganprune.commands.finetune import finetune_run
from ganprune.errors import UserError
from ganprune.settings.training import TrainingSettings
from ganprune.training import CycleGANTrainer
from ganprune.training.finetune import finetune

SETTINGS = TrainingSettings(steps=3, batch=2, lam=1.0, identity=0.0, distil=1.0, augment=1.0, average=0.5, seed=3)


def pair():
    return {name: side.generator for name, side in toy_cyclegan(seed=9).items()}


def test_a_fine_tune_with_an_average_gives_it_and_again_when_it_is_found_finished(images, tmp_path):
    original = toy_cyclegan()
    trainer = CycleGANTrainer(original.with_generators(pair()), images.whole_training(), SETTINGS, teacher=original)
    list(trainer.train())
    tuned, again = pair(), pair()
    finetune(original, images, tuned, SETTINGS, keep=tmp_path)
    finetune(original, images, again, SETTINGS, keep=tmp_path)
    for name, side in trainer.result().items():
        for key, value in side.generator.state_dict().items():
            assert torch.equal(tuned[name].state_dict()[key], value) and torch.equal(
                again[name].state_dict()[key], value
            )
        assert not torch.equal(next(tuned[name].parameters()), next(trainer.cyclegan[name].generator.parameters()))


def test_an_average_that_diverges_gives_the_last_good_one(images, monkeypatch):
    tuned, train_step = pair(), CycleGANTrainer.train_step

    def diverge(self):
        losses = train_step(self)
        return losses | {"distil_A2B": float("nan")} if self.step == 2 else losses

    monkeypatch.setattr(CycleGANTrainer, "train_step", diverge)
    assert finetune(toy_cyclegan(), images, tuned, SETTINGS) == {"diverged_at": 2, "weights_of": 0}
    for name, network in pair().items():
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), tuned[name].parameters(), strict=True))


def test_the_command_takes_weights_of_terms_and_finds_out_which_filters_were_kept(run, tmp_path):
    new = finetune_run(
        run.directory, tmp_path / "new", objective="distil:attention=1,ssim=2,disa=0", steps=1, batch=1, average=0.5
    )
    saved = new.read_json("config.json")["settings"]["finetune"]
    assert saved["objective"] == "distil:attention=1,ssim=2,disa=0" and saved["average"] == 0.5
    assert (new.directory / "A2B.safetensors").read_bytes() != run.path("A2B.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("distil:sism=1", "parameter of distil: got sism; .*Did you mean 'ssim'"),
        ("distil:ssim=-1", "distil:ssim: got -1; expected "),
        ("distil:ssim", "finetune distil: got ssim; expected KEY=VALUE"),
        (
            "disstil:ssim=1",
            "finetune: got disstil:ssim=1; expected distil, features or cyclegan. Did you mean 'distil'",
        ),
    ],
)
def test_what_an_objective_cannot_be_is_refused_before_anything_is_written(run, tmp_path, objective, message):
    with pytest.raises(UserError, match=message):
        finetune_run(run.directory, tmp_path / "new", objective=objective)
    assert contents(tmp_path) == {}
