"""How fast this machine evaluates individuals, against the procedure that the paper's authors published.

Everything is timed in one run and given as ratios, since machines differ and are shared. The published procedure is
:mod:`ganprune.bench.published`: full-size masked networks, read anew for each individual, image after image, every
forward pass repeated. Individuals and partner keep a MAC share of 0.25.
"""

from __future__ import annotations

import functools
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from ganprune.bench.case import MAC_SHARE, PARTNER, SIDE, Subject, make_subject
from ganprune.bench.published import published_evaluation, published_tuning_seconds
from ganprune.data.images import UnpairedImages
from ganprune.evolution.algorithms.genetic import Genetic
from ganprune.evolution.coevolution import coevolve
from ganprune.evolution.individual import Score
from ganprune.evolution.toolbox import make_toolbox
from ganprune.models.checkpoint import CycleGAN, new_cyclegan
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.settings.evolve import SearchSettings


@dataclass(frozen=True)
class Timing:
    """Median seconds of a few repeats."""

    seconds: float
    repeats: int

    @property
    def per_second(self) -> float:
        return 1.0 / self.seconds


def measure(call: Callable[[], Any], repeats: int) -> Timing:
    """Time ``call`` after one untimed run."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return Timing(statistics.median(times), repeats)


@torch.inference_mode()
def bare_forward(subject: Subject, bits: Sequence[int]) -> Callable[[], Any]:
    """Return the forward passes that an evaluation can't avoid: compact generator, discriminator, compact partner."""
    fitness = subject.fitness
    network, back = fitness[SIDE].builders[SIDE](bits), fitness[SIDE].builders[PARTNER](subject.partner)
    judge, real, batch = subject.cyclegan[SIDE].discriminator, fitness[SIDE].real, fitness[SIDE].batch
    assert judge is not None

    @torch.inference_mode()
    def passes() -> None:
        for part in real.split(batch):
            fake = network(part)
            judge(fake)
            back(fake)

    return passes


def bookkeeping_seconds(population: int = 32, repeats: int = 3) -> dict[str, float]:
    """Seconds of a generation's variation, ledger and files alone: K=32, 2,944 bits, a fitness that costs nothing."""
    sizes = [64, 128, 256, *[256] * 9, 128, 64]
    space = SimpleNamespace(group_sizes=sizes, saliency=[1.0] * sum(sizes), repair=list)

    def free(individual: Sequence[int], partner: Sequence[int] | None = None) -> Score:
        return Score((1.0 + sum(individual) / len(individual),), {"n": 0.5})

    generations, times = 5, []
    for seed in range(repeats):
        toolboxes = {}
        for side in (SIDE, PARTNER):
            toolboxes[side] = make_toolbox(space, free)
            Genetic(population).register(toolboxes[side])
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            coevolve(toolboxes, generations=generations, run=Path(folder) / "run", seed=seed)
            times.append((time.perf_counter() - start) / (2 * (generations + 1)))
    return {"seconds_per_generation": statistics.median(times)}


