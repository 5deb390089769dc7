"""The terms of a side's objective that compare it with the original, made from their rows."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ganprune.settings.terms import TERMS
from ganprune.settings.training import TrainingSettings
from ganprune.training.augmentation import Batch
from ganprune.training.distances import over_layers
from ganprune.training.teacher import Teacher
from ganprune.training.views import Views

Distance = Callable[[list[torch.Tensor], list[torch.Tensor]], torch.Tensor]


@dataclass(frozen=True)
class Taught:
    """What a side is compared with, and how.

    Attributes:
        teacher: the original.
        distances: of the compact generator's view and the original's, by the names of the terms.
    """

    teacher: Teacher
    distances: Mapping[str, Distance]

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The distances that are trained or count on the way, by the names of their terms."""
        return {name: each for name, each in self.distances.items() if isinstance(each, nn.Module)}

    def __call__(self, source: Batch, fake: torch.Tensor, inside: Views) -> dict[str, torch.Tensor]:
        """Return the terms, unweighted.

        Args:
            source: the batch that is translated.
            fake: what the compact generator made of it, (B, C, H, W) in [-1, 1].
            inside: its features.
        """
        ours, theirs = _floats({**self.teacher.look(fake), **inside}), _floats(self.teacher(source))
        # In float32 whatever the precision: variances and Gram matrices are small differences of large sums.
        with torch.autocast(fake.device.type, enabled=False, cache_enabled=False):
            views = {name: TERMS[name].view for name in self.distances}
            return {name: each(ours[views[name]], theirs[views[name]]) for name, each in self.distances.items()}


def make_taught(teacher: Teacher, student: nn.Module, settings: TrainingSettings, example: Batch) -> Taught:
    """Return the terms that have a weight, and what they need.

    Args:
        teacher: the original, with the views that these terms compare.
        student: the compact generator.
        settings: the weights.
        example: the first batch.
    """
    terms = {name: term for name, term in TERMS.items() if getattr(settings, name) and term.view in teacher.views}
    found = {name: _named(term.distance) for name, term in terms.items()}
    classes = [name for name, each in found.items() if isinstance(each, type)]
    if classes:
        with torch.no_grad():
            fake, inside = teacher.inside.run(student, example.images, original=False)
            ours, theirs = {**teacher.look(fake.float()), **inside}, teacher(Batch(example.images, None))
    distances: dict[str, Distance] = {}
    for name, each in found.items():
        view = terms[name].view
        if name in classes:
            distances[name] = each(ours[view], theirs[view], partial(teacher.of_data_set, view)).to(teacher.device)
        else:
            distances[name] = over_layers(each)
    return Taught(teacher, distances)


def compared_views(settings: TrainingSettings) -> set[str]:
    """Return the views that the terms with a weight compare."""
    return {term.view for name, term in TERMS.items() if getattr(settings, name)}


def _named(distance: str) -> Any:
    module, _, name = distance.partition(":")
    return getattr(importlib.import_module(f"ganprune.training.{module}"), name)


def _floats(views: Views) -> Views:
    return {view: [tensor.float() for tensor in tensors] for view, tensors in views.items()}
