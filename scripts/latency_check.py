"""How well does a latency table predict the measured latency of compact networks on this machine?

Individuals of one side, from small to large and each with its own density per group, are predicted from a freshly
measured table, and measured for batch 1: whole networks, taking turns, so that a change of the machine's speed meets
all of them (median and least), and part by part, the sum of the least time of each module in PyTorch, of each operator
by onnxruntime's own profiler. Where other programs interrupt every call of a whole network, the last is what still
tells the network's own time; with one thread there is also the least of the thread's own time::

    python scripts/latency_check.py --threads 2
    python scripts/latency_check.py --target onnxruntime --threads 1 --individuals 20

With ``--ratio`` there is also a network of so many times fewer parameters, and what its time goes into::

    python scripts/latency_check.py --target onnxruntime --threads 1 --individuals 0 --ratio 8
"""

from __future__ import annotations

import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import torch
from scipy import stats
from torch import nn

from ganprune.cost.latency import PYTORCH, measure_latency
from ganprune.cost.latency_table import LatencyTable
from ganprune.cost.network_cost import Budget, NetworkCost
from ganprune.cost.profile import one_thread_clock, take_turns
from ganprune.data.sizes import Size
from ganprune.deploy.facts import INPUT, Facts
from ganprune.deploy.fast_form import exported_form
from ganprune.deploy.files import open_onnx, open_session, session_options, write_onnx
from ganprune.deploy.layers import onnxruntime_engine
from ganprune.device import set_threads
from ganprune.filters.builder import compact
from ganprune.filters.space import FilterSpace
from ganprune.pipeline.task import load_task

Calls = Mapping[str, Callable[[], Any]]
Parts = dict[str, float]  # kind of module or operator -> milliseconds
Measured = tuple[dict[str, list[float]], list[Parts]]


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
def module_ms(network: nn.Module, example: torch.Tensor, rounds: int) -> Parts:
    """Return the least milliseconds that each innermost module took inside the network, summed by kind."""
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
    return by_kind((type(module).__name__, ms) for module, ms in least.items())


def operator_ms(path: Path, example: torch.Tensor, rounds: int, threads: int) -> Parts:
    """Return the least milliseconds that each operator of an ONNX file took inside of it, summed by kind."""
    options = session_options(threads)
    options.enable_profiling, options.profile_file_prefix = True, str(path.with_suffix(""))
    session = open_session(str(path), options)
    for _ in range(rounds):
        session.run(None, {INPUT: example.numpy()})
    least: dict[tuple[str, str], float] = {}
    for event in json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = event["args"]["op_name"], event["name"]
            least[key] = min(least.get(key, math.inf), event["dur"] / 1e3)
    return by_kind((kind, ms) for (kind, _), ms in least.items())


def by_kind(times: Iterable[tuple[str, float]]) -> Parts:
    """Return the sums of the times of each kind, the largest first."""
    sums: dict[str, float] = {}
    for kind, ms in times:
        sums[kind] = sums.get(kind, 0.0) + ms
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def measure(calls: Calls, rounds: int, threads: int) -> dict[str, list[float]]:
    """Return the milliseconds of each whole network by several statistics."""
    cpu = torch.device("cpu")
    with torch.inference_mode():
        times = take_turns(calls, cpu, warm_up=3, rounds=rounds)
        found = {"median": [statistics.median(turns) for turns in times.values()]}
        found["least"] = [min(turns) for turns in times.values()]
        if threads == 1:
            own = take_turns(calls, cpu, warm_up=1, rounds=rounds, clock=one_thread_clock())
            found["own time"] = [min(turns) for turns in own.values()]
    return found


def in_pytorch(networks: Mapping[str, nn.Module], example: torch.Tensor, rounds: int, threads: int) -> Measured:
    """Return the milliseconds of the networks as they are, and those of their parts."""
    calls = {name: lambda network=network: network(example) for name, network in networks.items()}
    parts = [module_ms(network, example, rounds) for network in networks.values()]
    return measure(calls, rounds, threads), parts


