"""Batch norms have two readings, and public test scripts take the one that ganprune does not: how far they are apart.

Those scripts run such a network as it is trained, with the statistics of the image at hand; ganprune with the running
ones that the file holds, as ``eval()`` does. Which one was meant is for the user to say.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from ganprune.models.architecture import reread
from ganprune.models.description import BATCH, RUNNING, Architecture
from ganprune.pipeline.task import Task

IMAGES = 4
VISIBLE = 2.0  # grey levels of 255


@torch.inference_mode()
def statistics_differ(generator: nn.Module, images: torch.Tensor) -> float | None:
    """Return how much another reading of its batch norms changes a generator's images.

    Args:
        generator: in evaluation mode.
        images: (N, C, H, W) in [-1, 1].

    Returns:
        The mean absolute difference of its images with running and with each image's own statistics, in grey levels
        of 255; None where there is no other reading: it has no batch norms with running statistics, or is of an
        architecture that is not known.
    """
    config = _batch_normed(generator)
    if config is None:
        return None
    other = reread(generator, replace(config, statistics=BATCH))  # type: ignore[call-arg]
    apart = [(generator(image) - other(image)).abs().mean() for image in images.split(1)]
    return 127.5 * float(torch.stack(apart).mean())


def statistics_notes(task: Task) -> list[str]:
    """Return a line for each generator whose images change visibly with the statistics of its batch norms."""
    notes = []
    for name, side in task.cyclegan.items():
        config = _batch_normed(side.generator)
        if config is None:
            continue  # before any image is read
        train = task.images[side.source].train
        real = train.tensor(range(min(IMAGES, len(train)))).to(task.device)
        apart = statistics_differ(side.generator, real)
        if apart is not None and apart >= VISIBLE:
            notes.append(
                f"the batch norms of generator {name} use running statistics; with each image's own, as public test "
                f"scripts have it, its images differ by {apart:.1f} grey levels of 255 on average, over {len(real)} of "
                f"yours. If those are the right ones: --generator {config.kind}:statistics={BATCH}"
            )
    return notes


def _batch_normed(network: nn.Module) -> Architecture | None:
    """Return the description of a network with batch norms and running statistics; None for any other."""
    config = getattr(network, "config", None)
    if isinstance(config, Architecture) and config.norm == "batch" and config.statistics == RUNNING:  # type: ignore[attr-defined]
        return config
    return None
