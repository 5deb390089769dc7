"""How fast this machine evaluates individuals, against the procedure that the paper's authors published.

Everything is timed in one run and given as ratios, since machines differ and are shared. The published procedure is
:func:`published_evaluation`: full-size masked networks, read anew for each individual, image after image, every forward
pass repeated. Individuals and partner keep a MAC share of 0.25.
"""

from __future__ import annotations

import functools
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from ganprune.data import UnpairedImages
from ganprune.evolution.coevolution import coevolve
from ganprune.evolution.genetic import Genetic
from ganprune.evolution.individual import Score
from ganprune.evolution.initializers import initDensity
from ganprune.evolution.toolbox import make_toolbox
from ganprune.filters.builder import NetworkBuilder
from ganprune.filters.compact import mask
from ganprune.fitness import CycleFitness, make_builders
from ganprune.losses import cycle_consistency, discriminator_aware
from ganprune.models.checkpoint import CycleGAN, load_cyclegan, new_cyclegan, save_cyclegan
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig, InstanceNorm2d
from ganprune.settings import EvolveSettings
from ganprune.tuning import TunedBuilder, TuningSettings

SIDE, PARTNER = "A2B", "B2A"
MAC_SHARE = 0.25


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


@dataclass(frozen=True)
class Subject:
    """One pair of generators with the individuals that are timed on it."""

    cyclegan: CycleGAN
    folder: Path
    images: UnpairedImages
    fitness: dict[str, CycleFitness]
    individuals: list[list[int]]
    partner: list[int]


def make_subject(cyclegan: CycleGAN, folder: Path, images: UnpairedImages, *, scored: int, individuals: int) -> Subject:
    """Trace, take moments, and draw individuals at the MAC share.

    Args:
        cyclegan: the original.
        folder: where the published procedure finds its files; written here.
        images: the data.
        scored: validation images per evaluation.
        individuals: how many are drawn.
    """
    save_cyclegan(cyclegan, folder)
    builders = make_builders(cyclegan, images)
    fitness = {
        name: CycleFitness(cyclegan, images, name, builders=builders, validation_images=scored) for name in cyclegan
    }
    random.seed(0)
    drawn = []
    for side in (PARTNER, *[SIDE] * individuals):
        space, score = fitness[side].space, fitness[side]
        most = MAC_SHARE * score.macs(space.full())
        space.limit(functools.partial(_at_most, score.macs, most), "MAC share")
        drawn.append(space.repair(initDensity(space.group_sizes, 0.8, 0.9)))
    return Subject(cyclegan, folder, images, fitness, drawn[1:], drawn[0])


def _at_most(count: Callable[[Sequence[int]], int], most: float, bits: Sequence[int]) -> bool:
    return count(bits) <= most


@torch.no_grad()
def published_evaluation(subject: Subject, bits: Sequence[int]) -> float:
    """Score one individual as the published code does, without its tuning.

    All networks are read from their files; masked generators stay at full size; for every single image run the
    original, the masked and the partner's generator and, for both images, the discriminator.

    Returns:
        The fitness of Eq. 11.
    """
    loaded = load_cyclegan(subject.folder)
    for network in loaded.networks().values():
        use_pytorchs_norms(network)
    side = loaded[SIDE]
    spaces = {name: subject.fitness[name].space for name in loaded}
    masked = mask(side.generator, spaces[SIDE], bits)
    back = mask(loaded[PARTNER].generator, spaces[PARTNER], subject.partner)
    disa = cycle = 0.0
    real = subject.fitness[SIDE].real
    for image in real.split(1):
        original, fake = side.generator(image), masked(image)
        disa += float(discriminator_aware(side.discriminator(fake), side.discriminator(original)))
        cycle += float(cycle_consistency(back(fake), image))
    size = subject.fitness[SIDE].space.size_share(bits)
    return 1.0 / (size + 10.0 * (disa + 10.0 * cycle) / len(real))


def use_pytorchs_norms(network: torch.nn.Module) -> torch.nn.Module:
    """Let a network normalise as the published code does, without our faster form of the same function."""
    for module in network.modules():
        if isinstance(module, InstanceNorm2d):
            module.__class__ = torch.nn.InstanceNorm2d  # type: ignore[assignment]
    return network


def published_tuning_seconds(subject: Subject, bits: Sequence[int], steps: int) -> float:
    """Return the seconds of tuning one masked individual as the paper says, extrapolated from a few steps.

    CycleGAN's objective at batch 1, one pass over a tenth of the training images.
    """
    settings = TuningSettings(steps=steps, objective="cyclegan", batch=1, learning_rate=2e-4)
    builder = MaskedBuilder(subject.cyclegan[SIDE].generator, subject.fitness[SIDE].space)
    tuned = TunedBuilder(builder, subject.cyclegan, subject.images, SIDE, settings)
    one_pass = len(tuned.images[subject.cyclegan[SIDE].source].train)
    start = time.perf_counter()
    tuned.fresh(bits)
    return (time.perf_counter() - start) / steps * one_pass


class MaskedBuilder(NetworkBuilder):
    """Full-size masked networks, as the published code trains them."""

    def _build(self, bits: Sequence[int]) -> torch.nn.Module:
        return use_pytorchs_norms(mask(self.generator, self.space, bits))


@torch.inference_mode()
def bare_forward(subject: Subject, bits: Sequence[int]) -> Callable[[], Any]:
    """Return the forward passes that an evaluation can't avoid: compact generator, discriminator, compact partner."""
    fitness = subject.fitness
    network, back = fitness[SIDE].builders[SIDE](bits), fitness[SIDE].builders[PARTNER](subject.partner)
    judge, real, batch = subject.cyclegan[SIDE].discriminator, fitness[SIDE].real, fitness[SIDE].batch

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
    turn = {"published": 0, "ours": 0, "bare": 0}

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
    rebuild = measure(lambda: builder.fresh(next_of("bare")), repeats)
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
    settings = EvolveSettings(population=8, generations=4)
    asked: list[int] = []
    toolboxes = {}
    for name, side in subject.fitness.items():
        side.forget()
        toolboxes[name] = make_toolbox(side.space, side, select=settings.select, mate=settings.mate)
        Genetic(settings.population).register(toolboxes[name])
    start = time.perf_counter()
    coevolve(
        toolboxes, generations=settings.generations, callback=lambda progress: asked.append(len(progress.population))
    )
    seconds = (time.perf_counter() - start) / sum(asked)
    return {
        "ours_in_a_search": {"seconds": seconds, "asked": sum(asked), "evaluations_per_second": 1 / seconds},
        "ratio_in_a_search": published.seconds / seconds,
    }


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
