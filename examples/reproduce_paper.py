"""The paper's tables and figures, made anew on the shipped task or on your own, one subcommand for each.

    python examples/reproduce_paper.py all --out runs/paper
    python examples/reproduce_paper.py table3 --data datasets/horse2zebra --checkpoint checkpoints/h2z --out runs/h2z

Every network comes from one ``ganprune`` command, which is printed and kept in ``commands.txt``. Runs that are finished
are used again, so that an interrupted program goes on where it was, and subcommands share what they need. ``--jobs 2
--threads 1`` makes two at a time; what comes out does not depend on it. docs/results.md shows what it gave.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import multiprocessing
import shlex
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from paper_tables import (
    ablation_table,
    figure2,
    figure3,
    figure4,
    quality_table,
    runtime_table,
    segmentation_table,
    size_table,
)

from ganprune.cli import main as ganprune

METHODS = ("thinet", "l1", "random")  # with as many seeds as ours
ONE_SEED = ("l1-global", "trimming", "slimming")
BASELINES = (*METHODS, *ONE_SEED)
CLAIMED = ("separate", "gena")  # variants that the paper says are worse: as many seeds as ours
GAMMAS = (0.1, 1.0, 10.0, 100.0)
WEIGHTS = ("own", "reconstructed")
PLACES = ("--threads", "--device", "--out", "--like")  # options that may differ where a run is used again
COMMANDS = "commands.txt"


@dataclass(frozen=True)
class Run:
    """One ``ganprune`` command and the run directory that it fills."""

    path: Path
    command: tuple[str, ...]

    @property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "summary.json").read_text(encoding="utf-8")))

    @property
    def finished(self) -> bool:
        return (self.path / "summary.json").exists()

    def make(self, out: Path) -> None:
        """Run the command, or go on with it, unless that was done before.

        Raises:
            click.ClickException: it failed, or the directory holds a run of another command.
        """
        if self.path.exists():
            self.check_command(out)
        if self.finished:
            return
        if (self.path / "state.json").exists():
            arguments = ["evolve", "--resume", str(self.path)]
        else:
            shutil.rmtree(self.path, ignore_errors=True)  # interrupted before there was anything to go on with
            arguments = [*self.command, "--out", str(self.path)]
        line = "ganprune " + shlex.join(arguments)
        click.echo(line)
        with (out / COMMANDS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        with contextlib.redirect_stdout(io.StringIO()):
            status = ganprune(arguments, standalone_mode=False)
        if status:
            raise click.ClickException(f"exit status {status} of {line}")

    def check_command(self, out: Path) -> None:
        """Check that what lies in the directory was begun by this command: tables must not mix two fine-tunes."""
        lines = (out / COMMANDS).read_text(encoding="utf-8").splitlines() if (out / COMMANDS).exists() else []
        for words in map(shlex.split, reversed(lines)):
            if "--out" in words and Path(words[words.index("--out") + 1]).name == self.path.name:
                if without_places(words[1:]) != without_places(self.command):
                    raise click.ClickException(
                        f"{self.path} was made by another command, {shlex.join(words)}: give the same options, or "
                        "another --out."
                    )
                return


def without_places(words: Sequence[str]) -> list[str]:
    """Return a command without the options that do not change what comes out, and their values."""
    left = list(words)
    for option in PLACES:
        while option in left:
            del left[left.index(option) : left.index(option) + 2]
    return left


@dataclass(frozen=True)
class Paper:
    """Which runs the tables and figures need.

    Attributes:
        out: folder of all runs, tables and pictures.
        task: options that name images and checkpoint.
        machine: options that every command gets.
        search: further options of ``evolve``.
        finetune: options of the fine-tune, the same for all methods.
        ratios: how many times fewer parameters.
        seeds: of ours and of the methods in :data:`METHODS`.
        methods: the baselines of Table 3.
        jobs: commands run at a time.
        threads: of each, and of what is timed.
    """

    out: Path
    task: tuple[str, ...]
    machine: tuple[str, ...]
    search: tuple[str, ...]
    finetune: tuple[str, ...]
    ratios: tuple[float, ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...] = BASELINES
    jobs: int = 1
    threads: int = 1
    common: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "common", (*self.task, *self.machine, *self.finetune))

    def ours(self, ratio: float, seed: int, name: str = "ours", *options: str) -> Run:
        """Return one co-evolution (Algorithm 1 with our defaults), or a variant of it under another name."""
        size = ("--target-ratio", str(ratio), "--seed", str(seed))
        command = ("evolve", *size, *options, *self.common, *self.search)
        return Run(self.out / f"{name}-{ratio:g}-seed-{seed}", command)

    def lean(self, ratio: float, seed: int) -> Run:
        """Return ours of as few parameters *and* as few multiply-accumulates per image as uniform width takes.

        The methods in :data:`METHODS` keep the same share of every layer's filters; that takes fewer
        multiply-accumulates than widths that were searched for parameters alone.
        """
        sides = self.baseline(METHODS[0], WEIGHTS[0], ratio, seed).summary["sides"].values()
        macs = min(side["macs"]["input_size"]["compact"] for side in sides)
        return self.ours(ratio, seed, "lean", "--max-macs", str(macs))

    def baseline(self, name: str, weights: str, ratio: float, seed: int) -> Run:
        """Return one baseline, as large as ours of that seed on each side."""
        like = str(self.ours(ratio, seed).path)
        command = (
            "baseline", name, "--like", like, "--weights", weights, "--seed", str(seed), *self.common,
            "--no-dry-run",  # the networks have gone all the way in ours
        )  # fmt: skip
        return Run(self.out / f"{name}-{weights}-{ratio:g}-seed-{seed}", command)

    def baselines(self, ratio: float) -> dict[tuple[str, str], list[Run]]:
        """Return (method, weights) -> runs, one for each seed that the method gets."""
        return {
            (name, weights): [self.baseline(name, weights, ratio, seed) for seed in self.seeds_of(name)]
            for name in self.methods
            for weights in WEIGHTS
        }

    def seeds_of(self, name: str) -> tuple[int, ...]:
        return self.seeds if name in METHODS else self.seeds[:1]

    def all_ours(self, ratio: float) -> list[Run]:
        return [self.ours(ratio, seed) for seed in self.seeds]

    def ablations(self) -> dict[str, list[Run]]:
        """Return variant -> runs, all at the second size (or the only one)."""
        ratio = self.ratios[min(1, len(self.ratios) - 1)]
        variants = {
            "separate": ("--schedule", "separate"),
            "gena": ("--loss", "gena"),
            "identity": ("--identity", "0.5"),
            "tuned": ("--no-reconstruct", "--tune-steps", "20"),
            "sliced": ("--no-reconstruct",),
        }
        runs = {"ours": self.all_ours(ratio)}
        for name, options in variants.items():
            seeds = self.seeds if name in CLAIMED else self.seeds[:1]
            runs[name] = [self.ours(ratio, seed, name, *options) for seed in seeds]
        return runs

    def gammas(self) -> dict[float, Run]:
        """Return gamma -> run without any bound on the size, from first individuals of all densities."""
        start = ("--init", "initMixed")
        seed = self.seeds[0]
        return {g: self.ours(1, seed, f"gamma-{g:g}", "--gamma", str(g), *start) for g in GAMMAS}

    def make(self, *waves: Sequence[Run]) -> None:
        """Make all runs of a wave before those of the next, which need them."""
        self.out.mkdir(parents=True, exist_ok=True)
        for wave in waves:
            if self.jobs == 1:
                for run in wave:
                    run.make(self.out)
            else:
                with ProcessPoolExecutor(self.jobs, multiprocessing.get_context("spawn")) as pool:
                    list(pool.map(Run.make, wave, itertools.repeat(self.out)))

    def write(self, name: str, text: str) -> None:
        (self.out / name).write_text(text + "\n", encoding="utf-8")
        click.echo(f"\n{text}\n({self.out / name})")


def table1(paper: Paper) -> None:
    """Memory, r_c, MACs and r_s of both compact generators."""
    paper.make([run for ratio in paper.ratios for run in paper.all_ours(ratio)])
    paper.write("table1.md", size_table({ratio: paper.all_ours(ratio) for ratio in paper.ratios}))


def table2(paper: Paper) -> None:
    """Segmentation scores of the drawn ink: original, ThiNet, ours, at equal size."""
    ours = [run for ratio in paper.ratios for run in paper.all_ours(ratio)]
    thinet = {(r, w): [paper.baseline("thinet", w, r, s) for s in paper.seeds] for r in paper.ratios for w in WEIGHTS}
    paper.make(ours, [run for runs in thinet.values() for run in runs])
    paper.write("table2.md", segmentation_table({r: paper.all_ours(r) for r in paper.ratios}, thinet))


def table3(paper: Paper) -> None:
    """Quality of every method at equal size and equal fine-tuning."""
    baselines = {ratio: paper.baselines(ratio) for ratio in paper.ratios}
    paper.make(
        [run for ratio in paper.ratios for run in paper.all_ours(ratio)],
        [run for methods in baselines.values() for runs in methods.values() for run in runs],
    )
    uniform = METHODS[0] in paper.methods
    lean = {ratio: [paper.lean(ratio, seed) for seed in paper.seeds] for ratio in paper.ratios if uniform}
    paper.make([run for runs in lean.values() for run in runs])
    paper.write("table3.md", quality_table({r: paper.all_ours(r) for r in paper.ratios}, lean, baselines))


def runtime(paper: Paper) -> None:
    """Theoretical against measured speed-up."""
    paper.make([paper.ours(ratio, paper.seeds[0]) for ratio in paper.ratios])
    torch.set_num_threads(paper.threads)
    paper.write("runtime.md", runtime_table({ratio: paper.ours(ratio, paper.seeds[0]) for ratio in paper.ratios}))


def gamma(paper: Paper) -> None:
    """Figure 2: images over gamma, with sizes."""
    paper.make(list(paper.gammas().values()))
    paper.write("figure2.md", figure2(paper.gammas(), paper.out / "figure2.png"))


def methods(paper: Paper) -> None:
    """Figure 3: images of ThiNet, separate pruning, the generator-aware loss, and ours."""
    variants, seed = paper.ablations(), paper.seeds[0]
    ratio = paper.ratios[min(1, len(paper.ratios) - 1)]
    thinet = paper.baseline("thinet", "own", ratio, seed)
    rows = {
        "(a) ThiNet": thinet, "(b) separate": variants["separate"][0],
        "(c) generator-aware": variants["gena"][0], "(d) ours": variants["ours"][0],
    }  # fmt: skip
    paper.make([rows["(b) separate"], rows["(c) generator-aware"], rows["(d) ours"]], [thinet])
    paper.write("figure3.md", figure3(rows, paper.out / "figure3.png"))


def filters(paper: Paper) -> None:
    """Figure 4: first-layer filters, kept ones framed: ours, after fine-tuning, ThiNet's."""
    ratio, seed = paper.ratios[0], paper.seeds[0]
    ours, thinet = paper.ours(ratio, seed), paper.baseline("thinet", "own", ratio, seed)
    paper.make([ours], [thinet])
    paper.write("figure4.md", figure4(ours, thinet, paper.out / "figure4.png"))


