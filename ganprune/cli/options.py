"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ganprune.data.sizes import Framing, read_size

FOLDER = click.Path(path_type=Path)
FEATURES_HELP = "shipped (the small classifier that comes along), inception (FID and KID), none, or auto."
# Of the options of evolve, those that say how to search, or how small an individual must be.
SEARCHING = (
    "algorithm", "population", "generations", "max_evaluations", "max_seconds", "select", "mate", "mutate", "init",
    "target_ratio", "max_macs", "max_latency_ms", "width_slope", "round_to", "schedule", "reconstruct", "tune",
    "tune_steps", "tune_passes", "tune_batch",
)  # fmt: skip


class SizeType(click.ParamType):
    """A side length, or height and width: ``256`` or ``192x256``."""

    name = "HxW"

    def __init__(self, field: str):
        self.field = field

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return read_size(value, self.field)


def size_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --size, --load-size and --crop, which :func:`take_framing` takes out of a command's options."""
    options = [
        click.option(
            "--size", type=SizeType("size"), help="Resize images to one side length, or height x width such as 192x256."
        ),
        click.option(
            "--crop", type=SizeType("crop"),
            help="Cut images of this size out of larger ones instead: at random places in training, else the middle.",
        ),
        click.option("--load-size", type=SizeType("load size"), help="Resize images to this before --crop cuts them."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def take_framing(options: dict[str, Any]) -> Framing | None:
    """Take --size, --load-size and --crop out of a command's options; None where none of them is given."""
    given = [options.pop(name) for name in ("size", "load_size", "crop")]
    return Framing.from_options(*given) if any(given) else None


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --device and --threads."""
    threads = click.option("--threads", type=int, help="CPU threads per evaluation.  [default: PyTorch's choice]")
    command = threads(command)
    return click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")(command)


def factory_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --generator and --discriminator."""
    forms = "{}:KEY=VALUE,..., or package.module:factory (imported); A2B/B2A if they differ.  [default: read off]"
    judge = click.option("--discriminator", help="What the judges are: " + forms.format("patch"))
    return click.option("--generator", help="What the generators are: " + forms.format("resnet or unet"))(
        judge(command)
    )


def checkpoint_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says how a checkpoint is read."""
    only = click.option("--only", help="A2B or B2A: prune that generator; the other stays as it is.")
    epoch = click.option("--epoch", help="Epoch of EPOCH_net_G_A.pth.  [default: latest]")
    return epoch(factory_options(only(command)))


def take_networks(options: dict[str, Any]) -> Any:
    """Take the values of :func:`checkpoint_options` out of a command's options."""
    from ganprune.models.options import CheckpointOptions

    names = ("epoch", "generator", "discriminator", "only")
    return CheckpointOptions(**{name: options.pop(name, None) for name in names})


def take_factories(options: dict[str, Any]) -> dict[str, str | None]:
    """Take the values of :func:`factory_options` out of a command's options."""
    return {name: options.pop(name) for name in ("generator", "discriminator")}


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --workers and --cluster."""
    cluster = click.option("--cluster", help="Dask scheduler whose workers evaluate: tcp://HOST:PORT, or its file.")
    command = cluster(command)
    return click.option("--workers", type=int, default=1, show_default=True, help="Processes that evaluate.")(command)


def typed(*without: str) -> dict[str, Any]:
    """Return what was given on the command line of the current command, by parameter, but for some."""
    context = click.get_current_context()
    return {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE and name not in without
    }


def operator_help(kind: str) -> str:
    """List the registered names of a kind for --help."""
    from ganprune.evolution.registry import names

    return ", ".join(names(kind)) + "; NAME:KEY=VALUE,..., or package.module:function."


def evolve_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add everything that a preset decides; options left out keep the preset's value."""
    options = [
        click.option("--algorithm", help="Search algorithm, or two as A2B/B2A: " + operator_help("algorithm")),
        click.option("--population", type=int, help="Individuals per side (the paper's K)."),
        click.option("--generations", type=int, help="Generations (the paper's T)."),
        click.option("--max-evaluations", type=float, help="Stop before this cost: evaluations + rescores / 2."),
        click.option("--max-seconds", type=float, help="Stop the search after this time."),
        click.option("--select", help="Selection: " + operator_help("select")),
        click.option("--mate", help="Crossover: " + operator_help("mate")),
        click.option("--mutate", help="Mutation: " + operator_help("mutate")),
        click.option("--init", help="First individuals: " + operator_help("init")),
        click.option("--gamma", type=float, help="Weight of quality against size (Eq. 11)."),
        click.option("--lam", type=float, help="Weight of the cycle term (Eq. 11)."),
        click.option("--identity", type=float, help="Weight of the identity term, times --lam."),
        click.option("--loss", help="disa (Eq. 5) or gena (Eq. 4)."),
        click.option("--cost", help="Size term: params (Eq. 10), macs, or latency (predicted for one image)."),
        click.option(
            "--target-ratio", type=float, help="Hold every individual to this many times fewer parameters; 1: no bound."
        ),
        click.option("--max-macs", type=float, help="Hold every individual to this many MACs per image."),
        click.option("--max-latency-ms", type=float, help="Hold every individual to this predicted time per image."),
        click.option(
            "--width-slope", type=float, help="Budgets cut layers to n * filters ** this; 0: equal numbers, 1: shares."
        ),
        click.option("--round-to", type=int, help="Keep filters in multiples of this many per layer, 1: any number."),
        click.option("--discriminator-output", help="map, or mean as in the authors' code."),
        click.option("--cycle-norm", help="l2 (Eq. 6) or l1."),
        click.option("--encoding", help="grouped, or tied as in the authors' code."),
        click.option("--schedule", help="alternate, simultaneous or separate."),
        click.option("--reconstruct/--no-reconstruct", default=None, help="Closed-form weights, or sliced ones."),
        click.option("--calibration-images", type=int, help="Training images whose statistics reconstruct weights."),
        click.option("--tune", help="Tuning of each individual before scoring: distil, or cyclegan (the paper's)."),
        click.option("--tune-steps", type=int, help="Its steps; 0 for none, or for --tune-passes."),
        click.option("--tune-passes", type=float, help="Its passes over a tenth of the training images."),
        click.option("--tune-batch", type=int, help="Its images per step."),
        click.option("--validation-images", type=int, help="Validation images that score."),
        click.option("--finetune", help="Final fine-tune: distil, features, or cyclegan (the paper's objective)."),
        click.option("--finetune-steps", type=int, help="Its steps; 0 for none."),
        click.option("--finetune-batch", type=int, help="Its images of each domain per step."),
        click.option("--finetune-learning-rate", type=float, help="Its learning rate."),
        click.option("--features", help="Whose features the final distances are measured on: " + FEATURES_HELP),
        click.option("--inception-weights", help="File of torch-fidelity's weights.  [default: download them]"),
        click.option("--precision", help="float32, bfloat16 (mixed), or auto: bfloat16 where it is native."),
        click.option("--seed", type=int, help="Of everything random."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def baseline_options(command: click.Command) -> click.Command:
    """Add to a finished command those of :func:`evolve_options` that mean something without a search."""
    every = click.Command(None)
    evolve_options(every)
    command.params += [parameter for parameter in reversed(every.params) if parameter.name not in SEARCHING]
    return command
