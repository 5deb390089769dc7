"""How fast this machine evaluates individuals, against the procedure that the paper's authors published.

Everything is timed in one run and given as ratios, since machines differ and are shared. The published procedure is
:mod:`ganprune.bench.published`: full-size masked networks, read anew for each individual, image after image, every
forward pass repeated. Individuals and partner keep a MAC share of 0.25.
"""

from __future__ import annotations

import functools
import itertools
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from deap.base import Toolbox

from ganprune.bench.case import MAC_SHARE, PARTNER, SIDE, Subject, make_subject
from ganprune.bench.published import published_evaluation, published_tuning_seconds
from ganprune.data.images import UnpairedImages
from ganprune.evolution.algorithms.genetic import Genetic
from ganprune.evolution.coevolution import coevolve
from ganprune.evolution.individual import Score
from ganprune.evolution.toolbox import make_toolbox
from ganprune.models.cyclegan import CycleGAN, new_cyclegan
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.parallel.threads import Threads
from ganprune.parallel.workers import spread


def seconds_of(call: Callable[[Sequence[int]], Any], individuals: Sequence[Sequence[int]], repeats: int) -> float:
    """Return the median seconds of a call with one individual after the other; the first call is not timed."""
    times = []
    for _, bits in zip(range(repeats + 1), itertools.cycle(individuals), strict=False):
        start = time.perf_counter()
        call(bits)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def seconds_each(call: Callable[[Sequence[int]], Any], individuals: Sequence[Sequence[int]], rounds: int) -> float:
    """Return the median seconds per individual of rounds with all of them, as many at once as there are threads.

    That is how a search calls. The first round is not timed.
    """
    times = []
    with Threads(torch.get_num_threads()) as pool:
        for _ in range(rounds + 1):
            start = time.perf_counter()
            list(pool.map(call, individuals))
            times.append((time.perf_counter() - start) / len(individuals))
    return statistics.median(times[1:])


def bare_forward(subject: Subject, bits: Sequence[int]) -> Callable[..., Any]:
    """Return the forward passes that an evaluation can't avoid: compact generator, discriminator, compact partner."""
    fitness, discriminator = subject.fitness[SIDE], subject.cyclegan[SIDE].discriminator
    network, reverse = fitness.builders[SIDE](bits), fitness.builders[PARTNER](subject.partner)
    assert discriminator is not None

    @torch.inference_mode()
    def passes(bits: Sequence[int]) -> None:
        for part in fitness.real.split(fitness.batch):
            fake = network(part)
            discriminator(fake)
            reverse(fake)

    return passes


def bookkeeping_seconds(population: int = 32, repeats: int = 3) -> dict[str, float]:
    """Seconds of a generation's variation, ledger and files alone: K=32, 2,944 bits, a fitness that costs nothing."""
    sizes = [64, 128, 256, *[256] * 9, 128, 64]
    space = SimpleNamespace(group_sizes=sizes, saliency=[1.0] * sum(sizes), repair=list)

    def free(individual: Sequence[int], partner: Sequence[int] | None = None) -> Score:
        return Score((1.0 + sum(individual) / len(individual),), {"n": 0.5})

    generations, times = 5, []
    for seed in range(repeats):
        toolboxes = make_toolboxes({SIDE: space, PARTNER: space}, {SIDE: free, PARTNER: free}, population)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            coevolve(toolboxes, generations=generations, run=Path(folder) / "run", seed=seed)
            times.append((time.perf_counter() - start) / (2 * (generations + 1)))
    return {"seconds_per_generation": statistics.median(times)}


def make_toolboxes(spaces: Mapping[str, Any], fitness: Mapping[str, Any], population: int) -> dict[str, Toolbox]:
    """Return a toolbox with a genetic algorithm for each side."""
    toolboxes = {side: make_toolbox(space, fitness[side]) for side, space in spaces.items()}
    for toolbox in toolboxes.values():
        Genetic(population).register(toolbox)
    return toolboxes


