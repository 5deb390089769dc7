"""Does the fitness that we search by predict the quality after tuning? The study behind docs/fidelity.md.

Individuals of one side inside a size band are scored in several ways; each way's ranking of their quality,
gamma * (L_DisA + lam * L_cyc) on validation images against the original partner, is compared with the ranking after a
long fine-tune ("truth"), run with two seeds: their agreement is the ceiling. Everything measured is appended to one
file, so an interrupted study goes on where it was::

    pip install matplotlib
    python scripts/fidelity.py measure --out runs/fidelity --side A2B --individuals 24 --low 0.2 --high 0.3
    python scripts/fidelity.py report --out runs/fidelity
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from scipy import stats
from torch import nn

from ganprune.evolution.individual import pack_bits
from ganprune.evolution.initializers import initMixed
from ganprune.filters.builder import NetworkBuilder
from ganprune.filters.compact import compact
from ganprune.fitness import CycleFitness, make_builders
from ganprune.losses import cycle_consistency, discriminator_aware
from ganprune.metrics.paired import paired_l1
from ganprune.models.checkpoint import OTHER
from ganprune.runs import RunDirectory
from ganprune.task import Task, load_task
from ganprune.tuning import TunedBuilder, TuningSettings

GAMMA, LAM = 10.0, 10.0
TRUTHS = ("truth_1", "truth_2")
WAYS = ("sliced", "reconstructed", "sequential", "tuned_20", "tuned_80")
MEASUREMENTS = "measurements.jsonl"
BOOTSTRAPS = 2000


def draw_individuals(fitness: CycleFitness, count: int, low: float, high: float, seed: int) -> list[list[int]]:
    """Draw individuals as ``quick`` does until ``count`` of them have N between ``low`` and ``high``."""
    space = fitness.space
    random.seed(seed)
    chosen: list[list[int]] = []
    while len(chosen) < count:
        bits = space.repair(initMixed(space.group_sizes, space.saliency, low=0.15, high=0.95))
        if low <= space.size_share(bits) <= high:
            chosen.append(bits)
    return chosen


class Study:
    """Builds each individual in every way and measures its quality.

    Args:
        task: the CycleGAN and its images.
        side: whose individuals.
        truth_steps: steps of the long fine-tune.
    """

    def __init__(self, task: Task, side: str, truth_steps: int):
        self.task, self.side = task, side
        self.builders = make_builders(task.cyclegan, task.images)
        self.fitness = CycleFitness(task.cyclegan, task.images, side, builders=self.builders)
        builder = self.builders[side]
        sliced = NetworkBuilder(builder.generator, builder.space)
        self.ways: dict[str, Callable[[list[int]], nn.Module]] = {
            "sliced": lambda bits: compact(builder.generator, builder.space, bits),
            "reconstructed": builder.fresh,
            "sequential": builder.final,
            "tuned_20": self._tuner(sliced, 20),
            "tuned_80": self._tuner(sliced, 80),
            "truth_1": self._tuner(builder, truth_steps, share=1.0, seed=1),
            "truth_2": self._tuner(builder, truth_steps, share=1.0, seed=2),
        }

    def _tuner(
        self, builder: NetworkBuilder, steps: int, share: float = 0.1, seed: int = 0
    ) -> Callable[[list[int]], nn.Module]:
        settings = TuningSettings(steps=steps, batch=8, share=share, seed=seed)
        return TunedBuilder(builder, self.task.cyclegan, self.task.images, self.side, settings).fresh

    def measure(self, bits: list[int], way: str) -> dict[str, Any]:
        """Build ``bits`` in one way; return quality, test figures, and cost in forward passes."""
        start = time.perf_counter()
        network = self.ways[way](bits)
        built = time.perf_counter() - start
        with torch.inference_mode():
            start = time.perf_counter()
            fake = network(self.fitness.real)
            forward = time.perf_counter() - start
            judged = self.task.cyclegan[self.side].discriminator(fake)
            back = self.task.cyclegan[OTHER[self.side]].generator(fake)
            disa = float(discriminator_aware(judged, self.fitness.judged_original))
            cycle = float(cycle_consistency(back, self.fitness.real))
            test = self._test_l1(network)
        quality = GAMMA * (disa + LAM * cycle)
        return {"quality": quality, "l_disa": disa, "l_cyc": cycle, "paired_l1": test, "forwards": built / forward}

    def _test_l1(self, network: nn.Module) -> float:
        images = self.task.images
        pairs = images.paired_test if self.side == "A2B" else [(b, a) for a, b in images.paired_test]
        source, target = self.task.cyclegan[self.side].source, self.task.cyclegan[self.side].target
        fake = torch.cat([network(images[source].test.tensor([s])) for s, _ in pairs])
        return paired_l1(fake, images[target].test.tensor([t for _, t in pairs]))


def unfinished(run: RunDirectory, side: str, individuals: list[list[int]]) -> Iterator[tuple[list[int], str]]:
    """Yield what has not been measured yet, individual by individual."""
    done = {(record["side"], record["bits"], record["way"]) for record in run.read_jsonl(MEASUREMENTS)}
    for bits in individuals:
        for way in (*WAYS, *TRUTHS):
            if (side, pack_bits(bits), way) not in done:
                yield bits, way


@click.group()
def main() -> None:
    """Measure, or report what was measured."""


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--side", type=click.Choice(["A2B", "B2A"]), default="A2B", show_default=True)
@click.option("--individuals", type=int, default=24, show_default=True)
@click.option("--low", type=float, default=0.2, show_default=True, help="Least N.")
@click.option("--high", type=float, default=0.3, show_default=True, help="Largest N.")
@click.option("--truth-steps", type=int, default=300, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def measure(out: Path, side: str, individuals: int, low: float, high: float, truth_steps: int, seed: int) -> None:
    """Score individuals in every way; goes on where it was."""
    task = load_task(None, None)
    study = Study(task, side, truth_steps)
    out.mkdir(parents=True, exist_ok=True)
    run = RunDirectory(out)
    chosen = draw_individuals(study.fitness, individuals, low, high, seed)
    band = f"{low:g}-{high:g}"
    for bits, way in unfinished(run, side, chosen):
        figures = study.measure(bits, way)
        record = {"side": side, "band": band, "bits": pack_bits(bits), "way": way, **figures}
        run.append_jsonl(
            MEASUREMENTS, {**record, "n": study.fitness.space.size_share(bits), "truth_steps": truth_steps}
        )
        click.echo(f"{side} {band} {way}: quality {figures['quality']:.4f}, {figures['forwards']:.1f} forward passes")


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
def report(out: Path) -> None:
    """Print the tables and draw the scatter plots."""
    records = RunDirectory(out).read_jsonl(MEASUREMENTS)
    for side, band in sorted({(record["side"], record["band"]) for record in records}):
        table = pivot([record for record in records if (record["side"], record["band"]) == (side, band)])
        print_table(side, band, table)
        draw_scatter(out / f"fidelity-{side}-{band}.png", side, table)


def pivot(records: list[dict[str, Any]]) -> dict[str, dict[str, np.ndarray]]:
    """Return way -> figure -> one value per individual, of the individuals that were measured in every way."""
    by_bits: dict[str, dict[str, dict[str, Any]]] = {}
    for record in records:
        by_bits.setdefault(record["bits"], {})[record["way"]] = record
    whole = [ways for ways in by_bits.values() if all(way in ways for way in (*WAYS, *TRUTHS))]
    figures = ("quality", "paired_l1", "forwards")
    return {way: {f: np.array([ways[way][f] for ways in whole]) for f in figures} for way in (*WAYS, *TRUTHS)}


def print_table(side: str, band: str, table: dict[str, dict[str, np.ndarray]]) -> None:
    """Print a Markdown table of rank correlations with the truth, with 95 % bootstrap intervals."""
    truth = (table["truth_1"]["quality"] + table["truth_2"]["quality"]) / 2
    paired = (table["truth_1"]["paired_l1"] + table["truth_2"]["paired_l1"]) / 2
    ceiling = interval(table["truth_1"]["quality"], table["truth_2"]["quality"], stats.kendalltau)
    print(f"\n### {side}, N in {band}, {len(truth)} individuals; tau between the two truths (ceiling): {ceiling}\n")
    print("| scored by | Kendall tau | Spearman rho | tau with test paired L1 | forward passes |")
    print("| --- | --- | --- | --- | --- |")
    for way in WAYS:
        scores = table[way]["quality"]
        cells = [interval(scores, truth, stats.kendalltau), interval(scores, truth, stats.spearmanr)]
        cells += [interval(scores, paired, stats.kendalltau), f"{np.median(table[way]['forwards']):.1f}"]
        print(f"| {way.replace('_', ', ')} | " + " | ".join(cells) + " |")


def interval(first: np.ndarray, second: np.ndarray, correlate: Callable[..., Any]) -> str:
    """Return a correlation with its 95 % bootstrap interval over individuals."""
    if len(first) < 3:
        return "too few"
    draw = np.random.default_rng(0)
    samples = (draw.integers(0, len(first), len(first)) for _ in range(BOOTSTRAPS))
    values = [correlate(first[chosen], second[chosen]).statistic for chosen in samples]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return f"{correlate(first, second).statistic:.2f} [{low:.2f}, {high:.2f}]"


def draw_scatter(path: Path, side: str, table: dict[str, dict[str, np.ndarray]]) -> None:
    """Draw each way's quality against the truth's."""
    import matplotlib.pyplot as plt

    truth = (table["truth_1"]["quality"] + table["truth_2"]["quality"]) / 2
    figure, axes = plt.subplots(1, len(WAYS), figsize=(3 * len(WAYS), 3), sharey=True)
    for axis, way in zip(axes, WAYS, strict=True):
        axis.scatter(table[way]["quality"], truth, s=12)
        axis.set_title(way.replace("_", ", "))
        axis.set_xlabel("quality as scored")
    axes[0].set_ylabel(f"{side}: after a long fine-tune")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
