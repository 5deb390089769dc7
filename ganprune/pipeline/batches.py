"""Batches in the dry run: one image alone, and as many as a run will pass at once, give the same; and how failures of
any stage of the dry run are said."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ganprune.device import images_at_once
from ganprune.errors import UserError, reason
from ganprune.models.architecture import FOREIGN, describe
from ganprune.models.cyclegan import OTHER
from ganprune.models.scores import judged
from ganprune.pipeline.task import Task
from ganprune.settings.evolve import EvolveSettings

DEPENDS = 1e-3  # of an output's range: differences that are more than rounding
SKIP = "Correct it, or skip the dry run: --no-dry-run."


@contextmanager
def trying(stage: str, network: str, remedy: str = SKIP) -> Iterator[None]:
    """Say of whatever goes wrong within the block in which stage of the dry run, and with which network, it did."""
    where = f"dry run, {stage}: {network}"
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error.field}", error.value, error.expected, error.remedy) from error
    except Exception as error:  # networks that we did not write fail as they like
        found = f"{_failing(error)}{type(error).__name__}: {reason(error)}"
        raise UserError(where, found, "networks with which this can be done", remedy) from error


def _failing(error: BaseException) -> str:
    """Return the class of the network in which an error arose, with a colon; "" where it was outside of any."""
    selves = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
    modules = [module for module in selves if isinstance(module, nn.Module)]
    return f"{type(modules[0]).__name__}: " if modules else ""


@torch.inference_mode()
def pass_batches(task: Task, sizes: tuple[Collection[int], Collection[int]]) -> list[str]:
    """Pass training images through all networks, one by one and in batches; ours are known to take any.

    Args:
        task: its networks and images.
        sizes: the batches that generators, and discriminators, will be given.

    Returns:
        A note for each network whose output for an image depends on the others in its batch.

    Raises:
        UserError: a network fails, or returns something of another size.
    """
    notes: list[str] = []
    for name, side in task.cyclegan.items():
        real = task.images[side.source].train.tensor().to(task.device)
        fake = _compare(f"generator {name}", side.generator, real, sizes[0], notes)
        if side.discriminator is not None:
            judge = functools.partial(judged, side.discriminator)
            _compare(f"discriminator {name}", side.discriminator, fake, sizes[1], notes, judge)
        if (helper := task.cyclegan.helpers.get(OTHER[name])) is not None:
            _compare(f"generator {OTHER[name]}", helper, fake, sizes[0], notes)
    return notes


def batch_sizes(task: Task, settings: EvolveSettings, *, searches: bool, finishes: bool) -> tuple[set[int], set[int]]:
    """Return how many images a run will pass at once through generators, and through discriminators.

    Args:
        task: whole, with the images that the run is about.
        settings: of the run.
        searches: whether individuals are tuned.
        finishes: whether networks are fine-tuned and measured.
    """
    at_once = images_at_once(task.images.size, task.device)
    splits = task.images.domains.values()
    generators = {min(at_once, settings.scoring.validation_images, len(each.validation)) for each in splits}
    generators |= {min(at_once, len(each.test)) for each in splits} if finishes else set()
    discriminators, trained = set(generators), []
    if finishes and settings.finetune.steps:
        trained.append((settings.finetune.batch, settings.training.identity > 0))
    if searches and settings.tuning.wanted:
        trained.append((settings.tuning.batch, settings.tuning.objective == "cyclegan"))
    for batch, identity in trained:
        generators.add(batch * (2 if identity else 1))  # images of both domains in one pass
        discriminators |= {batch, 2 * batch}  # generated images; these and real ones
    return generators, discriminators


def _compare(
    whose: str,
    network: nn.Module,
    images: torch.Tensor,
    sizes: Collection[int],
    notes: list[str],
    call: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """Return a network's output for images one by one; note whether it is another one in larger batches."""
    call, apart = call or network, 0.0
    with trying("a batch of one image", whose):
        alone = torch.cat([call(image[None]) for image in images])
    for count in sorted(set(sizes) - {1}) if describe(network)["kind"] == FOREIGN else ():
        which = [index % len(images) for index in range(count)]
        with trying(f"a batch of {count} images", whose):
            together, wanted = call(images[which]), alone[which]
            if together.shape != wanted.shape:
                expected = f"{tuple(wanted.shape)}, as one by one"
                raise UserError("output", f"shape {tuple(together.shape)}", expected, SKIP)
            apart = max(apart, float((together - wanted).abs().max()))
    if apart > DEPENDS * max(1.0, float(alone.abs().max())):
        notes.append(
            f"dry run: what {whose} makes of an image depends on the others in its batch (differences up to "
            f"{apart:.2g}): scores, figures and translations depend on how many pass at once"
        )
    return alone
