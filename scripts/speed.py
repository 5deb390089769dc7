"""What makes compact generators really faster: multiples of filters, the size term, and how they are exported.

``measure`` searches under a MAC budget for each multiple (``--round-to``) and size term (``--cost``), and times the
elites of both sides beside the originals, in PyTorch and in onnxruntime. Each measurement is appended to one file, so
an interrupted study goes on where it was. ``report`` prints the table, ``forms`` times the ways to export one pair,
``widths`` networks that keep given numbers of filters.
Times are the least of all repeats, since other programs can only add to them. Run it on an idle machine::

    python scripts/speed.py measure --out runs/speed --network shipped --threads 2
    python scripts/speed.py measure --out runs/speed --network paper --threads 2
    python scripts/speed.py report --out runs/speed
    python scripts/speed.py forms --network shipped --threads 2
    python scripts/speed.py widths 28,48,48 16,40,60 --network shipped --threads 2
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from ganprune.assets import default_images
from ganprune.cost import profile
from ganprune.cost.network_cost import Budget, NetworkCost
from ganprune.data.images import UnpairedImages
from ganprune.deploy.facts import Facts
from ganprune.deploy.fast_form import inference_form
from ganprune.deploy.files import open_onnx, require_packages, write_onnx
from ganprune.deploy.speed import speed_figures
from ganprune.device import set_threads
from ganprune.evolution.coevolution import coevolve
from ganprune.evolution.individual import Individual
from ganprune.filters.builder import compact
from ganprune.filters.space import FilterSpace
from ganprune.fitness import CycleFitness
from ganprune.metrics.evaluate import size_figures
from ganprune.models.cyclegan import new_cyclegan
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.models.options import SIDES
from ganprune.pipeline.reference import reference_fitness
from ganprune.pipeline.search import Search, prepare
from ganprune.pipeline.task import Task, load_task, load_toy
from ganprune.runs.directory import RunDirectory
from ganprune.settings.evolve import EvolveSettings, make_settings

MEASUREMENTS = "speed.jsonl"
SETTING = ("network", "ratio", "cost", "multiple", "seed")  # what a measurement is told from others by
ENGINES = ("eager", "onnxruntime")


@dataclass(frozen=True)
class Network:
    """A pair of generators, and how long they are searched.

    Attributes:
        load: the pair and its images.
        population, generations, validation_images: of the search, unless options say otherwise.
        reconstruct: whether weights are reconstructed; random ones have nothing to act like.
    """

    load: Callable[[], Task]
    population: int
    generations: int
    validation_images: int
    reconstruct: bool


def paper_task() -> Task:
    """Return the paper's networks (ngf=64, 9 blocks) with random weights, and the shipped images at 256x256."""
    cyclegan = new_cyclegan(GeneratorConfig(), DiscriminatorConfig(), seed=0)
    for network in cyclegan.networks().values():
        network.eval().requires_grad_(False)
    return Task(cyclegan, UnpairedImages(default_images(), 256), None, None)


NETWORKS = {
    "shipped": Network(lambda: load_task(None, None, device="cpu"), 16, 10, 32, True),
    "paper": Network(paper_task, 6, 2, 2, False),
    "toy": Network(load_toy, 4, 1, 4, True),
}


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def full_macs(task: Task) -> int:
    """Return the multiply-accumulates of one image in the unpruned generator, counted at input size."""
    generator = task.cyclegan["A2B"].generator
    positions = profile.layer_positions(generator, 3, task.images.size)
    return profile.macs(profile.weight_counts(generator), positions)["input_size"]


def search_pair(task: Task, settings: EvolveSettings) -> tuple[Search, dict[str, Any]]:
    """Search both sides within the budget and return their elites."""
    search = prepare(task, settings, lambda *stage: None)
    elites = coevolve(search.toolboxes, generations=settings.search.generations, seed=settings.seed)
    return search, elites


