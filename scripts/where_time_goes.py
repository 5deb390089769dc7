"""Where a run's time and memory go, part by part, and how they grow: the tables and the plot of docs/performance.md.

``profile`` times the parts of a default run (the paper's networks at 256x256: of a piece of one, extrapolated)::

    python scripts/where_time_goes.py profile --threads 1 --threads 2
    python scripts/where_time_goes.py profile --network paper --threads 2

``growth`` times preparation, an evaluation and a fine-tuning step at many sizes, each in a process of its own, appends
every measurement to a file, goes on where that ends, fits powers and draws them::

    python scripts/where_time_goes.py growth runs/growth.jsonl --plot docs/images/growth.png
"""

from __future__ import annotations

import functools
import json
import platform
import resource
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np
import torch

from ganprune.assets import default_images
from ganprune.data.images import UnpairedImages
from ganprune.evolution.coevolution import coevolve
from ganprune.filters import builder
from ganprune.filters.builder import NetworkBuilder
from ganprune.filters.reconstruction import Reconstruction
from ganprune.fitness import CycleFitness
from ganprune.memory import keep_memory
from ganprune.models.cyclegan import OTHER, new_cyclegan
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.parallel.workers import spread
from ganprune.pipeline.results import measure
from ganprune.pipeline.search import Search, prepare
from ganprune.pipeline.task import Task, load_task
from ganprune.settings.evolve import EvolveSettings, make_settings
from ganprune.training import CycleGANTrainer, sides, trainer
from ganprune.training.sides import TrainedSide
from ganprune.training.teacher import Teacher

SEARCH = ("building", "translation", "partner", "discriminator")
FINETUNE = ("images", "teacher", "forward", "backward", "discriminators", "optimiser")


@dataclass
class Stopwatch:
    """Adds up the CPU seconds that each thread spends in each part, without the parts inside it."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    stacks: dict[int, list[tuple[str, float]]] = field(default_factory=lambda: defaultdict(list))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Within the block, CPU seconds of this thread are the part's."""
        stack, start = self.stacks[threading.get_ident()], time.thread_time()
        if stack:
            self.seconds[stack[-1][0]] += start - stack[-1][1]
        stack.append((name, start))
        try:
            yield
        finally:
            now = time.thread_time()
            self.seconds[name] += now - stack.pop()[1]
            if stack:
                stack[-1] = (stack[-1][0], now)

    def watch(self, owner: Any, name: str, part: str | Callable[..., str]) -> Any:
        """Return a patch under which calls of ``owner.name`` are a part's, named or chosen by the arguments."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def call(*arguments: Any, **options: Any) -> Any:
            with self.part(part if isinstance(part, str) else part(*arguments)):
                return original(*arguments, **options)

        return mock.patch.object(owner, name, call)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block, everything that has a part of its own is watched."""
        watched = [
            (builder, "FilterSpace", "tracing"), (Reconstruction, "_collect", "moments"),
            (builder, "importance_order", "importance order"), (CycleFitness, "__init__", "original's images"),
            (NetworkBuilder, "__call__", "building"), (CycleFitness, "translate", which_pass),
            (Teacher, "__call__", "teacher"), (TrainedSide, "_terms", "forward"),
            (sides.torch.autograd, "grad", "backward"), (TrainedSide, "discriminator_update", "discriminators"),
            (trainer, "_apply", "optimiser"), (CycleGANTrainer, "batch", "images"),
        ]  # fmt: skip
        with ExitStack() as stack:
            for owner, name, part in watched:
                stack.enter_context(self.watch(owner, name, part))
            yield


def which_pass(fitness: CycleFitness, network: Any, images: torch.Tensor) -> str:
    """Return which part of an evaluation a pass through a network is."""
    if fitness.cyclegan[fitness.side].discriminator in getattr(network, "args", ()):  # of a partial of ``judged``
        return "discriminator"
    return "translation" if images is getattr(fitness, "real", None) else "partner"


@contextmanager
def stage(rows: list[dict[str, Any]], name: str, stopwatch: Stopwatch) -> Iterator[None]:
    """Add a row of a stage: its wall and CPU seconds, those of its parts, and the process's peak memory in MB."""
    before, wall, cpu = dict(stopwatch.seconds), time.perf_counter(), time.process_time()
    yield
    parts = {part: seconds - before.get(part, 0.0) for part, seconds in stopwatch.seconds.items()}
    rows.append({
        "stage": name, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu,
        "parts": {part: seconds for part, seconds in parts.items() if seconds > 0}, "peak_mb": peak_mb(),
    })  # fmt: skip


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def random_task(size: int, ngf: int, blocks: int, ndf: int) -> Task:
    """Return a CycleGAN of random weights, whose arithmetic is any other's, and the shipped images at that size."""
    cyclegan = new_cyclegan(GeneratorConfig(ngf=ngf, blocks=blocks), DiscriminatorConfig(ndf=ndf), seed=0)
    for network in cyclegan.networks().values():
        network.eval().requires_grad_(False)
    return Task(cyclegan, UnpairedImages(default_images(), size), None, None)


