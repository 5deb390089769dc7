"""What a search will take, in seconds and in bytes, told before it begins.

A little of each kind of its work is done and timed: a pass of a few images through each network, their moments, the
choice among one group's filters, one individual. The rest is arithmetic, so that it takes seconds at any image size. No
number of a search depends on what is measured here.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune.cost.network_cost import NetworkCost
from ganprune.cost.profile import layer_positions
from ganprune.data.images import UnpairedImages
from ganprune.data.sizes import Size
from ganprune.device import at_once, images_at_once, one_thread, resolve_precision
from ganprune.filters.builder import NetworkBuilder
from ganprune.filters.importance import PATIENCE, fed_layers, ranked
from ganprune.filters.layers import hooks
from ganprune.filters.reconstruction import PATCH_BYTES, SOLVED_BYTES, MomentSums, Reconstruction, solvable_layers
from ganprune.filters.space import FilterSpace
from ganprune.fitness import CACHE_BYTES
from ganprune.models.architecture import input_channels, shareable
from ganprune.models.cyclegan import OTHER
from ganprune.models.scores import judged
from ganprune.models.sizing import shapes_only, small_size, takes
from ganprune.pipeline.budgets import hold_to_budgets
from ganprune.pipeline.checks import check_objectives
from ganprune.pipeline.search import make_strategy
from ganprune.pipeline.task import Task
from ganprune.settings.evolve import EvolveSettings
from ganprune.training.tuning import TunedBuilder

PART, TUNED_PART = 160, 64  # side lengths of the most that is measured of an image, and of one that tuning is shown
MEASURED = 200 * 200  # pixels that are measured together
SAMPLED = 2  # images that moments are taken of at most: each takes as long whatever its size
REPEATS, ENOUGH = 5, 0.3  # what is timed is done twice, or more often as long as it takes no more seconds
TRACED_PASSES, COST_PASSES = 2.5, 2  # passes in float32 that tracing a generator takes, and counting its costs
GAIN, FLOAT32 = 1.6, 2.0  # a pass with twice the threads is so much faster, one in float32 so much slower
LEAST_WORK = 0.1  # of the most laborious layer's, in the layer that the importance order is timed with
# Found in searches of the shipped task: so much of the time to build an individual is left in later generations, where
# most of its layers are solved.
BUILT_LATER = 0.5
# Found as the peaks of searches at three sizes: what a pass holds, in the largest layer's input and output, where
# patches are taken beside it and where not; and how many blocks of patches there are at the same time.
SAMPLED_LAYERS, PASSED_LAYERS, PATCH_BLOCKS = 2.5, 1.0, 3
TRANSLATIONS = 3  # of all validation images, that an evaluation holds: one whole, one batch by batch and put together


@dataclass(frozen=True)
class Amount:
    """How much a search works with, and how much of that is measured.

    Attributes:
        size: (height, width) of its images.
        part: the same, of what is measured: the upper left corners.
        calibration, validation: images of each side, by its name.
        alone: whether each individual has a thread of its own, several at the same time.
        threads: individuals that are scored at the same time.
    """

    size: Size
    part: Size
    calibration: Mapping[str, int]
    validation: Mapping[str, int]
    alone: bool
    threads: int

    @classmethod
    def of(cls, task: Task, settings: EvolveSettings) -> Amount:
        """Return the amounts of a search of a task."""
        images, scoring, networks = task.images, settings.scoring, task.cyclegan.networks().values()
        part = small_size(images.size, PART, images.multiple)
        sets = {name: images[side.source] for name, side in task.cyclegan.items()}
        alone = task.device.type == "cpu" and all(map(shareable, networks))
        return cls(
            images.size, part if all(takes(network, part) for network in networks) else images.size,
            {name: min(scoring.calibration_images, len(split.train)) for name, split in sets.items()},
            {name: min(scoring.validation_images, len(split.validation)) for name, split in sets.items()},
            alone, torch.get_num_threads() if alone else 1,
        )  # fmt: skip

    @property
    def share(self) -> float:
        """How much of an image a part of it is."""
        return math.prod(self.part) / math.prod(self.size)

    @property
    def parts(self) -> int:
        """How many parts are measured together."""
        return max(1, MEASURED // math.prod(self.part))


@dataclass(frozen=True)
class Times:
    """Seconds of one side's work; those of passes are of one whole image.

    Attributes:
        prepare: moments and importance order, while the other side's are made.
        alone: what has all threads to itself: passes of tracing and counting costs, and the original's own images.
        original: its pass, as an individual's partner.
        helper: the same of the other side's generator, where only this side is pruned; 0 where there is none.
        scored: everything that an individual's own images take: its pass, the discriminator's.
        passed: an individual's pass, as a partner.
        build: an individual's network from its bits, tuned where the settings want that.
        order_bytes: that the importance order takes, for a while.
    """

    prepare: float
    alone: float
    original: float
    helper: float
    scored: float
    passed: float
    build: float
    order_bytes: int


def positions(network: nn.Module, size: Size) -> dict[str, dict[str, int]]:
    """Return :func:`layer_positions` without the work of a pass, where the network can do without."""
    try:
        return layer_positions(shapes_only(network), input_channels(network), size)
    except Exception:  # a network may make tensors of its own, which are not on "meta"
        return layer_positions(network, input_channels(network), size)


def held_bytes() -> int:
    """Return the bytes of memory that this process holds; 0 where the system does not tell it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def predict(
    task: Task, settings: EvolveSettings, spaces: Mapping[str, FilterSpace], traced: float, held: int
) -> dict[str, Any]:
    """Return what a search with these settings would take.

    Args:
        task: the CycleGAN and its images, of which only a few are decoded.
        settings: of the search.
        spaces: by side, traced at any size.
        traced: seconds that tracing takes at any size.
        held: bytes of this process before.

    Returns:
        evaluations (as many as there may be), seconds_prepare, seconds_per_evaluation (by side, all threads together),
        seconds_search (preparation and all evaluations, without the final fine-tune), peak_memory_mb (of the search),
        images_bytes (of the translations that are kept at most), images_scored.
    """
    settings = replace(settings, precision=resolve_precision(settings.precision, task.device))
    check_objectives(task, settings)
    amount, names = Amount.of(task, settings), list(task.cyclegan)
    both = task.device.type == "cpu" and len(names) <= torch.get_num_threads()
    gain = GAIN if both and len(names) > 1 else 1.0
    calls = [functools.partial(measure, task, settings, amount, name, spaces[name], gain) for name in names]
    times = dict(zip(names, at_once(calls, task.device), strict=True))
    prepared = [one.prepare for one in times.values()]
    prepare = traced + (max(prepared) if both else sum(prepared))
    prepare += sum(one.alone for one in times.values())
    most, scored, each = 0, {}, {}
    for name in names:
        strategy = make_strategy(settings.search, name)
        later = strategy.population * strategy.later * settings.search.generations
        first_seconds, later_seconds = evaluation_seconds(settings, amount, times, name)
        scored[name] = strategy.population + later
        most += scored[name]
        each[name] = (strategy.population * first_seconds + later * later_seconds) / scored[name]
    return {
        "evaluations": most,
        "seconds_prepare": prepare,
        "seconds_per_evaluation": each,
        "seconds_search": prepare + sum(scored[name] * each[name] for name in names),
        "peak_memory_mb": (held + search_bytes(task, settings, amount, times, scored)) / 2**20,
        "images_bytes": sum(round(kept_bytes(task, amount, scored[name], name)) for name in names),
        "images_scored": dict(amount.validation),
    }


