"""Whom long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganprune.evolution.coevolution import Progress
from ganprune.evolution.individual import Individual


@dataclass(frozen=True)
class Reporter:
    """Whom the stages tell how far they are; every entry may be left out.

    Attributes:
        stage: called with a line when a stage begins, and the number of evaluations or steps that it takes at most.
        search: called after each step of the search.
        evaluation: called after each evaluation, with side and individual.
        training: called after each fine-tuning step with (step, total, losses).
        images: called with (done, total) as images are translated.
        directory: gets the run directory, once there is one.
        note: called with a line about what was found.
    """

    stage: Callable[..., Any] = lambda text, total=None: None
    search: Callable[[Progress], Any] | None = None
    evaluation: Callable[[str, Individual], Any] | None = None
    training: Callable[[int, int, dict[str, float]], Any] | None = None
    images: Callable[[int, int], Any] | None = None
    directory: list[Path] = field(default_factory=list)
    note: Callable[[str], Any] = lambda text: None