def make_trainer(task: Task, search: Search, settings: EvolveSettings) -> CycleGANTrainer:
    """Return the trainer of a default fine-tune, of individuals that use up the budget."""
    compact = {}
    for name, one in search.builders.items():
        space = search.fitness[name].space
        compact[name] = one.final(space.cut(space.full())).requires_grad_(True)
    pair = task.cyclegan.with_generators(compact)
    return CycleGANTrainer(pair, task.images.whole_training(), settings.training, teacher=task.cyclegan)


def profile_run(task: Task, settings: EvolveSettings, steps: int, *, evaluate: bool) -> list[dict[str, Any]]:
    """Run preparation, search, fine-tune and evaluation; return a row for each."""
    rows: list[dict[str, Any]] = []
    stopwatch = Stopwatch()
    with stopwatch.watching():
        with stage(rows, "preparation", stopwatch):
            search = prepare(task, settings, lambda *stage: None)
        with stage(rows, "search", stopwatch), spread(search.fitness, search.toolboxes):
            coevolve(search.toolboxes, generations=settings.search.generations, seed=settings.seed)
        training = make_trainer(task, search, settings)
        with stage(rows, f"fine-tune, {steps} steps", stopwatch):
            for _ in training.train(until=steps):
                pass
        if evaluate:
            with stage(rows, "evaluation", stopwatch):
                measure(task, settings, {name: one.side.generator for name, one in training.sides.items()})
    return rows


