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

from typing import Any

import numpy as np

from ganprune.evolution.algorithms.strategy import Strategy, best_of, check_number, check_population, check_saved
from ganprune.evolution.individual import Individual

_DECIMALS = 4  # of a velocity: a saved state is smaller, and continues exactly since the running one is rounded too


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

    def __init__(
        self,
        population: int = 32,
        *,
        inertia: float = 1.0,
        cognitive: float = 2.0,
        social: float = 2.0,
        clamp: float = 6.0,
    ):
        self.size = check_population(population)
        self.inertia = check_number("inertia", inertia, 0)
        self.cognitive = check_number("cognitive", cognitive, 0)
        self.social = check_number("social", social, 0)
        self.clamp = check_number("clamp", clamp, 0, above=True)
        self.settings = {
            "population": population,
            "inertia": inertia,
            "cognitive": cognitive,
            "social": social,
            "clamp": clamp,
        }
        self.bests: list[Individual] = []
        self.velocities: np.ndarray | None = None

    def generate(self) -> list[Individual]:
        """Return the first particles, or the particles where their velocities take them and all personal bests."""
        if self.velocities is None:
            return self.toolbox.population(n=self.size)
        ones = (np.random.random(self.velocities.shape) < _sigmoid(self.velocities)).astype(int)
        particles = [Individual(self.toolbox.repair(row)) for row in ones.tolist()]
        return particles + [self._copy(best) for best in self.bests]

    def update(self, evaluated: list[Individual]) -> None:
        """Renew personal bests and velocities."""
        particles = evaluated[: self.size]
        known = evaluated[self.size :] or particles
        self.bests = [
            particle if particle.fitness > best.fitness else best
            for particle, best in zip(particles, known, strict=True)
        ]
        self.velocities = self._accelerate(np.array(particles, dtype=float))

    def get_best(self) -> Individual:
        """Return the global best, which is the best individual of the last batch."""
        return best_of(self.bests)

    def state_dict(self) -> dict[str, Any]:
        """Return personal bests and velocities as JSON data."""
        return {
            "settings": dict(self.settings),
            "bests": [best.record() for best in self.bests],
            "velocities": None if self.velocities is None else self.velocities.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a ``state_dict`` of the same settings, else UserError."""
        check_saved(state["settings"], self.settings)
        self.bests = self._restore(state["bests"])
        saved = state["velocities"]
        self.velocities = None if saved is None else np.array(saved, dtype=float)

    def _accelerate(self, x: np.ndarray) -> np.ndarray:
        """Return the velocities of particles at ``x`` (particles, bits)."""
        v = self.velocities
        if v is None:
            v = np.random.random(x.shape) * self.clamp * (2 * x - 1)
        p = np.array(self.bests, dtype=float)  # (particles, bits)
        g = np.array(self.get_best(), dtype=float)  # (bits,)
        r1, r2 = np.random.random(x.shape), np.random.random(x.shape)
        moved = self.inertia * v + self.cognitive * r1 * (p - x) + self.social * r2 * (g - x)
        return np.round(np.clip(moved, -self.clamp, self.clamp), _DECIMALS)


def _sigmoid(velocity: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-velocity))