def bench_subject(subject: Subject, *, repeats: int, tuning_steps: int, search: bool) -> dict[str, Any]:
    """Time one pair of generators; see :func:`bench` for what the entries mean."""
    fitness = subject.fitness[SIDE]
    turn = {"published": 0, "ours": 0, "reconstruct": 0}

    def next_of(name: str) -> list[int]:
        turn[name] += 1
        return subject.individuals[turn[name] % len(subject.individuals)]

    def ours() -> None:
        bits = next_of("ours")
        fitness.forget()
        fitness.builders[SIDE].forget()
        fitness.builders[PARTNER](subject.partner)  # the partner of a whole generation is built once
        fitness(bits, subject.partner)

    def ours_mixed() -> None:
        fitness.precision = "bfloat16"
        ours()
        fitness.precision = "float32"

    published = measure(lambda: published_evaluation(subject, next_of("published")), max(1, repeats // 3))
    cold = measure(ours, repeats)
    mixed = measure(ours_mixed, repeats)
    bare = statistics.median(measure(bare_forward(subject, bits), repeats).seconds for bits in subject.individuals)
    builder = fitness.builders[SIDE]

    def reconstruct() -> None:
        builder.forget()
        builder.fresh(next_of("reconstruct"))

    rebuild = measure(reconstruct, repeats)
    result: dict[str, Any] = {
        "images_per_evaluation": len(fitness.real),
        "image_size": fitness.real.shape[-1],
        "mac_share": MAC_SHARE,
        "published": {**asdict(published), "evaluations_per_second": published.per_second},
        "ours_cold": {**asdict(cold), "evaluations_per_second": cold.per_second},
        "ours_cold_bfloat16": {**asdict(mixed), "evaluations_per_second": mixed.per_second},
        "bare_forward_seconds": bare,
        "reconstruction_seconds": rebuild.seconds,
        "reconstruction_share": rebuild.seconds / cold.seconds,
        "ratio_cold": published.seconds / cold.seconds,
        "ratio_cold_bfloat16": published.seconds / mixed.seconds,
        "overhead_over_bare": cold.seconds / bare,
    }
    tuned = published_tuning_seconds(subject, subject.individuals[0], tuning_steps)
    result["published_with_tuning_seconds"] = published.seconds + tuned
    result["ratio_cold_with_tuning"] = (published.seconds + tuned) / cold.seconds
    if search:
        result |= search_rate(subject, published)
    result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def search_rate(subject: Subject, published: Timing) -> dict[str, Any]:
    """Run a short real search and count the individuals that it asked scores for, cached or not, per second."""
    settings = SearchSettings(population=8, generations=4)
    asked: list[int] = []
    toolboxes = {}
    for name, side in subject.fitness.items():
        side.forget()
        toolboxes[name] = make_toolbox(side.space, side, select=settings.select, mate=settings.mate)
        Genetic(settings.population).register(toolboxes[name])
    start = time.perf_counter()
    with timed_builds(subject) as builds:
        coevolve(
            toolboxes,
            generations=settings.generations,
            callback=lambda progress: asked.append(len(progress.population)),
        )
    whole = time.perf_counter() - start
    seconds = whole / sum(asked)
    return {
        "ours_in_a_search": {"seconds": seconds, "asked": sum(asked), "evaluations_per_second": 1 / seconds},
        "ratio_in_a_search": published.seconds / seconds,
        "reconstruction_share_in_a_search": sum(builds) / whole,
    }


@contextmanager
def timed_builds(subject: Subject) -> Iterator[list[float]]:
    """Collect the seconds of every network that is built in this block."""
    builders = {fitness.builders[name] for name, fitness in subject.fitness.items()}
    seconds: list[float] = []

    def timed(build: Callable[[Sequence[int]], torch.nn.Module], bits: Sequence[int]) -> torch.nn.Module:
        start = time.perf_counter()
        network = build(bits)
        seconds.append(time.perf_counter() - start)
        return network

    for builder in builders:
        builder.forget()
        builder._build = functools.partial(timed, builder._build)  # type: ignore[method-assign]
    try:
        yield seconds
    finally:
        for builder in builders:
            del builder._build


def bench(
    images: UnpairedImages, shipped: CycleGAN, *, repeats: int = 9, scored: int = 32, paper: bool = True
) -> dict[str, Any]:
    """Time evaluations on this machine.

    Args:
        images: the shipped images.
        shipped: the shipped CycleGAN.
        repeats: timed repeats of each of ours; a third of that for the published procedure.
        scored: validation images per evaluation; 4 for the paper's networks at 256x256.
        paper: also time the paper's networks (ngf=64, 9 blocks, 256x256, random weights).

    Returns:
        By network pair: seconds and evaluations a second of the published procedure, of ours cold (reconstruction
        included) and in a search with its caches; ratios; ours over bare forward passes; peak memory. Beside them the
        bookkeeping of a generation.
    """
    result: dict[str, Any] = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "bookkeeping": bookkeeping_seconds(),
    }
    with tempfile.TemporaryDirectory() as folder:
        subject = make_subject(shipped, Path(folder) / "shipped", images, scored=scored, individuals=6)
        result["shipped"] = bench_subject(subject, repeats=repeats, tuning_steps=12, search=True)
        if paper:
            large = new_cyclegan(GeneratorConfig(), DiscriminatorConfig(), seed=0)
            for network in large.networks().values():
                network.eval().requires_grad_(False)
            enlarged = UnpairedImages(images.root, 256)
            subject = make_subject(large, Path(folder) / "paper", enlarged, scored=4, individuals=3)
            result["paper"] = bench_subject(subject, repeats=max(3, repeats // 3), tuning_steps=2, search=False)
    return result