def evaluation_seconds(
    settings: EvolveSettings, amount: Amount, times: Mapping[str, Times], name: str
) -> tuple[float, float]:
    """Return the seconds of an evaluation in generation 0, where the partner is the original, and of a later one."""
    own, other, images = times[name], times.get(OTHER[name]), amount.validation[name]
    original = own.helper if other is None else other.original
    passed = original if other is None or settings.search.schedule == "separate" else other.passed
    built = BUILT_LATER if settings.scoring.reconstruct and not settings.tuning.wanted else 1.0
    first = own.build + images * (own.scored + original)
    later = built * own.build + images * (own.scored + passed)
    return first / amount.threads, later / amount.threads


def seconds(call: Callable[[], Any], device: torch.device, least: int = 2) -> float:
    """Return the least seconds of a few calls: the first one also looks for memory and kernels."""
    wait = functools.partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    taken: list[float] = []
    while len(taken) < least or (len(taken) < REPEATS and sum(taken) < ENOUGH):
        wait()
        started = time.perf_counter()
        call()
        wait()
        taken.append(time.perf_counter() - started)
    return min(taken)


@torch.inference_mode()
def passed(network: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, precision: str) -> torch.Tensor:
    """Return what a network makes of images, as the fitness asks it."""
    with torch.autocast(images.device.type, torch.bfloat16, precision == "bfloat16", False):
        return network(images).float()


