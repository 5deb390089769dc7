"""The ``pretrain`` command."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from ganprune.cli.group import Folded, main
from ganprune.cli.options import (
    FOLDER,
    machine_options,
    option,
    setting_options,
    size_options,
    take_framing,
    values_options,
)
from ganprune.cli.progress import showing
from ganprune.errors import UserError
from ganprune.settings.fields import settings_in
from ganprune.settings.training import TrainingSettings

training_options = setting_options(TrainingSettings, "Training", defaults={"decay_steps": 20000, "batch": 1})
network_option = partial(option, heading="Networks", show_default=True, common=False)


@main.command(cls=Folded)
@click.argument("data", type=FOLDER)
@size_options
@values_options
@training_options
@network_option("--ngf", type=int, default=64, help="Filters of the generators' first convolution.")
@network_option("--blocks", type=int, default=9, help="Residual blocks.")
@network_option("--norm", default="instance", help="instance, batch or none.")
@network_option("--ndf", type=int, default=64, help="Filters of the discriminators' first layer.")
@machine_options
@option("--out", type=FOLDER, help="Run directory.  [default: next free runs/pretrain-NNN]")
@option("--resume", type=FOLDER, help="Go on with an interrupted run directory (same options).")
@option("--save-every", type=int, default=500, show_default=True, help="Steps between checkpoints and samples.")
def pretrain(data: Path, out: Path | None, resume: Path | None, **options: Any) -> None:
    """Train a CycleGAN from scratch on DATA (folders trainA, trainB, testA, testB)."""
    from ganprune.commands.pretrain import pretrain as train
    from ganprune.data.images import UnpairedImages
    from ganprune.data.sizes import Framing
    from ganprune.device import resolve_device, set_threads
    from ganprune.models.discriminator import DiscriminatorConfig
    from ganprune.models.generator import GeneratorConfig
    from ganprune.pipeline.job import taken_for_lines
    from ganprune.pipeline.task import pretrain_framing
    from ganprune.runs.directory import RunDirectory

    framing = take_framing(options)
    if resume and out:
        raise UserError("--out", "given with --resume", "one of the two", "A resumed run stays in its directory.")
    taken = [setting.name for setting in settings_in(TrainingSettings) if setting.name in options]
    settings = TrainingSettings(**{name: options[name] for name in taken})
    generator = GeneratorConfig(ngf=options["ngf"], blocks=options["blocks"], norm=options["norm"])
    discriminator = DiscriminatorConfig(ndf=options["ndf"], norm=options["norm"])
    device = resolve_device(options["device"])
    set_threads(options["threads"])
    images = UnpairedImages(data, Framing.of(framing).over(pretrain_framing(resume) if resume else None))
    where = resume or out or RunDirectory.next_free("runs", "pretrain")
    with showing(f"the same command with --resume {where}", where) as reporter:
        for note in (*images.notes, *taken_for_lines(images.folders.taken_for(images.given))):
            reporter.note(note)
        reporter.stage(images.size_note or "training from scratch")
        train(
            images, where, settings, generator=generator, discriminator=discriminator, device=str(device),
            resume=resume is not None, save_every=options["save_every"], report=reporter.training,
        )  # fmt: skip
    click.echo(f"Checkpoint and samples: {where}")
