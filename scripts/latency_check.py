"""How well does a latency table predict the measured latency of compact networks on this machine?

Individuals of one side, from small to large and each with its own density per group, are predicted from a freshly
measured table, and measured for batch 1: whole networks, taking turns, so that a change of the machine's speed meets
all of them (median and least), and module by module, the sum of each module's least time. Where other programs
interrupt every call of a whole network, the last is what still tells the network's own time::

    python scripts/latency_check.py --threads 2
"""

from __future__ import annotations

import math
import random
import statistics
import time

import click
import torch
from scipy import stats
from torch import nn

from ganprune.cost.latency import measure_latency
from ganprune.cost.profile import latency_ms
from ganprune.device import set_threads
from ganprune.filters.builder import compact, make_builders
from ganprune.filters.space import FilterSpace
from ganprune.fitness import CycleFitness
from ganprune.pipeline.task import load_task


def draw_individuals(space: FilterSpace, count: int, seed: int) -> list[list[int]]:
    """Return individuals of rising mean density; each group's own lies within 0.3 of it, and 0.02 and 1."""
    draw = random.Random(seed)
    individuals = []
    for index in range(count):
        mean = 0.1 + 0.8 * index / max(1, count - 1)
        bits: list[int] = []
        for size in space.group_sizes:
            density = min(1.0, max(0.02, draw.uniform(mean - 0.3, mean + 0.3)))
            bits += [int(draw.random() < density) for _ in range(size)]
        individuals.append(space.repair(bits))
    return individuals


@torch.inference_mode()
def module_ms(network: nn.Module, example: torch.Tensor, rounds: int) -> float:
    """Return the sum over the innermost modules of the least milliseconds that each took inside the network."""
    least: dict[nn.Module, float] = {}
    began = {}

    def before(module: nn.Module, inputs: object) -> None:
        began[module] = time.perf_counter()

    def after(module: nn.Module, inputs: object, output: object) -> None:
        least[module] = min(least.get(module, math.inf), (time.perf_counter() - began[module]) * 1e3)

    modules = [module for module in network.modules() if not [*module.children()]]
    handles = [m.register_forward_pre_hook(before) for m in modules] + [m.register_forward_hook(after) for m in modules]
    for _ in range(rounds):
        network(example)
    for handle in handles:
        handle.remove()
    return math.fsum(least.values())


@click.command()
@click.option("--side", type=click.Choice(["A2B", "B2A"]), default="A2B", show_default=True)
@click.option("--individuals", default=8, show_default=True)
@click.option("--rounds", default=41, show_default=True, help="Measurements of each network.")
@click.option("--threads", default=2, show_default=True, help="CPU threads, for the table and the networks.")
@click.option("--seed", default=1, show_default=True)
def main(side: str, individuals: int, rounds: int, threads: int, seed: int) -> None:
    """Print prediction beside measurement, their ratio, and how well the rankings agree."""
    set_threads(threads)
    task = load_task(None, None, device="cpu")
    size = task.images.size
    builders = make_builders(task.cyclegan, task.images, reconstruct=False)
    spaces = {name: builder.space for name, builder in builders.items()}
    started = time.perf_counter()
    tables = measure_latency({n: s.generator for n, s in task.cyclegan.items()}, spaces, size)
    click.echo(f"table: {time.perf_counter() - started:.1f} s for both sides")
    fitness = CycleFitness(
        task.cyclegan, task.images, side, builders=builders, latency=tables[side], validation_images=1
    )
    space, generator = spaces[side], task.cyclegan[side].generator
    population = [*draw_individuals(space, individuals, seed), space.full()]
    networks = {str(index): compact(generator, space, bits) for index, bits in enumerate(population)}
    example = torch.zeros(1, 3, *size)
    latency_ms(networks, example, repeats=1, warm_up=3)
    times = [latency_ms(networks, example, repeats=1, warm_up=0) for _ in range(rounds)]
    predicted = [fitness.cost.latency_ms(bits) for bits in population]
    measured = {
        "median": [statistics.median(turn[name] for turn in times) for name in networks],
        "least": [min(turn[name] for turn in times) for name in networks],
        "by module": [module_ms(network, example, rounds) for network in networks.values()],
    }
    click.echo(f"{'N':>6}  {'MACs':>6}  predicted" + "".join(f"  {kind:>9}  ratio" for kind in measured))
    full_macs = fitness.cost.macs(space.full())
    for bits, guess, *found in zip(population, predicted, *measured.values(), strict=True):
        line = f"{space.size_share(bits):6.3f}  {fitness.cost.macs(bits) / full_macs:6.3f}  {guess:9.2f}"
        click.echo(line + "".join(f"  {value:9.2f}  {guess / value:5.2f}" for value in found))
    sizes = {
        "predicted": predicted,
        "MACs": [fitness.cost.macs(bits) for bits in population],
        "parameters": [space.parameter_count(bits) for bits in population],
    }
    for name, values in sizes.items():  # without the unpruned network, whose place in the ranking is no feat
        for kind, reference in measured.items():
            rho, tau = (f(values[:-1], reference[:-1])[0] for f in (stats.spearmanr, stats.kendalltau))
            click.echo(f"{name} against {kind}: Spearman {rho:.3f}, Kendall {tau:.3f}")


if __name__ == "__main__":
    main()
