"""Images go from -1, black, to 1, white: a network that others wrote may have them otherwise, without any error."""

from __future__ import annotations

from ganprune.metrics.evaluate import run
from ganprune.models.description import Architecture
from ganprune.pipeline.task import Task

IMAGES = 2
DARK, FAR = -0.1, 2.0  # nothing is as dark as this in images from 0 to 1; nothing is as bright in images to 1


def range_notes(task: Task) -> list[str]:
    """Return a line for each generator of a factory whose images don't go from -1 to 1; two of them are looked at."""
    notes = []
    for name, side in task.cyclegan.items():
        if isinstance(getattr(side.generator, "config", None), Architecture):
            continue  # ours end in a tanh
        train = task.images[side.source].train
        fakes = run(side.generator, train.tensor(range(min(IMAGES, len(train)))), task.device)
        low, high = float(fakes.min()), float(fakes.max())
        if low > DARK or high > FAR:
            notes.append(
                f"generator {name} makes images from {low:.2g} to {high:.2g}; ganprune gives and takes -1 (black) to 1 "
                "(white). If it has another range, let its factory return a network that converts on both sides"
            )
    return notes
