"""Does the fitness that we search by predict the quality after tuning? The study behind docs/fidelity.md.

Individuals of one side inside a size band are scored in several ways; each way's ranking of their quality,
gamma * (L_DisA + lam * L_cyc) on the search's validation images against the original partner, is compared with the
ranking, on test images, after a long fine-tune from reconstructed weights ("truth"), run with two seeds: their
agreement is the ceiling. Everything measured is appended to one file, so an interrupted study goes on where it was::

    pip install matplotlib
    python scripts/fidelity.py measure --out runs/fidelity --side A2B --individuals 24 --low 0.2 --high 0.3
    python scripts/fidelity.py report --out runs/fidelity
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from scipy import stats
from torch import nn

from ganprune.device import resolve_precision
from ganprune.evolution.individual import pack_bits
from ganprune.evolution.operators.initialization import initMixed
from ganprune.filters.builder import NetworkBuilder, compact, make_builders
from ganprune.filters.layers import hooks, layer_at
from ganprune.filters.reconstruction import (
    PatchSampler,
    Reconstruction,
    columns_kept,
    kept_filters,
    patch_matrices,
    restore_batch_statistics,
    set_weight_matrix,
    solve_ridge,
)
from ganprune.filters.space import FilterSpace
from ganprune.fitness import CycleFitness
from ganprune.losses import cycle_consistency, discriminator_aware
from ganprune.metrics.kid import polynomial_mmd2
from ganprune.metrics.paired import paired_l1
from ganprune.models.cyclegan import OTHER, Side
from ganprune.pipeline.task import Task, load_task
from ganprune.runs.directory import RunDirectory
from ganprune.settings.training import TrainingSettings, TuningSettings
from ganprune.training import CycleGANTrainer
from ganprune.training.tuning import TunedBuilder

GAMMA, LAM = 10.0, 10.0
TRUTHS = ("truth_1", "truth_2")
WAYS = ("sliced", "reconstructed", "sequential", "tuned_20", "tuned_80")
LABELS = {
    "sliced": "sliced",
    "reconstructed": "reconstructed",
    "sequential": "reconstructed, sequentially",
    "tuned_20": "sliced, 20 tuning steps",
    "tuned_80": "sliced, 80 tuning steps",
}
MEASUREMENTS = "measurements.jsonl"
BOOTSTRAPS = 2000
DRAWS = 20_000  # tries per size slot before we give up


def draw_individuals(space: FilterSpace, count: int, low: float, high: float, seed: int) -> list[list[int]]:
    """Draw individuals, one in each of ``count`` equal slices of the size band [low, high].

    Each group has its own density; half of the individuals keep random filters, half those of the largest weights.
    """
    random.seed(seed)
    slots: dict[int, list[int]] = {}
    for _ in range(DRAWS):
        bits = space.repair(initMixed(space.group_sizes, space.saliency, low=0.1, high=0.95))
        slot = int((space.size_share(bits) - low) / (high - low) * count)
        if 0 <= slot < count:
            slots.setdefault(slot, bits)
        if len(slots) == count:
            return [slots[index] for index in range(count)]
    raise click.ClickException(f"only {len(slots)} of {count} individuals found between {low} and {high}")


@torch.no_grad()
def sequential(reconstruction: Reconstruction, bits: list[int]) -> nn.Module:
    """Return the compact network with statistics re-taken on its own activations, layer after layer.

    Slower than ``reconstruction.network``: one pass of the calibration images per layer. It comes closer to the
    original's images on those, but not to what the discriminator sees in them: docs/fidelity.md.
    """
    network, kept = reconstruction.network(bits), reconstruction.space.kept(bits)
    targets = original_outputs(reconstruction)
    for name, original in reconstruction.layers.items():
        layer, weight = layer_at(network, name), reconstruction.moments[name].weight
        outputs, inputs = kept_filters(original, name, kept)
        rows = torch.as_tensor(outputs, device=weight.device)
        gram, cross = joint_moments(reconstruction, network, name, targets[name][:, rows])
        prior = weight[rows][:, columns_kept(layer, inputs, weight)]
        set_weight_matrix(layer, solve_ridge(gram, cross, prior, reconstruction.ridge))
    if reconstruction.has_batch_norm and not all(bits):
        restore_batch_statistics(network, reconstruction.images, reconstruction.batch)
    return network


def original_outputs(reconstruction: Reconstruction) -> dict[str, torch.Tensor]:
    """Return, per layer, the original's outputs at the sampled positions: (P, C_out)."""
    layers, count = reconstruction.layers, len(reconstruction.images)
    samplers = {name: PatchSampler(layer, count) for name, layer in layers.items()}
    outputs: dict[str, list[torch.Tensor]] = {name: [] for name in layers}

    def add(name: str, layer: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        weight = reconstruction.moments[name].weight
        outputs[name] += [patches @ weight.T for patches in patch_matrices(layer, inputs[0], samplers[name])]

    with hooks(layers, add):
        for part in reconstruction.images.split(reconstruction.batch):
            reconstruction.generator(part)
    return {name: torch.cat(parts) for name, parts in outputs.items()}


def joint_moments(
    reconstruction: Reconstruction, network: nn.Module, name: str, wanted: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return E[x x^T] of the compact layer's inputs x and E[y x^T] with the original layer's outputs y (P, |O|)."""
    layer, images = layer_at(network, name), reconstruction.images
    sampler = PatchSampler(reconstruction.layers[name], len(images))
    gram = cross = torch.zeros((), device=images.device)
    count = 0
    for part in images.split(reconstruction.batch):
        for patches in patch_matrices(layer, input_of(network, name, part), sampler):
            gram = gram + patches.T @ patches
            cross = cross + wanted[count : count + len(patches)].T @ patches
            count += len(patches)
    return gram / count, cross / count


class Reached(Exception):  # noqa: N818 - not an error
    """Stops a forward pass at the layer whose input was wanted."""


def input_of(network: nn.Module, name: str, images: torch.Tensor) -> torch.Tensor:
    """Return what the layer ``name`` is given when ``network`` sees ``images``."""
    caught: list[torch.Tensor] = []

    def stop(_name: str, _layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        caught.append(inputs[0])
        raise Reached

    with hooks({name: layer_at(network, name)}, stop), suppress(Reached):
        network(images)
    return caught[0]


class Study:
    """Builds each individual in every way and measures its quality.

    Args:
        task: the CycleGAN and its images.
        side: whose individuals.
        truth_steps: steps of the long fine-tune, the second half at a decaying rate.
        precision: "float32" or "bfloat16", of scoring and training; test figures are always float32.
    """

    def __init__(self, task: Task, side: str, truth_steps: int, precision: str):
        self.task, self.side, self.precision = task, side, precision
        self.builders = make_builders(task.cyclegan, task.images)
        self.fitness = CycleFitness(task.cyclegan, task.images, side, builders=self.builders, precision=precision)
        builder = self.builders[side]
        reconstruction = builder.reconstruction
        assert reconstruction is not None
        self.ways: dict[str, Callable[[list[int]], nn.Module]] = {
            "sliced": lambda bits: compact(builder.generator, builder.space, bits),
            "reconstructed": builder.fresh,
            "sequential": lambda bits: sequential(reconstruction, bits),
            "tuned_20": self._tuner(20),
            "tuned_80": self._tuner(80),
            "truth_1": lambda bits: self._long_finetune(bits, truth_steps, 1),
            "truth_2": lambda bits: self._long_finetune(bits, truth_steps, 2),
        }
        self.test = TestImages(task, side)

    def _tuner(self, steps: int) -> Callable[[list[int]], nn.Module]:
        builder = NetworkBuilder(self.builders[self.side].generator, self.fitness.space)
        settings = TuningSettings(steps=steps, batch=8)
        return TunedBuilder(
            builder, self.task.cyclegan, self.task.images, self.side, settings, precision=self.precision
        ).fresh

    def _long_finetune(self, bits: list[int], steps: int, seed: int) -> nn.Module:
        """Distil from the original on all training images, as long as it takes to settle."""
        network = self.builders[self.side].fresh(bits)
        settings = TrainingSettings(
            steps=steps // 2, decay_steps=steps - steps // 2, batch=8, learning_rate=5e-4, lam=0.0, identity=0.0,
            adversarial=0.0, distil=1.0, augment=1.0, precision=self.precision, seed=seed,
        )  # fmt: skip
        partner = self.task.cyclegan.partner(self.side).generator
        pair = self.task.cyclegan.with_generators({self.side: network, OTHER[self.side]: partner})
        trainer = CycleGANTrainer(pair, self.task.images, settings, teacher=self.task.cyclegan, sides=[self.side])
        for _ in trainer.train():
            pass
        return network

    def measure(self, bits: list[int], way: str) -> dict[str, Any]:
        """Build ``bits`` in one way; return its quality, test figures, and its cost in forward passes."""
        start = time.perf_counter()
        network = self.ways[way](bits)
        built = time.perf_counter() - start
        fitness = self.fitness
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            start = time.perf_counter()
            fake = network(fitness.real).float()
            forward = time.perf_counter() - start
            maps = self.task.cyclegan[self.side].discriminator(fake).float()
            recovered = self.task.cyclegan[OTHER[self.side]].generator(fake).float()
        losses = quality(maps, fitness.maps_original, recovered, fitness.real)
        return {**losses, **self.test.figures(network), "seconds": built, "forwards": built / forward}


class TestImages:
    """The test images of one side, and what the original networks make of them."""

    @torch.inference_mode()
    def __init__(self, task: Task, side: str):
        images, self.side = task.images, task.cyclegan[side]
        pairs = images.pairs("test") if side == "A2B" else [(b, a) for a, b in images.pairs("test")]
        self.real = images[self.side.source].test.tensor([source for source, _ in pairs])
        self.truth = images[self.side.target].test.tensor([truth for _, truth in pairs])
        self.partner = task.cyclegan[OTHER[side]].generator
        self.maps = self.side.discriminator(apply(self.side.generator, self.real))
        self.features = discriminator_features(self.side, self.truth)

    @torch.inference_mode()
    def figures(self, network: nn.Module) -> dict[str, float]:
        """Return the test quality, the paired L1 on [0, 1], and a KID-like figure against the true drawings."""
        fake = apply(network, self.real)
        losses = quality(self.side.discriminator(fake), self.maps, apply(self.partner, fake), self.real)
        kid = polynomial_mmd2(discriminator_features(self.side, fake), self.features)
        named = {f"test_{name}": value for name, value in losses.items()}
        return {**named, "paired_l1": paired_l1(fake, self.truth), "kid_like": kid}


def quality(
    maps: torch.Tensor, maps_original: torch.Tensor, recovered: torch.Tensor, real: torch.Tensor
) -> dict[str, float]:
    """Return gamma * (L_DisA + lam * L_cyc) and its terms; lower is better."""
    disa, cycle = float(discriminator_aware(maps, maps_original)), float(cycle_consistency(recovered, real))
    return {"quality": GAMMA * (disa + LAM * cycle), "l_disa": disa, "l_cyc": cycle}


def discriminator_features(side: Side, images: torch.Tensor) -> torch.Tensor:
    """Return (N, d): what the original discriminator's last layer is given, averaged over positions."""
    layers: nn.Sequential = side.discriminator.model[:-1]  # type: ignore[union-attr, index, assignment]
    return apply(layers, images).mean((2, 3))


def apply(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Apply a network in batches of 50."""
    return torch.cat([network(part) for part in images.split(50)])


def unfinished(
    run: RunDirectory, side: str, band: str, individuals: list[list[int]]
) -> Iterator[tuple[int, list[int], str]]:
    """Yield what has not been measured yet, individual by individual."""
    done = {tuple(record[key] for key in ("side", "band", "bits", "way")) for record in run.read_jsonl(MEASUREMENTS)}
    for index, bits in enumerate(individuals):
        for way in (*WAYS, *TRUTHS):
            if (side, band, pack_bits(bits), way) not in done:
                yield index, bits, way


@click.group()
def main() -> None:
    """Measure, or report what was measured."""


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--side", type=click.Choice(["A2B", "B2A"]), default="A2B", show_default=True)
@click.option("--individuals", type=int, default=24, show_default=True)
@click.option("--low", type=float, default=0.2, show_default=True, help="Least N.")
@click.option("--high", type=float, default=0.3, show_default=True, help="Largest N.")
@click.option("--truth-steps", type=int, default=400, show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def measure(
    out: Path, side: str, individuals: int, low: float, high: float, truth_steps: int, precision: str, seed: int
) -> None:
    """Score individuals in every way; goes on where it was."""
    task = load_task(None, None)
    study = Study(task, side, truth_steps, resolve_precision(precision, torch.device("cpu")))
    out.mkdir(parents=True, exist_ok=True)
    run = RunDirectory(out)
    unranked = FilterSpace(task.cyclegan[side].generator, size=task.images.size)
    chosen = draw_individuals(unranked, individuals, low, high, seed)
    band = f"{low:g}-{high:g}"
    for index, bits, way in unfinished(run, side, band, chosen):
        figures = study.measure(bits, way)
        record = {"side": side, "band": band, "bits": pack_bits(bits), "way": way, **figures}
        run.append_jsonl(
            MEASUREMENTS, {**record, "n": study.fitness.space.size_share(bits), "truth_steps": truth_steps}
        )
        click.echo(
            f"{side} {band} {index + 1}/{individuals} {way}: quality {figures['quality']:.3f}, on test images "
            f"{figures['test_quality']:.3f}, paired L1 {figures['paired_l1']:.4f}, {figures['seconds']:.2f} s"
        )


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
def report(out: Path) -> None:
    """Print the tables and draw the scatter plots."""
    records = RunDirectory(out).read_jsonl(MEASUREMENTS)
    for side, band in sorted({(record["side"], record["band"]) for record in records}):
        table = pivot([record for record in records if (record["side"], record["band"]) == (side, band)])
        print_table(side, band, table)
        draw_scatter(out / f"fidelity-{side}-{band}.png", side, table)


Table = dict[str, dict[str, np.ndarray]]


def pivot(records: list[dict[str, Any]]) -> Table:
    """Return way -> figure -> one value per individual, of the individuals that were measured in every way."""
    by_bits: dict[str, dict[str, dict[str, Any]]] = {}
    for record in records:
        by_bits.setdefault(record["bits"], {})[record["way"]] = record
    whole = [ways for ways in by_bits.values() if all(way in ways for way in (*WAYS, *TRUTHS))]
    figures = ("n", "quality", "test_quality", "paired_l1", "kid_like", "forwards", "seconds")
    return {way: {f: np.array([ways[way][f] for ways in whole]) for f in figures} for way in (*WAYS, *TRUTHS)}


def truth_of(table: Table, figure: str) -> np.ndarray:
    """Return the mean of a figure over the two long fine-tunes."""
    mean: np.ndarray = (table["truth_1"][figure] + table["truth_2"][figure]) / 2
    return mean


def print_table(side: str, band: str, table: Table) -> None:
    """Print a Markdown table of rank correlations with the truth, with 95 % bootstrap intervals."""
    figures = ("test_quality", "quality", "paired_l1", "kid_like")
    truth = {figure: truth_of(table, figure) for figure in figures}
    print(f"\n### {side}, N in {band}, {len(truth['paired_l1'])} individuals\n")
    print("| scored by | tau | rho | tau, same images | tau, paired L1 | tau, KID-like | forward passes | quality |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for way in WAYS:
        scores = table[way]["quality"]
        cells = [interval(scores, truth["test_quality"], stats.kendalltau)]
        cells += [interval(scores, truth["test_quality"], stats.spearmanr)]
        cells += [interval(scores, truth[figure], stats.kendalltau) for figure in figures[1:]]
        cells += [f"{np.median(table[way]['forwards']):.1f}"]
        print(f"| {LABELS[way]} | " + " | ".join([*cells, f"{np.median(scores):.2f}"]) + " |")
    first, second = (table[name] for name in TRUTHS)
    cells = [interval(first["test_quality"], second["test_quality"], stats.kendalltau)]
    cells += [interval(first["test_quality"], second["test_quality"], stats.spearmanr)]
    cells += [interval(first[figure], second[figure], stats.kendalltau) for figure in figures[1:]]
    cells += [f"{np.median(first['forwards']):.0f}"]
    print("| *ceiling: the two long fine-tunes* | " + " | ".join([*cells, f"{np.median(first['quality']):.2f}"]) + " |")
    sizes = interval(-table["sliced"]["n"], truth["test_quality"], stats.kendalltau)
    print(f"\nFor comparison, the size N alone (larger is better): tau {sizes}.")


def interval(first: np.ndarray, second: np.ndarray, correlate: Callable[..., Any]) -> str:
    """Return a correlation with its 95 % bootstrap interval over individuals."""
    if len(first) < 3:
        return "too few"
    draw = np.random.default_rng(0)
    samples = (draw.integers(0, len(first), len(first)) for _ in range(BOOTSTRAPS))
    values = [correlate(first[chosen], second[chosen]).statistic for chosen in samples]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return f"{correlate(first, second).statistic:.2f} [{low:.2f}, {high:.2f}]"


def draw_scatter(path: Path, side: str, table: Table) -> None:
    """Draw each way's quality against the truth's, in the colours of the individuals' sizes."""
    import matplotlib.pyplot as plt

    truth = truth_of(table, "test_quality")
    figure, axes = plt.subplots(1, len(WAYS), figsize=(3.1 * len(WAYS), 3.2), sharey=True, layout="constrained")
    for axis, way in zip(axes, WAYS, strict=True):
        points = axis.scatter(table[way]["quality"], truth, s=18, c=table[way]["n"], cmap="viridis")
        tau = stats.kendalltau(table[way]["quality"], truth).statistic
        axis.set_title(f"{LABELS[way]}\ntau = {tau:.2f}", fontsize=10)
        axis.set_xlabel("quality as scored (lower is better)", fontsize=9)
    axes[0].set_ylabel(f"{side}: after a long fine-tune")
    figure.colorbar(points, ax=axes, label="size N", pad=0.01)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