def shown(task: Task, amount: Amount, name: str) -> torch.Tensor:
    """Return the parts of a side's first images that are measured: (N, C, h, w)."""
    train, (height, width) = task.images[task.cyclegan[name].source].train, amount.part
    images = train.tensor(range(min(amount.parts, len(train))))
    return images[..., :height, :width].contiguous().to(task.device)


def measure(task: Task, settings: EvolveSettings, amount: Amount, name: str, space: FilterSpace, gain: float) -> Times:
    """Do a little of a side's work and say what each kind takes; called for both sides at once.

    Args:
        task, settings, amount: of the search.
        name, space: of the side.
        gain: how many times as fast a pass is that has all threads, not only its side's share of them.
    """
    side, device, images = task.cyclegan[name], task.device, shown(task, amount, name)
    whole = len(images) * amount.share  # as much as so many whole images

    def seconds_of(network: Callable[[torch.Tensor], torch.Tensor], given: torch.Tensor) -> float:
        return seconds(lambda: passed(network, given, settings.precision), device) / whole

    builder = NetworkBuilder(side.generator, space)
    prepare, order_bytes, count = 0.0, 0, amount.calibration[name]
    shared = original = seconds_of(side.generator, images)
    if settings.scoring.reconstruct:
        exact = seconds(lambda: passed(side.generator, images, "float32"), device)
        taken, builder.reconstruction = measure_moments(side.generator, space, images, count, exact)
        prepare = taken + count * exact / whole
        order, order_bytes = measure_order(builder.reconstruction, device)
        prepare += order
    bits = individual(task, settings, name, space)
    several = torch.get_num_threads() > 1
    with one_thread(amount.alone):
        if several and amount.alone:
            original = seconds_of(side.generator, images)
        build = seconds(lambda: afresh(builder, bits), device)
        network = builder.fresh(bits)
        compact = seconds_of(network, images)
        helper, fake = task.cyclegan.helpers.get(OTHER[name]), passed(network, images, settings.precision)
        judge = None if side.discriminator is None else functools.partial(judged, side.discriminator)
        judging = 0.0 if judge is None else seconds_of(judge, fake)
        returned = 0.0 if helper is None else seconds_of(helper, fake)
        if builder.reconstruction is not None and builder.reconstruction.has_batch_norm:
            build += compact * max(0.0, count - whole)  # statistics were taken of the measured images only
        if settings.tuning.wanted:
            build += tuning_seconds(task, settings, amount, name, builder, bits)
    passes = (TRACED_PASSES + COST_PASSES) * (FLOAT32 if settings.precision == "bfloat16" else 1.0)
    alone = shared * (passes + amount.validation[name] * (1 + judging / original)) / gain
    scored = judging + compact * (2 if settings.fitness.identity else 1)
    return Times(prepare, alone, original, returned, scored, compact, build, order_bytes)


def afresh(builder: NetworkBuilder, bits: Sequence[int]) -> nn.Module:
    """Return an individual's network, no layer of which was solved before."""
    builder.forget()
    return builder.fresh(bits)


