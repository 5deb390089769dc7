"""The ``ganprune`` command: parse, call, print. Heavy imports happen inside the commands, so that help is instant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ganprune import __version__
from ganprune.errors import UserError, did_you_mean

FOLDER = click.Path(path_type=Path)


class Commands(click.Group):
    """A command group that prints a :class:`UserError` as one message and exits with status 2."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise click.UsageError(f"unknown command {name!r}. {did_you_mean(name, self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="ganprune")
def main() -> None:
    """Co-evolutionary filter pruning of CycleGANs: both generators, several times smaller and faster."""


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --device and --threads."""
    command = click.option("--threads", type=int, help="CPU threads per evaluation.  [default: PyTorch's choice]")(command)
    return click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")(command)


@main.command()
@click.argument("data", type=FOLDER)
@click.option("--out", type=FOLDER, help="Run directory.  [default: next free runs/pretrain-NNN]")
@click.option("--resume", type=FOLDER, help="Go on with an interrupted run directory (same options).")
@click.option("--size", type=int, help="Side length of the images.  [default: the first image's, at most 256]")
@click.option("--steps", type=int, default=20000, show_default=True, help="Steps at the constant learning rate.")
@click.option("--decay-steps", type=int, default=20000, show_default=True, help="Further steps, rate falling to 0.")
@click.option("--batch", type=int, default=1, show_default=True, help="Images of each domain per step.")
@click.option("--learning-rate", type=float, default=2e-4, show_default=True, help="Adam's rate.")
@click.option("--lam", type=float, default=10.0, show_default=True, help="Weight of the cycle term.")
@click.option("--identity", type=float, default=0.5, show_default=True, help="Weight of the identity term, times --lam.")
@click.option("--pool", type=int, default=50, show_default=True, help="Size of the image pool.")
@click.option("--augment", type=float, default=286 / 256, show_default="286/256", help="Enlarge-and-crop factor.")
@click.option("--precision", default="float32", show_default=True, help="float32, or bfloat16 for mixed precision.")
@click.option("--ngf", type=int, default=64, show_default=True, help="Filters of the generators' first convolution.")
@click.option("--blocks", type=int, default=9, show_default=True, help="Residual blocks.")
@click.option("--norm", default="instance", show_default=True, help="instance or batch.")
@click.option("--ndf", type=int, default=64, show_default=True, help="Filters of the discriminators' first convolution.")
@click.option("--save-every", type=int, default=500, show_default=True, help="Steps between checkpoints and samples.")
@click.option("--seed", type=int, default=0, show_default=True)
@machine_options
def pretrain(data: Path, out: Path | None, resume: Path | None, **options: Any) -> None:
    """Train a CycleGAN from scratch on DATA (folders trainA, trainB, testA, testB)."""
    from ganprune.data import UnpairedImages
    from ganprune.device import resolve_device, set_threads
    from ganprune.display import TrainingDisplay
    from ganprune.models.discriminator import DiscriminatorConfig
    from ganprune.models.generator import GeneratorConfig
    from ganprune.pretrain import pretrain as train
    from ganprune.runs import RunDirectory
    from ganprune.training import TrainingSettings

    taken = ("steps", "decay_steps", "batch", "learning_rate", "lam", "identity", "pool", "augment", "precision", "seed")
    settings = TrainingSettings(**{name: options[name] for name in taken})
    device = resolve_device(options["device"])
    set_threads(options["threads"])
    images = UnpairedImages(data, options["size"])
    run = RunDirectory.open(resume) if resume else RunDirectory.create(out or RunDirectory.next_free("runs", "pretrain"))
    display = TrainingDisplay("pretrain")
    with display.live():
        train(
            images, run, settings,
            generator=GeneratorConfig(ngf=options["ngf"], blocks=options["blocks"], norm=options["norm"]),
            discriminator=DiscriminatorConfig(ndf=options["ndf"], norm=options["norm"]),
            device=str(device), resume=resume is not None, save_every=options["save_every"], report=display,
        )  # fmt: skip
    click.echo(f"Checkpoint and samples: {run.directory}")
