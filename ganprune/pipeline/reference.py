"""The reference fitness: what elites of different runs are compared by."""

from __future__ import annotations

from collections.abc import Mapping

from ganprune.filters.builder import NetworkBuilder, make_builders
from ganprune.fitness import CycleFitness
from ganprune.pipeline.task import Task
from ganprune.settings.evolve import EvolveSettings


def reference_fitness(
    task: Task, settings: EvolveSettings, builders: Mapping[str, NetworkBuilder]
) -> dict[str, CycleFitness]:
    """Return the fitness by which elites of different runs may be compared.

    Against the original partner, on validation images that the search did not see, with Eq. 11's default weights,
    reconstructed and untuned, in float32, whatever the run's own settings were.
    """
    if settings.scoring.reconstruct is False or settings.tuning.wanted:
        spaces = {name: builder.space for name, builder in builders.items()}
        builders = make_builders(task.cyclegan, task.images, spaces=spaces)
    return reference_of(task, builders, settings.scoring.validation_images)


def reference_of(task: Task, builders: Mapping[str, NetworkBuilder], skip: int) -> dict[str, CycleFitness]:
    """Return the reference fitness of these builders' networks, on validation images after the first ``skip``."""
    return {
        name: CycleFitness(task.cyclegan, task.images, name, builders=builders, skip=skip) for name in task.cyclegan
    }
