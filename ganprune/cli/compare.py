"""The ``compare`` command."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click

from ganprune.baselines.registry import BASELINES, Baseline
from ganprune.cli.group import Folded, main
from ganprune.cli.options import (
    FOLDER,
    dry_run_option,
    evolve_options,
    machine_option,
    option,
    take_task,
    task_options,
    together,
    unsearched_options,
    worker_options,
)
from ganprune.cli.progress import print_table, terminating
from ganprune.errors import UserError, did_you_mean

# With these the toy scores about a hundred individuals a second.
TOY = ["--population", "16", "--validation-images", "8", "--precision", "float32"]


# These are never run: they parse the texts of contenders.
search_options = together(click.option("--preset", default="quick"), evolve_options)(
    click.Command("contender", add_help_option=False)
)
baseline_options = together(
    unsearched_options,
    click.option("--preset"),
    click.option("--target-ratio", type=float),
    click.option("--weights", default="own"),
)(click.Command("contender", add_help_option=False))


@main.command(cls=Folded)
@click.argument("contenders", nargs=-1)
@task_options
@option("--toy", is_flag=True, help="A tiny CycleGAN that scores about 100 individuals a second, on the CPU.")
@option("--common", default="", help="Options of evolve that all contenders share, in one text.")
@option("--max-evaluations", type=float, default=600, show_default=True, help="Cost of each run, both sides.")
@option("--seeds", default="5", show_default=True, help="How many (1, 2, ...), or a list such as 3,7,8.")
@option("--target", type=float, help="Reference fitness to time.  [default: the median of all runs' last]")
@option("--out", type=FOLDER, help="Directory of the comparison.  [default: next free runs/compare-NNN]")
@option("--resume", type=FOLDER, help="Go on with an interrupted comparison, with the same options.")
@worker_options
@machine_option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@machine_option("--threads", type=int, help="CPU threads.  [default: PyTorch's choice; 1 with --toy]")
@dry_run_option
def compare(contenders: tuple[str, ...], common: str, seeds: str, toy: bool, **options: Any) -> None:
    """Compare searches at equal cost.

    Each CONTENDER is an algorithm and options of evolve in one text, with a name if you like:

    \b
      ganprune compare ga annealing "uniform crossover: ga --mate cxUniform:indpb=0.5"

    or a baseline, at the same --target-ratio, with --weights own, sliced or reconstructed:

    \b
      ganprune compare ga thinet "l1, reconstructed: l1 --weights reconstructed" "baseline random"

    Without one, all algorithms are compared. Runs are ranked by reference fitness: their elites, scored against the
    original partner on images that no search saw.
    """
    from ganprune.compare import compare as run
    from ganprune.device import set_threads
    from ganprune.evolution.registry import names
    from ganprune.parallel.workers import check_workers, threads_per_worker
    from ganprune.pipeline.task import load_task, load_toy
    from ganprune.runs.directory import RunDirectory
    from ganprune.runs.interruption import exit_status

    out, resume = options["out"], options["resume"]
    if resume and out:
        raise UserError("--out", "given with --resume", "one of the two", "A resumed comparison stays where it is.")
    places = take_task(options)
    given = [places["data"], places["checkpoint"], places["size"], places["networks"].to_json()]
    if toy and any(given):
        remedy = "Leave out --data, --checkpoint, and all that says how images and networks are read."
        raise UserError("--toy", "given with other data", "one of the two", remedy)
    if toy and places["device"] not in ("auto", "cpu"):
        raise UserError("--device", f"{places['device']} with --toy", "cpu", "The toy runs on the CPU; leave it out.")
    check_workers(options["workers"], options["cluster"])
    threads = 1 if toy and options["threads"] is None else options["threads"]
    set_threads(threads_per_worker(threads, options["workers"]))
    chosen = read_contenders(contenders or names("algorithm"), [*(TOY if toy else []), *split(common, "--common")])
    numbers = read_seeds(seeds)
    task = load_toy() if toy else load_task(**places)
    where = resume or out or RunDirectory.next_free("runs", "compare")
    try:
        with terminating():
            result = run(
                task, chosen, max_evaluations=options["max_evaluations"], seeds=numbers, out=where,
                target=options["target"], resume=resume is not None, workers=options["workers"],
                cluster=options["cluster"], dry_run=options["dry_run"],
                report=lambda text: click.echo(text, err=True),
            )  # fmt: skip
    except KeyboardInterrupt as error:
        click.echo(f"Interrupted. Go on with: the same command with --resume {where}", err=True)
        raise SystemExit(exit_status(error)) from None
    print_comparison(result.summary)
    click.echo(f"Curves: {result.directory.path('compare.png')}; tables: results.csv and curves.csv beside it")


def read_contenders(texts: Any, common: list[str]) -> list[Any]:
    """Parse contenders; every option is one of ``ganprune evolve``'s, or of ``ganprune baseline``'s."""
    from ganprune.compare import Contender
    from ganprune.compare.contenders import split_name
    from ganprune.evolution.registry import canonical, names
    from ganprune.settings.evolve import make_settings

    shared, known = parse(search_options, shlex.join(common), common), [*names("algorithm"), *BASELINES]
    result = []
    for text in texts:
        name, rest = split_name(text)
        words = split(rest, "contender")
        first = words[0] if words and not words[0].startswith("-") else None
        explicit = first == "baseline"
        if first and not explicit and not {":", "/"} & {*first} and canonical("algorithm", first) not in known:
            raise UserError("contender", text, "an algorithm or a baseline first", did_you_mean(first, known))
        if explicit or (first in BASELINES and canonical("algorithm", first) not in names("algorithm")):
            result.append(read_baseline(name or rest, text, words[explicit:], shared))
        else:
            values = parse(search_options, text, [*common, *(["--algorithm"] if first else []), *words])
            result.append(Contender(name or rest, make_settings(**values)))
    return result


def read_baseline(name: str, text: str, words: list[str], shared: dict[str, Any]) -> Any:
    """Return the contender that is the baseline ``words[0]``; of the shared options it takes those that apply."""
    from ganprune.commands.baseline import baseline_settings
    from ganprune.compare import Contender

    given = parse(baseline_options, text, words[1:])
    baseline = Baseline(words[0] if words else "nothing", given.pop("weights"))
    values = {name: shared[name] if value is None else value for name, value in given.items()}
    for budget in ("max_macs", "max_latency_ms"):
        if shared[budget] is not None and values["target_ratio"] is None:
            found = f"{text!r} beside --{budget.replace('_', '-')}"
            raise UserError("contender", found, "--target-ratio: baselines are sized by parameters", "Give that.")
    return Contender(name, baseline_settings(baseline, **values), baseline)


def parse(command: click.Command, text: str, words: list[str]) -> dict[str, Any]:
    """Return the options among these words, None where one is not given.

    Raises:
        UserError: an option is unknown or wrong, or one that a comparison gives to all.
    """
    from ganprune.compare.contenders import SHARED

    try:
        with command.make_context("contender", list(words)) as context:
            values = dict(context.params)
    except click.UsageError as error:
        expected = "an algorithm or a baseline, and its options"
        raise UserError("contender", repr(text), expected, error.format_message()) from error
    given = [field for field in SHARED if values.get(field) is not None]
    if given:
        option = "--" + given[0].replace("_", "-")
        raise UserError("contender", f"{text!r} with {option}", "the same for all", f"Give {option} to compare.")
    return values


def split(text: str, field: str) -> list[str]:
    """Split a text into words as a shell does."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(field, repr(text), f"options in balanced quotes ({error})", "Check the quotes.") from error


def read_seeds(text: str) -> list[int]:
    """Return the seeds that ``--seeds`` stands for."""
    if not re.fullmatch(r"\s*(0*[1-9]\d*|\d+(\s*,\s*\d+)+)\s*", text, re.ASCII):
        raise UserError("seeds", repr(text), "a number of seeds, or a list such as 3,7,8", "Correct --seeds.")
    return [int(part) for part in text.split(",")] if "," in text else list(range(1, int(text) + 1))


def print_comparison(summary: dict[str, Any]) -> None:
    """Print the table and what the tests say."""
    from rich.table import Table

    from ganprune.compare.tables import COLUMNS, notes, rows

    table = Table(*COLUMNS, title="best reference fitness at equal cost", title_justify="left")
    for cells in rows(summary):
        table.add_row(*cells)
    print_table(table, 120)
    for line in notes(summary):
        click.echo(line)
