"""Baselines among the contenders: they cost no evaluation, so that they are a level to be reached."""

from __future__ import annotations

import time
from pathlib import Path

from ganprune.baselines.choose import BaselineBuilder, make_subjects, prune, sizes_by_ratio
from ganprune.baselines.registry import Baseline
from ganprune.baselines.subject import Subject
from ganprune.evolution.individual import pack_bits
from ganprune.pipeline.task import Task
from ganprune.runs.directory import LOGBOOK, RunDirectory
from ganprune.settings.evolve import EvolveSettings


class Baselines:
    """Chooses filters by baselines, tracing generators and taking moments once for all that can share them.

    Args:
        task: the CycleGAN and its images.
    """

    def __init__(self, task: Task):
        self.task = task
        self._subjects: dict[tuple[str, int], dict[str, Subject]] = {}

    def choose(self, settings: EvolveSettings, baseline: Baseline, path: Path) -> dict[str, BaselineBuilder]:
        """Return both sides' builders, and write what was chosen as the logbook of a search that costs nothing.

        Args:
            settings: with the target ratio and the seed.
            baseline: criterion and weights.
            path: directory of the run.

        Raises:
            UserError: the ratio can't be reached.
        """
        key = settings.scoring.encoding, settings.scoring.calibration_images
        if key not in self._subjects:
            self._subjects[key] = make_subjects(
                self.task.cyclegan, self.task.images, encoding=key[0], calibration_images=key[1]
            )
        subjects = self._subjects[key]
        most = sizes_by_ratio(subjects, settings.budget.target_ratio or 1)
        log, builders, started = [], {}, time.perf_counter()
        for name, subject in subjects.items():
            bits, builders[name] = prune(subject, baseline, settings.seed, most[name])
            elite = {"side": name, "generation": 0, "cost": 0, "best": None, "elite": pack_bits(bits)}
            log.append({**elite, "timing": {"seconds": time.perf_counter() - started}})
        RunDirectory.create(path).write_jsonl(LOGBOOK, log)
        return builders