def measure_elites(task: Task, settings: EvolveSettings, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield the figures of both sides' elites."""
    search, elites = search_pair(task, settings)
    reference: Mapping[str, CycleFitness] = (
        reference_fitness(task, settings, search.builders) if settings.scoring.reconstruct else {}
    )
    for side, elite in elites.items():
        original, network = task.cyclegan[side].generator, search.builders[side].final(elite)
        figures = size_figures(original, network, task.images.size)
        ratio = figures["macs"]["input_size"]["ratio"]
        speed = speed_figures(original, network, task.images.size, ratio, repeats=repeats, statistic=min)
        yield {
            "side": side, "macs_ratio": ratio, "parameter_ratio": figures["parameters"]["ratio"],
            **{engine: speed[engine] for engine in ENGINES}, "threads": speed["threads"],
            **({"reference_fitness": reference[side](elite)[0]} if reference else {}),
        }  # fmt: skip


@click.group()
def main() -> None:
    """What makes compact generators really faster."""


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--network", type=click.Choice(list(NETWORKS)), default="shipped", show_default=True)
@click.option("--ratios", default="4,10", show_default=True, help="Times fewer MACs that every individual takes.")
@click.option("--multiples", default="1,4,8,16", show_default=True)
@click.option("--costs", default="params,macs,latency", show_default=True)
@click.option("--seeds", default="1", show_default=True, help="A list.")
@click.option("--population", type=int, help="Of the search.  [default: by network]")
@click.option("--generations", type=int, help="Of the search.  [default: by network]")
@click.option("--repeats", type=int, default=31, show_default=True, help="Timed runs of each generator.")
@click.option("--threads", type=int, default=2, show_default=True)
def measure(
    out: Path, network: str, ratios: str, multiples: str, costs: str, seeds: str, population: int | None,
    generations: int | None, repeats: int, threads: int,
) -> None:  # fmt: skip
    """Search and time; goes on where it was."""
    require_packages()
    set_threads(threads)
    chosen = NETWORKS[network]
    task = chosen.load()
    out.mkdir(parents=True, exist_ok=True)
    run, most = RunDirectory(out), full_macs(task)
    done = {tuple(record[name] for name in SETTING) for record in run.read_jsonl(MEASUREMENTS)}
    for seed, ratio, cost, multiple in itertools.product(
        map(int, numbers(seeds)), numbers(ratios), costs.split(","), map(int, numbers(multiples))
    ):
        setting = dict(zip(SETTING, (network, ratio, cost, multiple, seed), strict=True))
        if tuple(setting.values()) in done:
            continue
        settings = make_settings(
            population=population or chosen.population, generations=generations or chosen.generations, cost=cost,
            max_macs=most / ratio, round_to=multiple, reconstruct=chosen.reconstruct,
            validation_images=chosen.validation_images, seed=seed, precision="float32",
        )  # fmt: skip
        for record in list(measure_elites(task, settings, repeats)):
            run.append_jsonl(MEASUREMENTS, {**setting, **record})
            click.echo(f"{setting}: {line(record)}")


def line(record: Mapping[str, Any]) -> str:
    """Return one measurement in words."""
    shown = [f"{engine} {record[engine]['speedup']:.2f}x, {record[engine]['quotient']:.2f}" for engine in ENGINES]
    return f"{record['side']} {record['macs_ratio']:.2f}x fewer MACs; {'; '.join(shown)}"


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
def report(out: Path) -> None:
    """Print a Markdown table: means over both sides and all seeds."""
    records = RunDirectory(out).read_jsonl(MEASUREMENTS)
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(tuple(record[name] for name in SETTING[:-1]), []).append(record)
    print("| network | budget | size term | multiple | MACs | parameters | eager | / MACs | ONNX | / MACs | fitness |")
    print("|" + " --- |" * 11)
    for (network, ratio, cost, multiple), found in groups.items():
        cells = [f"{mean(r['macs_ratio'] for r in found):.2f}", f"{mean(r['parameter_ratio'] for r in found):.2f}"]
        for engine, figure in itertools.product(ENGINES, ("speedup", "quotient")):
            cells.append(f"{mean(r[engine][figure] for r in found):.2f}")
        scores = [r["reference_fitness"] for r in found if "reference_fitness" in r]
        cells.append(f"{mean(scores):.4f}" if scores else "")
        print(f"| {network} | {ratio:g}x | {cost} | {multiple} | " + " | ".join(cells) + " |")


def mean(values: Any) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)


