"""Binary particle swarm optimisation.

J. Kennedy and R. C. Eberhart, "A discrete binary version of the particle swarm algorithm", IEEE International
Conference on Systems, Man, and Cybernetics, 1997. The inertia weight is that of Y. Shi and R. C. Eberhart, "A modified
particle swarm optimizer", 1998; 1 leaves the algorithm as first published. Per particle and bit,

    v  <-  inertia * v  +  cognitive * r1 * (p - x)  +  social * r2 * (g - x),   held to [-clamp, clamp]
    x  <-  1 with probability 1 / (1 + exp(-v)), else 0

where x is the particle, p its personal best, g the best of all personal bests, and r1, r2 are uniform in [0, 1).

Personal bests are measured again in every batch, because the partner changes: a particle replaces its personal best
only by what both are worth now. Velocities begin in the direction of the particle's own bits; random ones would throw
away what the initialiser chose in the first flight.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from functools import partial

import numpy as np

from ganprune.evolution.algorithms.strategy import Strategy, number
from ganprune.evolution.individual import Individual

_DECIMALS = 4  # of a velocity: a saved state is smaller, and continues exactly since the running one is rounded too


@dataclass(eq=False)
class BinarySwarm(Strategy):
    """Binary PSO for one side. Uses ``population`` and ``repair`` of the toolbox.

    Args:
        population: particles; a batch after the first has twice as many individuals.
        inertia: weight of the velocity before, at least 0.
        cognitive: pull of the particle's personal best (c1), at least 0.
        social: pull of the global best (c2), at least 0.
        clamp: the largest velocity (V_max), above 0. At 6, a bit still changes against its velocity once in 400
            draws, at 4 once in 56.

    Attributes:
        bests: personal bests, evaluated in the last batch.
        velocities: (particles, bits), or None before the first batch.

    Raises:
        UserError: a parameter is out of range.
    """

    later = 2  # particles and their personal bests
    holds_best = "bests"

    _: KW_ONLY
    inertia: float = number(1.0, 0)
    cognitive: float = number(2.0, 0)
    social: float = number(2.0, 0)
    clamp: float = number(6.0, 0, above=True)
    bests: list[Individual] = field(init=False, repr=False, default_factory=list)
    velocities: np.ndarray | None = field(init=False, repr=False, default=None)

    def generate(self) -> list[Individual]:
        """Return the first particles, or the particles where their velocities take them and all personal bests."""
        if self.velocities is None:
            return self._drawn(self.population)
        bests = [self._copy(best) for best in self.bests]
        particles: list[Individual] = []
        for chances in 1 / (1 + np.exp(-self.velocities)):  # (bits,) of each particle
            particles += self._novel(partial(self._fly, chances), particles + bests)
        return particles + bests

    def update(self, evaluated: list[Individual]) -> None:
        """Renew personal bests and velocities."""
        particles = evaluated[: self.population]
        known = evaluated[self.population :] or particles
        self.bests = [
            particle if particle.fitness > best.fitness else best
            for particle, best in zip(particles, known, strict=True)
        ]
        x = np.array(particles, dtype=float)  # (particles, bits)
        v = self.velocities
        if v is None:
            v = np.random.random(x.shape) * self.clamp * (2 * x - 1)
        p = np.array(self.bests, dtype=float)  # (particles, bits)
        g = np.array(self.get_best(), dtype=float)  # (bits,)
        r1, r2 = np.random.random(x.shape), np.random.random(x.shape)
        moved = self.inertia * v + self.cognitive * r1 * (p - x) + self.social * r2 * (g - x)
        self.velocities = np.round(np.clip(moved, -self.clamp, self.clamp), _DECIMALS)

    def _fly(self, chances: np.ndarray) -> list[Individual]:
        ones = (np.random.random(len(chances)) < chances).astype(int)
        return [Individual(self.toolbox.repair(ones.tolist()))]
