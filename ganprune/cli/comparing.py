"""Commands that compare searches: compare."""

from __future__ import annotations

import shlex
from typing import Any

import click

from ganprune.cli.group import main
from ganprune.cli.options import FOLDER, evolve_options, size_options, take_framing
from ganprune.errors import UserError

# With these the toy scores about a hundred individuals a second.
TOY = ["--population", "16", "--validation-images", "8", "--precision", "float32"]


@click.command(add_help_option=False)
@click.option("--preset", default="quick")
@evolve_options
def contender_options(**options: Any) -> None:
    """Never run: it parses the text of a contender."""


@main.command()
@click.argument("contenders", nargs=-1)
@click.option("--common", default="", help="Options of evolve that all contenders share, in one text.")
@click.option("--max-evaluations", type=float, default=600, show_default=True, help="Cost of each run, both sides.")
@click.option("--seeds", default="5", show_default=True, help="How many (1, 2, ...), or a list such as 3,7,8.")
@click.option("--target", type=float, help="Reference fitness to time.  [default: the median of all runs' last]")
@click.option("--toy", is_flag=True, help="A tiny CycleGAN that scores about 100 individuals a second, on the CPU.")
@click.option("--data", type=FOLDER, help="Folder with trainA, trainB, testA, testB.  [default: the shipped images]")
@click.option("--checkpoint", type=FOLDER, help="Folder of a trained CycleGAN.  [default: the shipped one]")
@size_options
@click.option("--out", type=FOLDER, help="Directory of the comparison.  [default: next free runs/compare-NNN]")
@click.option("--resume", type=FOLDER, help="Go on with an interrupted comparison, with the same options.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=int, help="CPU threads per evaluation.  [default: PyTorch's choice; 1 with --toy]")
def compare(contenders: tuple[str, ...], common: str, seeds: str, toy: bool, **options: Any) -> None:
    """Compare searches at equal cost.

    Each CONTENDER is an algorithm and options of evolve in one text, with a name if you like:

    \b
      ganprune compare ga annealing "uniform crossover: ga --mate cxUniform:indpb=0.5"

    Without one, all algorithms are compared. Runs are ranked by reference fitness: their elites, scored against the
    original partner on images that no search saw.
    """
    from ganprune.compare import compare as run
    from ganprune.device import set_threads
    from ganprune.evolution.registry import names
    from ganprune.runs import RunDirectory
    from ganprune.task import load_task, load_toy

    out, resume, framing = options["out"], options["resume"], take_framing(options)
    if resume and out:
        raise UserError("--out", "given with --resume", "one of the two", "A resumed comparison stays where it is.")
    if toy and (options["data"] or options["checkpoint"] or framing):
        raise UserError("--toy", "given with other data", "one of the two", "Leave out --data, --checkpoint and sizes.")
    if toy and options["device"] not in ("auto", "cpu"):
        raise UserError("--device", f"{options['device']} with --toy", "cpu", "The toy runs on the CPU; leave it out.")
    set_threads(1 if toy and options["threads"] is None else options["threads"])
    chosen = read_contenders(contenders or names("algorithm"), [*(TOY if toy else []), *split(common, "--common")])
    numbers = read_seeds(seeds)
    task = load_toy() if toy else load_task(options["checkpoint"], options["data"], framing, options["device"])
    where = resume or out or RunDirectory.next_free("runs", "compare")
    try:
        result = run(
            task, chosen, max_evaluations=options["max_evaluations"], seeds=numbers, out=where,
            target=options["target"], resume=resume is not None, report=lambda text: click.echo(text, err=True),
        )  # fmt: skip
    except KeyboardInterrupt:
        click.echo(f"Interrupted. Go on with: the same command with --resume {where}", err=True)
        raise SystemExit(130) from None
    print_comparison(result.summary)
    click.echo(f"Curves: {result.directory.path('compare.png')}; tables: results.csv and curves.csv beside it")


def read_contenders(texts: Any, common: list[str]) -> list[Any]:
    """Parse contenders; every option is one of ``ganprune evolve``'s."""
    from ganprune.compare import Contender
    from ganprune.compare.contenders import SHARED, split_name
    from ganprune.settings import make_settings

    result = []
    for text in texts:
        name, rest = split_name(text)
        words = split(rest, "contender")
        if words and not words[0].startswith("-"):
            words = ["--algorithm", *words]
        try:
            with contender_options.make_context("contender", [*common, *words]) as context:
                values = dict(context.params)
        except click.UsageError as error:
            raise UserError(
                "contender", repr(text), "an algorithm and options of ganprune evolve", f"{error.format_message()}"
            ) from error
        given = [field for field in SHARED if values[field] is not None]
        if given:
            option = "--" + given[0].replace("_", "-")
            raise UserError("contender", f"{text!r} with {option}", "the same for all", f"Give {option} to compare.")
        result.append(Contender(name or rest, make_settings(values.pop("preset"), **values)))
    return result


def split(text: str, field: str) -> list[str]:
    """Split a text into words as a shell does."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(field, repr(text), f"options in balanced quotes ({error})", "Check the quotes.") from error


def read_seeds(text: str) -> list[int]:
    """Return the seeds that ``--seeds`` stands for."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(
            "seeds", repr(text), "a number of seeds, or a list such as 3,7,8", "Correct --seeds."
        ) from error
    if "," not in text:
        numbers = list(range(1, numbers[0] + 1))
    if not numbers or min(numbers) < 0:
        raise UserError("seeds", repr(text), "1 or more, or a list such as 3,7,8", "Correct --seeds.")
    return numbers


def print_comparison(summary: dict[str, Any]) -> None:
    """Print the table and what the tests say."""
    import sys

    from rich.console import Console
    from rich.table import Table

    from ganprune.compare.tables import COLUMNS, notes, rows

    table = Table(*COLUMNS, title="best reference fitness at equal cost", title_justify="left")
    for cells in rows(summary):
        table.add_row(*cells)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for line in notes(summary):
        click.echo(line)