def ablations(paper: Paper) -> None:
    """Separate pruning, the generator-aware loss, identity, and tuning instead of reconstruction, at one size."""
    variants = paper.ablations()
    paper.make([run for runs in variants.values() for run in runs])
    paper.write("ablations.md", ablation_table(variants))


PARTS: dict[str, Callable[[Paper], None]] = {
    "table1": table1, "table2": table2, "table3": table3, "runtime": runtime, "figure2": gamma, "figure3": methods,
    "figure4": filters, "ablations": ablations,
}  # fmt: skip


def everything(paper: Paper) -> None:
    """All tables and figures."""
    for part in PARTS.values():
        part(paper)


def parts_of(kind: Callable[[str], Any]) -> Callable[..., Any]:
    """Return a click callback that takes a list apart at its commas."""

    def parse(context: click.Context, parameter: click.Parameter, value: str) -> tuple[Any, ...]:
        try:
            return tuple(kind(part.strip()) for part in value.split(","))
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return parse


def method(name: str) -> str:
    if name not in BASELINES:
        raise ValueError(f"{name!r} is none of {', '.join(BASELINES)}.")
    return name


@click.group(help=__doc__.partition("\n")[0])
def main() -> None:
    pass


def add(name: str, part: Callable[[Paper], None]) -> None:
    """Make a subcommand of a part."""

    def command(**o: Any) -> None:
        named = (("--data", o["data"]), ("--checkpoint", o["checkpoint"]), ("--size", o["size"]))
        task = tuple(text for option, value in named if value is not None for text in (option, str(value)))
        machine = ("--threads", str(o["threads"]), "--device", o["device"])
        search, finetune = tuple(shlex.split(o["search"])), tuple(shlex.split(o["finetune"]))
        many = (o["ratios"], o["seeds"], o["methods"])
        part(Paper(o["out"], task, machine, search, finetune, *many, o["jobs"], o["threads"]))

    for option in reversed(
        [
            click.option("--out", type=click.Path(path_type=Path), default=Path("runs/paper"), show_default=True),
            click.option("--data", type=click.Path(path_type=Path), help="[default: the shipped images]"),
            click.option("--checkpoint", type=click.Path(path_type=Path), help="[default: the shipped one]"),
            click.option("--size", help="Side length of the images."),
            click.option("--ratios", default="4.3,10,20", show_default=True, callback=parts_of(float)),
            click.option("--seeds", default="1,2,3", show_default=True, callback=parts_of(int)),
            click.option("--methods", default=",".join(BASELINES), show_default=True, callback=parts_of(method)),
            click.option("--search", default="", help='Further options of evolve: "--generations 50".'),
            click.option("--finetune", default="", help='Of every fine-tune: "--finetune-steps 1000".'),
            click.option("--jobs", type=int, default=1, show_default=True, help="Commands at a time."),
            click.option("--threads", type=int, default=1, show_default=True, help="Of each."),
            click.option("--device", default="auto", show_default=True),
        ]
    ):
        command = option(command)
    main.command(name, help=part.__doc__)(command)


for _name, _part in {**PARTS, "all": everything}.items():
    add(_name, _part)

if __name__ == "__main__":
    main()
