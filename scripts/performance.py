"""What makes an evaluation faster, and what does not: the trials behind docs/performance.md.

Each trial is timed in turns with the baseline, and the least time of each is taken, since other programs can only add
to it. Ratios above 1 are faster than the baseline. Run it on an idle machine::

    python scripts/performance.py --threads 2
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import torch
from torch import nn

from ganprune.bench import use_pytorchs_layers
from ganprune.cost.network_cost import Budget
from ganprune.evolution.operators.initialization import initDensity
from ganprune.filters.builder import make_builders, mask
from ganprune.filters.space import FilterSpace
from ganprune.fitness import CycleFitness
from ganprune.pipeline.task import load_task

MAC_SHARE = 0.25
IMAGES = 32


def least(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the least seconds of each call, taking turns."""
    times = dict.fromkeys(calls, float("inf"))
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first turn warms up
                times[name] = min(times[name], time.perf_counter() - start)
    return times


def rounded(space: FilterSpace, bits: Sequence[int], multiple: int) -> list[int]:
    """Return the individual with each group's filters brought to the nearest multiple, at least one multiple."""
    result, start = list(bits), 0
    for size in space.group_sizes:
        group = range(start, start + size)
        kept = [i for i in group if bits[i]]
        wanted = min(size, max(multiple, round(len(kept) / multiple) * multiple))
        order = kept + [i for i in group if not bits[i]]
        for rank, index in enumerate(order):
            result[index] = int(rank < wanted)
        start += size
    return result


class Trials:
    """The networks that are timed: one compact generator at the MAC share, and variants of it."""

    def __init__(self) -> None:
        self.task = load_task(None, None, device="cpu")
        self.builders = make_builders(self.task.cyclegan, self.task.images)
        self.fitness = CycleFitness(self.task.cyclegan, self.task.images, "A2B", builders=self.builders)
        self.cost, self.images = self.fitness.cost, self.fitness.real
        most = MAC_SHARE * self.cost.macs(self.fitness.space.full())
        self.space = self.fitness.space.with_repair(fits=Budget(self.cost, {"macs": most}))
        random.seed(0)
        self.bits = self.space.cut(initDensity(self.space.group_sizes, 0.8, 0.9))
        self.network = self.builders["A2B"].fresh(self.bits)

    def run(self, network: nn.Module, images: torch.Tensor, batch: int = IMAGES, mixed: bool = False) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            for part in images.split(batch):
                network(part)

    def calls(self) -> dict[str, Callable[[], Any]]:
        """Return every trial as a call; "baseline" is what an evaluation does in float32."""
        run, network, images = self.run, self.network, self.images
        fresh = functools.partial(self.builders["A2B"].fresh, self.bits)
        frozen = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(fresh().eval(), images)))
        last = fresh().to(memory_format=torch.channels_last)
        images_last = images.to(memory_format=torch.channels_last)
        masked = mask(self.task.cyclegan["A2B"].generator, self.space, self.bits)
        calls: dict[str, Callable[[], Any]] = {
            "baseline": lambda: run(network, images),
            "full-size masked network": lambda: run(masked, images),
            "bfloat16 (mixed precision)": lambda: run(network, images, mixed=True),
            "PyTorch's own layers": functools.partial(run, use_pytorchs_layers(fresh()), images),
            "channels_last": lambda: run(last, images_last),
            "channels_last, bfloat16": lambda: run(last, images_last, mixed=True),
            "TorchScript, frozen and optimised": lambda: run(frozen, images),
        }
        for batch in (1, 2, 4, 8, 16):
            calls[f"batch {batch}"] = functools.partial(run, network, images, batch)
        return calls

    def rounding(self) -> dict[str, tuple[nn.Module, float]]:
        """Return networks whose kept filters are multiples of M, with their MACs over the baseline's."""
        own = self.cost.macs(self.bits)
        result = {}
        for multiple in (4, 8, 16):
            bits = rounded(self.space, self.bits, multiple)
            result[f"filters in multiples of {multiple}"] = (
                self.builders["A2B"].fresh(bits),
                self.cost.macs(bits) / own,
            )
        return result


@click.command()
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--repeats", type=int, default=15, show_default=True)
def main(threads: int, repeats: int) -> None:
    """Print a Markdown table of the trials."""
    torch.set_num_threads(threads)
    trials = Trials()
    with torch.inference_mode():
        times = least(trials.calls(), repeats)
        print(f"{threads} threads, torch {torch.__version__}, {IMAGES} images, {MAC_SHARE} of the MACs\n")
        print("| trial | ms | times as fast |\n| --- | --- | --- |")
        for name, seconds in times.items():
            print(f"| {name} | {1e3 * seconds:.1f} | {times['baseline'] / seconds:.2f} |")
        rounding = trials.rounding()
        calls: dict[str, Callable[[], Any]] = {"baseline": lambda: trials.run(trials.network, trials.images)}
        calls |= {name: functools.partial(trials.run, net, trials.images) for name, (net, _) in rounding.items()}
        times = least(calls, repeats)
        for name, (_, macs) in rounding.items():
            print(f"| {name}, per MAC | {1e3 * times[name]:.1f} | {times['baseline'] * macs / times[name]:.2f} |")
    with torch.no_grad():
        gradless = least({"no_grad": lambda: trials.run(trials.network, trials.images)}, repeats)["no_grad"]
    with torch.inference_mode():
        inference = least({"": lambda: trials.run(trials.network, trials.images)}, repeats)[""]
    print(f"| no_grad for inference_mode | {1e3 * gradless:.1f} | {inference / gradless:.2f} |")
    one = 1 if threads > 1 else 2
    torch.set_num_threads(one)
    with torch.inference_mode():
        other = least({"": lambda: trials.run(trials.network, trials.images)}, repeats)[""]
    print(f"| {one} thread{'s' * (one > 1)} | {1e3 * other:.1f} | {inference / other:.2f} |")


if __name__ == "__main__":
    main()
