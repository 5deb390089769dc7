"""The ``pretrain`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganprune.cli.group import main
from ganprune.cli.options import (
    FOLDER,
    machine_options,
    size_options,
    take_framing,
)
from ganprune.cli.progress import showing
from ganprune.errors import UserError


@main.command()
@click.argument("data", type=FOLDER)
@click.option("--out", type=FOLDER, help="Run directory.  [default: next free runs/pretrain-NNN]")
@click.option("--resume", type=FOLDER, help="Go on with an interrupted run directory (same options).")
@size_options
@click.option("--steps", type=int, default=20000, show_default=True, help="Steps at the constant learning rate.")
@click.option("--decay-steps", type=int, default=20000, show_default=True, help="Further steps, rate falling to 0.")
@click.option("--batch", type=int, default=1, show_default=True, help="Images of each domain per step.")
@click.option("--learning-rate", type=float, default=2e-4, show_default=True, help="Adam's rate.")
@click.option("--lam", type=float, default=10.0, show_default=True, help="Weight of the cycle term.")
@click.option("--identity", type=float, default=0.5, show_default=True, help="Weight of identity, times --lam.")
@click.option("--pool", type=int, default=50, show_default=True, help="Size of the image pool.")
@click.option("--augment", type=float, default=286 / 256, show_default="286/256", help="Enlarge-and-crop factor.")
@click.option("--precision", default="float32", show_default=True, help="float32, or bfloat16 for mixed precision.")
@click.option("--ngf", type=int, default=64, show_default=True, help="Filters of the generators' first convolution.")
@click.option("--blocks", type=int, default=9, show_default=True, help="Residual blocks.")
@click.option("--norm", default="instance", show_default=True, help="instance or batch.")
@click.option("--ndf", type=int, default=64, show_default=True, help="Filters of the discriminators' first layer.")
@click.option("--save-every", type=int, default=500, show_default=True, help="Steps between checkpoints and samples.")
@click.option("--seed", type=int, default=0, show_default=True)
@machine_options
def pretrain(data: Path, out: Path | None, resume: Path | None, **options: Any) -> None:
    """Train a CycleGAN from scratch on DATA (folders trainA, trainB, testA, testB)."""
    from ganprune.commands.pretrain import pretrain as train
    from ganprune.data.images import UnpairedImages
    from ganprune.device import resolve_device, set_threads
    from ganprune.models.discriminator import DiscriminatorConfig
    from ganprune.models.generator import GeneratorConfig
    from ganprune.runs.directory import RunDirectory
    from ganprune.settings.training import TrainingSettings

    framing = take_framing(options)
    taken = [name for name in TrainingSettings.__dataclass_fields__ if name in options]
    if resume and out:
        raise UserError("--out", "given with --resume", "one of the two", "A resumed run stays in its directory.")
    settings = TrainingSettings(**{name: options[name] for name in taken})
    generator = GeneratorConfig(ngf=options["ngf"], blocks=options["blocks"], norm=options["norm"])
    discriminator = DiscriminatorConfig(ndf=options["ndf"], norm=options["norm"])
    device = resolve_device(options["device"])
    set_threads(options["threads"])
    images = UnpairedImages(data, framing)
    where = resume or out or RunDirectory.next_free("runs", "pretrain")
    with showing(f"the same command with --resume {where}", where) as reporter:
        reporter.stage(images.size_note or "training from scratch")
        train(
            images, where, settings, generator=generator, discriminator=discriminator, device=str(device),
            resume=resume is not None, save_every=options["save_every"], report=reporter.training,
        )  # fmt: skip
    click.echo(f"Checkpoint and samples: {where}")