@main.command()
@click.argument("allocations", nargs=-1, required=True, metavar="F,H,Q...")
@click.option("--network", type=click.Choice(list(NETWORKS)), default="shipped", show_default=True)
@click.option("--side", type=click.Choice(SIDES), default="A2B", show_default=True)
@click.option("--repeats", type=int, default=31, show_default=True)
@click.option("--threads", type=int, default=2, show_default=True)
def widths(allocations: tuple[str, ...], network: str, side: str, repeats: int, threads: int) -> None:
    """Time networks that keep F filters of each group at full resolution, H at half and Q at a quarter.

    In each group those stay that the reconstruction's importance order puts first. The fitness is the reference one.
    """
    require_packages()
    set_threads(threads)
    chosen = NETWORKS[network]
    task = chosen.load()
    settings = make_settings(
        target_ratio=1, reconstruct=chosen.reconstruct, validation_images=chosen.validation_images, seed=1,
        precision="float32",
    )  # fmt: skip
    search = prepare(task, settings, lambda *stage: None)
    reference = reference_fitness(task, settings, search.builders) if chosen.reconstruct else {}
    builder, original, size = search.builders[side], task.cyclegan[side].generator, task.images.size
    print("| filters kept | parameters | MACs | ONNX, ms | times as fast | / MACs | fitness |")
    print("|" + " --- |" * 7)
    for text in allocations:
        elite = Individual(first_filters(builder.space, [int(part) for part in text.split(",")]))
        compacted = builder.final(elite)
        figures = size_figures(original, compacted, size)
        macs = figures["macs"]["input_size"]["ratio"]
        speed = speed_figures(original, compacted, size, macs, repeats=repeats, statistic=min)["onnxruntime"]
        fitness = f"{reference[side](elite)[0]:.4f}" if reference else ""
        cells = (f"{figures['parameters']['ratio']:.2f}", f"{macs:.2f}", f"{speed['compact']:.2f}",
                 f"{speed['speedup']:.2f}", f"{speed['quotient']:.2f}", fitness)  # fmt: skip
        print(f"| {text} | " + " | ".join(cells) + " |")


def first_filters(space: FilterSpace, counts: Sequence[int]) -> list[int]:
    """Return the bits that keep so many filters of each group, by the groups' sizes in increasing order."""
    wanted = dict(zip(sorted(set(space.group_sizes)), counts, strict=True))
    bits: list[int] = []
    for part in space.split(space.saliency):
        order = sorted(range(len(part)), key=lambda index: -part[index])
        first = set(order[: wanted[len(part)]])
        bits += [int(index in first) for index in range(len(part))]
    return bits


@main.command()
@click.option("--network", type=click.Choice(list(NETWORKS)), default="shipped", show_default=True)
@click.option("--ratio", type=float, default=4.0, show_default=True, help="Times fewer MACs of the compact generator.")
@click.option("--repeats", type=int, default=31, show_default=True)
@click.option("--threads", type=int, default=2, show_default=True)
def forms(network: str, ratio: float, repeats: int, threads: int) -> None:
    """Time one generator and a compact one in onnxruntime, exported in several ways."""
    require_packages()
    set_threads(threads)
    task = NETWORKS[network].load()
    original, size = task.cyclegan["A2B"].generator, task.images.size
    space = FilterSpace(original, size=size)
    cost = NetworkCost.of(original, space, size)
    space = space.with_repair(fits=Budget(cost, {"macs": full_macs(task) / ratio}))
    pair = {"original": original, "compact": compact(original, space, space.cut(space.full()))}
    example = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).mul(2).sub(1)
    print(f"{ratio:g}x fewer MACs, threads: {threads}\n")
    print("| exported | original, ms | compact, ms | times as fast | / MACs |\n| --- | --- | --- | --- | --- |")
    runs: dict[Any, Callable[[torch.Tensor], Any]] = {}
    for name, arrange in FORMS.items():
        runs |= {(name, kind): exported(arrange(one, example), example, threads) for kind, one in pair.items()}
    times: dict[Any, float] = profile.latency_ms(runs, example, repeats=repeats, statistic=min)
    for name in FORMS:
        before, after = times[name, "original"], times[name, "compact"]
        cells = (f"{before:.2f}", f"{after:.2f}", f"{before / after:.2f}", f"{before / after / ratio:.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |")


FORMS: dict[str, Callable[[nn.Module, torch.Tensor], nn.Module]] = {
    "as it is (a group norm)": lambda network, example: network,
    "with ONNX's instance norm": lambda network, example: inference_form(
        network, example, onnx=True, blocks=False, align=False
    ),
    "and the last layer in blocks of 2x2": lambda network, example: inference_form(
        network, example, onnx=True, align=False
    ),
    "and channels in multiples of 4": lambda network, example: inference_form(network, example, onnx=True),
}


def exported(form: nn.Module, example: torch.Tensor, threads: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a network as onnxruntime runs it."""
    height, width = example.shape[-2:]
    facts = Facts("A2B", "compact", (height, width), None, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "form.onnx"
        write_onnx(form, example.expand(2, -1, -1, -1).contiguous(), path, facts)
        return open_onnx(path, threads)


if __name__ == "__main__":
    main()