def measure_moments(
    generator: nn.Module, space: FilterSpace, images: torch.Tensor, count: int, plain: float
) -> tuple[float, Reconstruction]:
    """Return the seconds that the moments of ``count`` images take beside their passes; and what reconstructs weights.

    They are the same for images of any size, of which as many patches are taken.

    Args:
        generator, space: of the side.
        images: that moments are taken of here.
        count: of the calibration images.
        plain: seconds of a pass of ``images`` in float32.
    """
    sums = MomentSums(solvable_layers(generator), count)
    plain, images = plain * min(1.0, SAMPLED / len(images)), images[:SAMPLED]
    taken = seconds(lambda: sums.add(generator, images), images.device)
    started = time.perf_counter()
    moments = sums.moments()
    finished = time.perf_counter() - started
    for entry in moments.values():  # so few images leave them singular, and filters would be chosen one by one
        entry.gram.diagonal().add_(entry.gram.diagonal().mean())
    reconstruction = Reconstruction(generator, space, images, moments=moments)
    return count * max(0.0, taken - plain) / len(images) + finished, reconstruction


def measure_order(reconstruction: Reconstruction, device: torch.device) -> tuple[float, int]:
    """Return the seconds of the importance order, from those of one layer of a group, and the bytes of a group."""
    offsets = reconstruction.space.offsets
    groups = [fed_layers(reconstruction, range(*ends)) for ends in itertools.pairwise(offsets)]
    layers = [(reconstruction, name, columns) for fed in groups for name, columns in fed.items()]
    if not layers:
        return 0.0, 0
    works = [order_work(*layer) for layer in layers]
    work = min(work for work in works if work >= LEAST_WORK * max(works))
    _, name, columns = layers[works.index(work)]
    taken = seconds(lambda: ranked(reconstruction, {name: columns}), device, 1)
    element = reconstruction.moments[name].gram.element_size()
    held = max(sum(3 * columns.size**2 for columns in fed.values()) for fed in groups)
    return taken * sum(works) / work, held * element


def order_work(reconstruction: Reconstruction, name: str, columns: Any) -> float:
    """Return about how many products the choice among filters, whose (n, b) columns these are, takes in a layer."""
    (count, width), (outputs, unknowns) = columns.shape, reconstruction.moments[name].weight.shape
    own, rounds = count * width, math.sqrt(2 * PATIENCE * count)
    others = unknowns - own
    choices = own**3 + 2 * own**2 * outputs + rounds * own * width * (width + 2 * outputs)
    return float(choices + others * (others**2 + 2 * own * (others + own + outputs)))


def individual(task: Task, settings: EvolveSettings, name: str, space: FilterSpace) -> list[int]:
    """Return an individual as large as the budget allows, or where nothing bounds it, one of every other filter."""
    budget = replace(settings.budget, max_latency_ms=None)  # what that allows takes minutes to find out
    generator, rounded = task.cyclegan[name].generator, space.with_repair(multiple=budget.round_to)
    held = hold_to_budgets(NetworkCost(rounded, positions(generator, task.images.size)), budget, name)
    bounded = held.cut(held.full())
    return bounded if bounded != held.full() else held.repair([index % 2 for index in range(len(held))])


def tuning_seconds(
    task: Task, settings: EvolveSettings, amount: Amount, name: str, builder: NetworkBuilder, bits: Sequence[int]
) -> float:
    """Return the seconds that an individual is tuned for, from a few steps with smaller images."""
    images = task.images
    small = small_size(images.size, TUNED_PART, images.multiple)
    if not all(takes(network, small) for network in task.cyclegan.networks().values()):
        small = images.size
    domains, channels = list(images.domains), images.channels
    framing = replace(images.framing, size=small, load=None)
    data = UnpairedImages(images.root, framing, multiple=images.multiple, channels=channels, needed=domains)

    def tuner(steps: int) -> TunedBuilder:
        return TunedBuilder(
            builder, task.cyclegan, data, name, replace(settings.tuning, steps=steps), precision=settings.precision
        )

    few, more = (seconds(lambda: tuner(steps).fresh(bits), task.device, 1) for steps in (1, 3))  # noqa: B023
    return tuner(settings.tuning.steps).steps * max(0.0, more - few) / 2 * math.prod(images.size) / math.prod(small)