def in_onnxruntime(networks: Mapping[str, nn.Module], example: torch.Tensor, rounds: int, threads: int) -> Measured:
    """Return the milliseconds of the networks as ``ganprune export`` writes them, and those of their parts."""
    size: Size = (example.shape[-2], example.shape[-1])
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.onnx" for name in networks}
        for name, network in networks.items():
            facts = Facts.of(network, "A2B", "compact", size, None)
            write_onnx(*exported_form(network, facts, 1, onnx=True), paths[name], facts)
        runs = {name: open_onnx(path, threads) for name, path in paths.items()}
        calls = {name: lambda run=run: run(example) for name, run in runs.items()}
        parts = [operator_ms(path, example, rounds, threads) for path in paths.values()]
        return measure(calls, rounds, threads), parts


TARGETS = {"pytorch": in_pytorch, "onnxruntime": in_onnxruntime}


@click.command()
@click.option("--side", type=click.Choice(["A2B", "B2A"]), default="A2B", show_default=True)
@click.option("--target", type=click.Choice(list(TARGETS)), default="pytorch", show_default=True)
@click.option("--individuals", default=8, show_default=True)
@click.option("--rounds", default=41, show_default=True, help="Measurements of each network.")
@click.option("--threads", default=2, show_default=True, help="CPU threads, for the table and the networks.")
@click.option("--seed", default=1, show_default=True)
@click.option("--ratio", type=float, help="Of parameters, of one network more whose parts are shown.")
def main(side: str, target: str, individuals: int, rounds: int, threads: int, seed: int, ratio: float | None) -> None:
    """Print prediction beside measurement, their ratio, and how well they agree."""
    set_threads(threads)
    task = load_task(None, None, device="cpu")
    generators = {name: each.generator for name, each in task.cyclegan.items()}
    spaces = {name: FilterSpace(generator, size=task.images.size) for name, generator in generators.items()}
    started = time.perf_counter()
    engine = onnxruntime_engine(threads) if target == "onnxruntime" else PYTORCH
    table = measure_latency(generators, spaces, task.images.size, engine)[side]
    click.echo(f"table: {time.perf_counter() - started:.1f} s for both sides, blocks of {table.block}")
    space, generator = spaces[side], generators[side]
    cost = NetworkCost.of(generator, space, task.images.size, table)
    population = [*draw_individuals(space, individuals, seed), space.full()]
    if ratio:
        budget = Budget(cost, {"parameters": cost.parameters(space.full()) / ratio})
        population.insert(0, space.with_repair(fits=budget).repair(space.full()))
    networks = {str(index): compact(generator, space, bits) for index, bits in enumerate(population)}
    example = torch.zeros(1, 3, *task.images.size)
    measured, parts = TARGETS[target](networks, example, rounds, threads)
    report(cost, population, {**measured, "by part": [math.fsum(each.values()) for each in parts]})
    for kind, ms in parts[0].items() if ratio else ():
        click.echo(f"{kind}: {1e3 * ms:.0f} us, {ms / math.fsum(parts[0].values()):.1%}")


def report(cost: NetworkCost, population: list[list[int]], measured: Mapping[str, list[float]]) -> None:
    """Print one line for each individual, and then errors and rank correlations."""
    space = cost.space
    assert isinstance(cost.latency, LatencyTable)
    predicted = [cost.latency_ms(bits) for bits in population]
    click.echo(f"{'N':>6}  {'MACs':>6}  predicted" + "".join(f"  {kind:>9}  ratio" for kind in measured))
    for bits, guess, *found in zip(population, predicted, *measured.values(), strict=True):
        line = f"{space.size_share(bits):6.3f}  {cost.macs_share(bits):6.3f}  {guess:9.2f}"
        click.echo(line + "".join(f"  {value:9.2f}  {guess / value:5.2f}" for value in found))
    for kind, values in measured.items():
        errors = [abs(guess / value - 1) for guess, value in zip(predicted, values, strict=True)]
        click.echo(f"error against {kind}: median {statistics.median(errors):.1%}, mean {statistics.mean(errors):.1%}")
    if len(population) < 4:
        return
    sizes = {
        "predicted": predicted,
        "MACs": [cost.macs(bits) for bits in population],
        "parameters": [space.parameter_count(bits) for bits in population],
    }
    for name, values in sizes.items():  # without the unpruned network, whose place in the ranking is no feat
        for kind, reference in measured.items():
            rho, tau = (f(values[:-1], reference[:-1])[0] for f in (stats.spearmanr, stats.kendalltau))
            click.echo(f"{name} against {kind}: Spearman {rho:.3f}, Kendall {tau:.3f}")


if __name__ == "__main__":
    main()