def bench_subject(subject: Subject, *, repeats: int, tuning_steps: int, search: bool) -> dict[str, Any]:
    """Time one pair of generators; see :func:`bench` for what the entries mean."""
    fitness, individuals = subject.fitness[SIDE], subject.individuals
    builder = fitness.builders[SIDE]

    def ours(bits: Sequence[int]) -> None:
        fitness.forget()
        builder.forget()
        fitness.builders[PARTNER](subject.partner)  # the partner of a whole generation is built once
        fitness(bits, subject.partner)

    def reconstruct(bits: Sequence[int]) -> None:
        builder.forget()
        builder.fresh(bits)

    rarely = max(1, repeats // 3)
    published = seconds_of(functools.partial(published_evaluation, subject), individuals, rarely)
    cold = seconds_each(ours, individuals, rarely)
    fitness.precision = "bfloat16"
    mixed = seconds_each(ours, individuals, rarely)
    fitness.precision = "float32"
    passes = {tuple(bits): bare_forward(subject, bits) for bits in individuals}
    bare = seconds_each(lambda bits: passes[tuple(bits)](bits), individuals, rarely)
    rebuild = seconds_each(reconstruct, individuals, rarely)
    tuned = published + published_tuning_seconds(subject, individuals[0], tuning_steps)
    result: dict[str, Any] = {
        "images_per_evaluation": len(fitness.real), "image_size": fitness.real.shape[-1], "mac_share": MAC_SHARE,
        "published": rate(published, rarely), "ours_cold": rate(cold, rarely),
        "ours_cold_bfloat16": rate(mixed, rarely), "bare_forward_seconds": bare, "reconstruction_seconds": rebuild,
        "reconstruction_share": rebuild / cold, "ratio_cold": published / cold,
        "ratio_cold_bfloat16": published / mixed, "overhead_over_bare": cold / bare,
        "published_with_tuning_seconds": tuned, "ratio_cold_with_tuning": tuned / cold,
    }  # fmt: skip
    if search:
        result |= search_rate(subject, published)
    return {**result, "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def rate(seconds: float, repeats: int) -> dict[str, float]:
    """Return the seconds of an evaluation as JSON data, with how many there are in a second."""
    return {"seconds": seconds, "repeats": repeats, "evaluations_per_second": 1 / seconds}


def search_rate(subject: Subject, published: float) -> dict[str, Any]:
    """Run a short real search and count the individuals that it asked scores for, cached or not, per second."""
    asked: list[int] = []
    for side in subject.fitness.values():
        side.forget()
    spaces = {name: side.space for name, side in subject.fitness.items()}
    toolboxes = make_toolboxes(spaces, subject.fitness, population=8)
    start = time.perf_counter()
    with timed_builds(subject) as builds, spread(subject.fitness, toolboxes):
        coevolve(toolboxes, generations=4, callback=lambda progress: asked.append(len(progress.population)))
    whole = time.perf_counter() - start
    seconds = whole / sum(asked)
    return {
        "ours_in_a_search": {"seconds": seconds, "asked": sum(asked), "evaluations_per_second": 1 / seconds},
        "ratio_in_a_search": published / seconds,
        "reconstruction_share_in_a_search": sum(builds) / (whole * torch.get_num_threads()),
    }


@contextmanager
def timed_builds(subject: Subject) -> Iterator[list[float]]:
    """Collect the seconds of every network that is built in this block."""
    builders, seconds = subject.fitness[SIDE].builders.values(), []

    def timed(build: Callable[[Sequence[int]], torch.nn.Module], bits: Sequence[int]) -> torch.nn.Module:
        start = time.perf_counter()
        network = build(bits)
        seconds.append(time.perf_counter() - start)
        return network

    with ExitStack() as patches:
        for builder in builders:
            builder.forget()
            patches.enter_context(mock.patch.object(builder, "fresh", functools.partial(timed, builder.fresh)))
        yield seconds


def bench(
    images: UnpairedImages, shipped: CycleGAN, *, repeats: int = 9, scored: int = 32, paper: bool = True
) -> dict[str, Any]:
    """Time evaluations on this machine.

    Args:
        images: the shipped images.
        shipped: the shipped CycleGAN.
        repeats: a third of that are timed: evaluations of the published procedure, of ours rounds of all individuals.
        scored: validation images per evaluation; 4 for the paper's networks at 256x256.
        paper: also time the paper's networks (ngf=64, 9 blocks, 256x256, random weights).

    Returns:
        By network pair: seconds and evaluations a second of the published procedure, of ours cold (reconstruction
        included) and in a search with its caches; ratios; ours over bare forward passes; peak memory. Beside them the
        bookkeeping of a generation.
    """
    threads = torch.get_num_threads()
    result: dict[str, Any] = {"torch": torch.__version__, "threads": threads, "bookkeeping": bookkeeping_seconds()}
    with tempfile.TemporaryDirectory() as folder:
        subject = make_subject(shipped, Path(folder) / "shipped", images, scored=scored, individuals=6)
        result["shipped"] = bench_subject(subject, repeats=repeats, tuning_steps=12, search=True)
        if paper:
            large = new_cyclegan(GeneratorConfig(), DiscriminatorConfig(), seed=0)
            for network in large.networks().values():
                network.eval().requires_grad_(False)
            enlarged = UnpairedImages(images.root, 256)
            subject = make_subject(large, Path(folder) / "paper", enlarged, scored=4, individuals=4)
            result["paper"] = bench_subject(subject, repeats=max(3, repeats // 3), tuning_steps=2, search=False)
    return result
