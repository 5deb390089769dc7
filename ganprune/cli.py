"""The ``ganprune`` command: parse, call, print. Heavy imports happen inside the commands, so that help is instant."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

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
    threads = click.option("--threads", type=int, help="CPU threads per evaluation.  [default: PyTorch's choice]")
    command = threads(command)
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
    from ganprune.data import UnpairedImages
    from ganprune.device import resolve_device, set_threads
    from ganprune.models.discriminator import DiscriminatorConfig
    from ganprune.models.generator import GeneratorConfig
    from ganprune.pretrain import pretrain as train
    from ganprune.runs import RunDirectory
    from ganprune.training import TrainingSettings

    taken = [name for name in TrainingSettings.__dataclass_fields__ if name in options]
    if resume and out:
        raise UserError("--out", "given with --resume", "one of the two", "A resumed run stays in its directory.")
    settings = TrainingSettings(**{name: options[name] for name in taken})
    generator = GeneratorConfig(ngf=options["ngf"], blocks=options["blocks"], norm=options["norm"])
    discriminator = DiscriminatorConfig(ndf=options["ndf"], norm=options["norm"])
    device = resolve_device(options["device"])
    set_threads(options["threads"])
    images = UnpairedImages(data, options["size"])
    where = resume or out or RunDirectory.next_free("runs", "pretrain")
    with showing(f"the same command with --resume {where}", where) as reporter:
        reporter.stage(images.size_note or "training from scratch")
        train(
            images, where, settings, generator=generator, discriminator=discriminator, device=str(device),
            resume=resume is not None, save_every=options["save_every"], report=reporter.training,
        )  # fmt: skip
    click.echo(f"Checkpoint and samples: {where}")


def print_summary(sides: Any) -> None:
    """Print the final table on standard output."""
    from rich.console import Console

    from ganprune.display import summary_table

    Console(width=None if sys.stdout.isatty() else 100).print(summary_table(sides))


def operator_help(kind: str) -> str:
    """List the registered names of a kind for --help."""
    from ganprune.evolution.registry import names

    return ", ".join(names(kind)) + "; NAME:KEY=VALUE,..., or package.module:function."


def evolve_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add everything that a preset decides; options left out keep the preset's value."""
    options = [
        click.option("--algorithm", help="Search algorithm: " + operator_help("algorithm")),
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
        click.option("--cost", help="Size term: params (Eq. 10) or macs."),
        click.option("--target-ratio", type=float, help="Hold every individual to this many times fewer parameters."),
        click.option("--max-macs", type=float, help="Hold every individual to this many MACs per image."),
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
        click.option("--finetune", help="Final fine-tune: distil, or cyclegan (the paper's objective)."),
        click.option("--finetune-steps", type=int, help="Its steps; 0 for none."),
        click.option("--finetune-batch", type=int, help="Its images of each domain per step."),
        click.option("--finetune-learning-rate", type=float, help="Its learning rate."),
        click.option("--precision", help="float32, bfloat16 (mixed), or auto: bfloat16 where it is native."),
        click.option("--seed", type=int, help="Of everything random."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@click.option("--data", type=FOLDER, help="Folder with trainA, trainB, testA, testB.  [default: the shipped images]")
@click.option("--checkpoint", type=FOLDER, help="Folder of a trained CycleGAN.  [default: the shipped one]")
@click.option("--out", type=FOLDER, help="Run directory.  [default: next free runs/evolve-NNN]")
@click.option("--resume", type=FOLDER, help="Go on with an interrupted run directory, with the options it began with.")
@click.option("--preset", default="quick", show_default=True, help="quick (minutes on two cores) or paper.")
@click.option("--size", type=int, help="Side length of the images.")
@evolve_options
@machine_options
def evolve(data: Path | None, checkpoint: Path | None, out: Path | None, resume: Path | None, **options: Any) -> None:
    """Prune both generators of a CycleGAN by co-evolution; without arguments, the shipped one."""
    from ganprune import pipeline
    from ganprune.search import OPERATORS
    from ganprune.settings import make_settings

    machine = {name: options.pop(name) for name in ("size", "device", "threads")}
    preset = options.pop("preset")
    operators = {name: options[name] for name in OPERATORS if options[name] is not None}
    refuse_with_resume(resume, operators)
    settings = make_settings(preset, **options)
    with showing("ganprune evolve --resume {}") as reporter:
        if resume:
            run = pipeline.resume(resume, operators=operators, reporter=reporter)
        else:
            run = pipeline.compress(checkpoint, data, out=out, settings=settings, reporter=reporter, **machine)
    summary = run.read_json("summary.json")
    print_summary(summary["sides"])
    click.echo(f"{summary['seconds']:.0f} s; seed {summary['seed']}; {summary['evaluations']} evaluations")
    click.echo(f"Look at {run.path('samples.png')}; compact generators and figures: {run.directory}")


def refuse_with_resume(resume: Path | None, operators: Collection[str]) -> None:
    """Options of an interrupted run can't be changed, since its result would belong to neither.

    Operators may be repeated; those that come from a module have to be.
    """
    context = click.get_current_context()
    typed = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    changed = [name for name in typed if name != "resume" and name not in operators]
    if resume and changed:
        name = "--" + changed[0].replace("_", "-")
        raise UserError(name, "given with --resume", "--resume alone", "The run keeps the options it began with.")


@contextmanager
def showing(again: str = "", where: Path | None = None) -> Iterator[Any]:
    """Show progress; on Ctrl-C say what is kept and how to go on, and exit with status 130.

    Args:
        again: how to go on, {} standing for the run directory; "" if nothing is kept.
        where: the run directory, if it is known before the reporter is told.
    """
    from ganprune.display import Display
    from ganprune.pipeline import Reporter

    display = Display()
    reporter = Reporter(display.stage, display.search, display.evaluation, display.training)
    try:
        with display.live():
            yield reporter
    except KeyboardInterrupt:
        where = reporter.directory[0] if reporter.directory else where
        if where and again and (where / "config.json").exists():
            kept = f"{where} holds every finished step. Go on with: {again.format(where)}"
        else:
            kept = "Nothing was kept."
        click.echo(f"Interrupted. {kept}", err=True)
        raise SystemExit(130) from None


@main.command()
@click.argument("run", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="New run directory for the result.")
@click.option("--objective", default="distil", show_default=True, help="distil, or cyclegan (the paper's).")
@click.option("--steps", type=int, default=1000, show_default=True, help="Training steps; the rate decays over half.")
@click.option("--batch", type=int, default=8, show_default=True, help="Images of each domain per step.")
@click.option("--seed", type=int, default=1, show_default=True)
@machine_options
def finetune(run: Path, out: Path, **options: Any) -> None:
    """Fine-tune the compact pair of RUN further; the result goes to a new run directory."""
    from ganprune import pipeline

    with showing() as reporter:
        result = pipeline.finetune_run(run, out, reporter=reporter, **options)
    print_summary(result.read_json("summary.json")["sides"])
    click.echo(f"Compact generators and figures: {result.directory}")


@main.command()
@click.argument("run", type=FOLDER)
@click.option("--data", type=FOLDER, help="Images, where RUN is a checkpoint.  [default: the run's own]")
@click.option("--size", type=int, help="Side length of the images, where RUN is a checkpoint.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@machine_options
def evaluate(run: Path, as_json: bool, **options: Any) -> None:
    """Print the table of figures of RUN, or of a checkpoint's own generators."""
    import json

    from ganprune import pipeline

    with showing() as reporter:
        sides = pipeline.evaluate_run(run, reporter=reporter, **options)
    if as_json:
        click.echo(json.dumps(sides, indent=1))
    else:
        print_summary(sides)


@main.command()
@click.option("--repeats", type=int, default=9, show_default=True, help="Timed repeats of each measurement.")
@click.option("--images", type=int, default=32, show_default=True, help="Validation images per evaluation.")
@click.option("--paper/--no-paper", default=True, show_default=True, help="Also the paper's networks at 256x256.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--threads", type=int, help="CPU threads per evaluation.  [default: PyTorch's choice]")
def bench(repeats: int, images: int, paper: bool, as_json: bool, threads: int | None) -> None:
    """Time evaluations on this machine against the published procedure."""
    import json

    from ganprune.bench import bench as run_bench
    from ganprune.device import set_threads
    from ganprune.task import load_task

    for name, value in (("repeats", repeats), ("images", images)):
        if value < 1:
            raise UserError(name, value, "1 or more", f"Correct --{name}.")
    set_threads(threads)
    task = load_task(None, None, device="cpu")
    result = run_bench(task.images, task.cyclegan, repeats=repeats, scored=images, paper=paper)
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        print_bench(result)


def print_bench(result: dict[str, Any]) -> None:
    """Print the benchmark's figures, one line each."""
    for section, figures in result.items():
        if not isinstance(figures, dict):
            click.echo(f"{section}: {figures}")
            continue
        click.echo(f"\n{section}")
        for name, value in figures.items():
            shown = value if not isinstance(value, dict) else value["evaluations_per_second"]
            unit = " evaluations/s" if isinstance(value, dict) else ""
            click.echo(f"  {name.replace('_', ' ')}: {shown:.4g}{unit}")


if __name__ == "__main__":
    main()