def print_profile(rows: list[dict[str, Any]], threads: int) -> None:
    print(f"\n{threads} thread{'s' * (threads > 1)}, {processor()}, torch {torch.__version__}\n")
    print("| stage, and its parts | wall s | CPU s | share | peak MB |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        print(f"| **{row['stage']}** | {row['wall']:.1f} | {row['cpu']:.1f} | | {row['peak_mb']:.0f} |")
        rest = row["cpu"] - sum(row["parts"].values())
        for part, seconds in [*sorted(row["parts"].items(), key=lambda item: -item[1]), ("all else", rest)]:
            print(f"| {part} | | {seconds:.1f} | {seconds / row['cpu']:.0%} | |")


def processor() -> str:
    """Return what the processor calls itself, and what it multiplies bfloat16 with."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    flags = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    return ", ".join([facts.get("model name", "unknown").strip(), *flags])


@click.group()
def main() -> None:
    """Time a run's parts, or how they grow."""
    keep_memory()


@main.command()
@click.option("--network", type=click.Choice(["shipped", "paper"]), default="shipped", show_default=True)
@click.option("--threads", type=int, multiple=True, default=(1, 2), show_default=True)
@click.option("--precision", default="bfloat16", show_default=True)
@click.option("--steps", type=int, help="Of the fine-tune.  [default: the default run's; paper: 3]")
def profile(network: str, threads: tuple[int, ...], precision: str, steps: int | None) -> None:
    """Time the parts of a default run."""
    for count in threads:
        torch.set_num_threads(count)
        if network == "shipped":
            task, settings = load_task(None, None, device="cpu"), make_settings(precision=precision)
            task.images.read_all()
            rows = profile_run(task, settings, steps or settings.finetune.steps, evaluate=True)
        else:
            task = random_task(256, 64, 9, 64)
            settings = make_settings(precision=precision, population=2, generations=1)
            rows = profile_run(task, settings, steps or 3, evaluate=False)
        print_profile(rows, count)


@main.command()
@click.option("--size", type=int, default=64)
@click.option("--ngf", type=int, default=32)
@click.option("--images", type=int, default=8)
@click.option("--population", type=int, default=2)
def one(**case: int) -> None:
    """Print one measurement of ``growth`` as JSON."""
    torch.set_num_threads(2)
    task = random_task(case["size"], case["ngf"], 6, case["ngf"])
    settings = make_settings(
        precision="float32", validation_images=case["images"], calibration_images=case["images"], population=2,
        generations=1, finetune_steps=10, finetune_batch=1,
    )  # fmt: skip
    found: dict[str, Any] = dict(case)
    with timed(found, "preparation"):
        search = prepare(task, settings, lambda *stage: None)
    fitness = search.fitness["A2B"]
    individuals = [random_bits(fitness, seed) for seed in range(case["population"])]
    partner = random_bits(search.fitness[OTHER["A2B"]], 0)
    fitness(individuals[0], partner)  # warms up
    with timed(found, "generation"), spread(search.fitness, search.toolboxes):
        fitness.forget()
        list(search.toolboxes["A2B"].map(fitness, individuals, [partner] * len(individuals)))
    training = make_trainer(task, search, settings)
    training.train_step()
    with timed(found, "step"):
        for _ in range(2):
            training.train_step()
    found["step"] /= 2
    print(json.dumps(found))


def random_bits(fitness: CycleFitness, seed: int) -> list[int]:
    draw = np.random.default_rng(seed)
    return fitness.space.repair((draw.random(len(fitness.space)) < 0.5).astype(int).tolist())


@contextmanager
def timed(found: dict[str, Any], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    found[name], found[f"{name}_peak_mb"] = time.perf_counter() - start, peak_mb()


BASE = {"size": 64, "ngf": 32, "images": 8, "population": 2}
GROWTH: dict[str, tuple[int, ...]] = {
    "size": (64, 96, 128, 192, 256, 384, 512),
    "ngf": (16, 24, 32, 48, 64),
    "images": (8, 16, 32, 64, 128),
    "population": (2, 4, 8, 16, 32),
}
MEASURED = ("preparation", "generation", "step")


@main.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Where to draw it.")
def growth(path: Path, plot: Path | None) -> None:
    """Measure, fit and draw how time and memory grow."""
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    cases = [{**BASE, name: value} for name, values in GROWTH.items() for value in values]
    for case in {tuple(case.items()): case for case in cases}.values():
        if not any(case.items() <= row.items() for row in known):
            options = [f"--{name}={value}" for name, value in case.items()]
            done = subprocess.run([sys.executable, __file__, "one", *options], stdout=subprocess.PIPE, check=True)
            known.append(json.loads(done.stdout.splitlines()[-1]))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(json.dumps(known[-1]) + "\n")
    curves = {name: curve(known, name) for name in GROWTH}
    print(f"{processor()}, torch {torch.__version__}\n")
    print("| grows with | from, to | " + " | ".join(f"{what}, s | power" for what in MEASURED) + " |")
    print("| --- | --- |" + " --- | --- |" * len(MEASURED))
    for name, rows in curves.items():
        ends = rows[0], rows[-1]
        shown = [f"{ends[0][what]:.2f}, {ends[1][what]:.2f} | {power(rows, name, what):.2f}" for what in MEASURED]
        print(f"| {name} | {ends[0][name]}, {ends[1][name]} | " + " | ".join(shown) + " |")
    print("\n| grows with | " + " | ".join(f"{what}, peak MB" for what in MEASURED) + " |")
    print("| --- |" + " --- |" * len(MEASURED))
    for name, rows in curves.items():
        shown = [f"{rows[0][f'{what}_peak_mb']:.0f}, {rows[-1][f'{what}_peak_mb']:.0f}" for what in MEASURED]
        print(f"| {name} | " + " | ".join(shown) + " |")
    if plot:
        draw_growth(curves, plot)


def curve(known: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the measurements in which only one thing differs from :data:`BASE`, in its order."""
    rest = {other: value for other, value in BASE.items() if other != name}
    rows = {row[name]: row for row in known if rest.items() <= row.items()}
    return [rows[value] for value in sorted(rows) if value in GROWTH[name]]


def power(rows: list[dict[str, Any]], name: str, what: str) -> float:
    """Return the power of the fit seconds ~ x^power to the upper half of a curve; of pixels where x is a size."""
    rows = rows[len(rows) // 2 - 1 :]
    x = np.log([row[name] ** (2 if name == "size" else 1) for row in rows])
    return float(np.polyfit(x, np.log([row[what] for row in rows]), 1)[0])


def draw_growth(curves: Mapping[str, list[dict[str, Any]]], path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(curves), figsize=(14, 6), sharex="col", layout="constrained")
    labels = {"size": "side length", "ngf": "width (ngf)", "images": "images", "population": "population"}
    for column, (name, rows) in enumerate(curves.items()):
        x = [row[name] for row in rows]
        for what in MEASURED:
            axes[0, column].loglog(x, [row[what] for row in rows], "o-", label=what)
            axes[1, column].semilogx(x, [row[f"{what}_peak_mb"] for row in rows], "o-", label=what)
        axes[1, column].set_xlabel(labels[name])
        axes[1, column].set_xticks(x, [str(value) for value in x])
        axes[1, column].minorticks_off()
        axes[1, column].set_ylim(0)
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory, MB")
    axes[0, 0].legend()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