def search_bytes(
    task: Task, settings: EvolveSettings, amount: Amount, times: Mapping[str, Times], scored: Mapping[str, float]
) -> float:
    """Return the bytes that a search takes at its peak beside what the process holds before.

    Freed memory stays with the thread that had it: what sides and evaluations take for a while adds up.
    """
    images = task.images
    total = float(sum(decoded_bytes(task, name) * len(images_of) for name, images_of in images.sets().items()))
    batch, evaluation = images_at_once(amount.size, task.device), 0.0
    for turn, (name, side) in enumerate(task.cyclegan.items()):
        largest, outputs = layer_bytes(side.generator, amount)
        of_image = image_bytes(task, name)
        calibration = amount.calibration[name] if settings.scoring.reconstruct else 0
        total += (calibration + 2 * amount.validation[name]) * of_image
        total += kept_bytes(task, amount, scored[name], name)
        brief = [outputs if turn == 0 else 0.0, PASSED_LAYERS * largest * batch]  # tracing one after the other
        if settings.scoring.reconstruct:
            total += moments_bytes(side.generator) + SOLVED_BYTES
            brief += [SAMPLED_LAYERS * largest * min(batch, calibration) + PATCH_BLOCKS * PATCH_BYTES]
            brief += [times[name].order_bytes]
        total += max(brief)
        translated = amount.validation[name] * of_image
        evaluation = max(evaluation, PASSED_LAYERS * largest * batch + TRANSLATIONS * translated)
    return total + amount.threads * evaluation


def image_bytes(task: Task, name: str) -> int:
    """Return the bytes of one of a side's images as the networks have it."""
    return task.images.channels[task.cyclegan[name].source] * math.prod(task.images.size) * torch.float32.itemsize


def decoded_bytes(task: Task, name: str) -> int:
    """Return the bytes that a decoded image of a set, such as "trainA", is kept in; all are about as large."""
    images = task.images.sets()[name]
    return images._load(0).nbytes if len(images) else 0


def kept_bytes(task: Task, amount: Amount, individuals: float, name: str) -> float:
    """Return the bytes of what is kept of a side's translations, of so many individuals: one's at least."""
    each = amount.validation[name] * image_bytes(task, name)
    return max(each, min(CACHE_BYTES, individuals * each))


def moments_bytes(generator: nn.Module) -> int:
    """Return how many bytes the moments of a generator's layers take: G, W and W G of each; see ``LayerMoments``."""
    total = 0
    for layer in solvable_layers(generator).values():
        unknowns = layer.weight.numel() // layer.out_channels + (layer.bias is not None)
        total += (unknowns * unknowns + 2 * layer.out_channels * unknowns) * layer.weight.element_size()
    return total


@torch.no_grad()
def layer_bytes(network: nn.Module, amount: Amount) -> tuple[float, float]:
    """Return the bytes, of one image in float32, of the largest layer's input and output and of all outputs."""
    found: list[tuple[int, int]] = []

    def note(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        sizes = [t.numel() * torch.float32.itemsize for t in (*inputs, output) if isinstance(t, torch.Tensor)]
        found.append((sum(sizes), sizes[-1] if sizes else 0))

    for shape_only, size, factor in ((True, amount.size, 1.0), (False, amount.part, 1 / amount.share)):
        tried = shapes_only(network) if shape_only else network
        weight = next(tried.parameters())
        leaves = {name: module for name, module in tried.named_modules() if not list(module.children())}
        found.clear()
        try:
            with hooks(leaves, note, after=True):
                tried(torch.zeros(1, input_channels(network), *size, device=weight.device, dtype=weight.dtype))
        except Exception:  # a network may make tensors of its own, which are not on "meta"
            continue
        return max(both for both, _ in found) * factor, sum(output for _, output in found) * factor
    return 0.0, 0.0
