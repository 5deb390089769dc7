"""Co-evolution of two populations (Algorithm 1): the main loop; or the evolution of one, with no partner.

Each side's individuals are scored together with one individual of the other side, its elite, because the cycle term
of the fitness needs both generators. Generation 0 meets the original, unpruned partners and does not count in the
number of generations. After that, by schedule:

    alternate       side 2 meets the elite that side 1 has just found (the paper's text)
    simultaneous    both meet the elites of the generation before (the paper's listing)
    separate        both always meet the originals (the paper's ablation)
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deap.base import Toolbox

from ganprune.errors import UserError, did_you_mean
from ganprune.evolution.algorithms.strategy import STEPS
from ganprune.evolution.individual import BROKEN, Individual, pack_bits, pack_partner
from ganprune.evolution.scoring import score_batch
from ganprune.evolution.state import FORMAT, SearchState, opened
from ganprune.runs.directory import RunDirectory
from ganprune.runs.interruption import Interruption

_log = logging.getLogger(__name__)

EXHAUSTED = "nothing new was found: every individual had been scored before"
SCHEDULES = ("alternate", "simultaneous", "separate")
_NEEDED = ("evaluate", "map", "clone", *STEPS)


@dataclass(frozen=True)
class Progress:
    """One finished step, as the callback gets it.

    Attributes:
        side: whose step it was.
        generation: 0 for the one that meets the original partners.
        population: the evaluated batch.
        new: the share of it that had not been scored on this side before, in [0, 1]; the rest are known individuals,
            measured again.
        elite: its best, by the strategy's account.
        evaluations: (side, bits) scored so far in the run, both sides together.
        rescores: scores of known bits against a further partner so far.
        cost: evaluations + rescores / 2.
        seconds: wall time of the run so far, interruptions left out.
        partner: what the batch was scored with; None is the original.
    """

    side: str
    generation: int
    population: Sequence[Individual]
    new: float
    elite: Individual
    evaluations: int
    rescores: int
    cost: float
    seconds: float
    partner: Individual | None


def coevolve(
    toolboxes: Mapping[str, Toolbox],
    *,
    generations: int = 100,
    schedule: str = "alternate",
    max_evaluations: float | None = None,
    max_seconds: float | None = None,
    run: str | os.PathLike[str] | RunDirectory | None = None,
    seed: int = 0,
    callback: Callable[[Progress], Any] | None = None,
    on_evaluation: Callable[[str, Individual], Any] | None = None,
    resume: bool = False,
) -> dict[str, Individual]:
    """Search both sides in turn; the same seed gives the same result, interrupted and resumed or not.

    Args:
        toolboxes: side -> toolbox, two, or one that has no rival; from ``make_toolbox``, with a ``Strategy``
            registered on each.
        generations: generations after generation 0 (the paper's T), at least 1.
        schedule: ``alternate``, ``simultaneous`` or ``separate``: see the module.
        max_evaluations: stop before the step that would bring the cost (evaluations + rescores / 2, both sides
            together) above this. Generation 0 has to fit.
        max_seconds: stop before a step that, taking as long as the last one, would end later than this. Generation 0
            is always finished.
        run: a new directory for the run, or one that the caller has made; None keeps nothing on disk.
        seed: of everything the strategies draw, in [0, 2**32).
        callback: called with a :class:`Progress` after each step, its state saved.
        on_evaluation: called with side and individual whenever an individual's score becomes known.
        resume: continue the run from its last whole step, with the same toolboxes, schedule and seed. More
            generations or a larger budget may be given.

    Returns:
        Side -> elite, with the fitness it had against its last partner.

    Raises:
        UserError: an argument cannot be used, or the run's files can't.
        Interrupted: Ctrl-C or SIGTERM; the last whole step and all finished evaluations are in the run's directory.
    """
    sides = list(toolboxes)
    rivals = dict(zip(sides, reversed(sides), strict=True))  # one side alone would be its own, and meets nobody
    limits = {"max_evaluations": max_evaluations, "max_seconds": max_seconds}
    _check_arguments(toolboxes, generations, schedule, seed, limits)
    config = {
        "format": FORMAT,
        "sides": sides,
        "generations": generations,
        "schedule": schedule,
        "seed": seed,
        **limits,
    }
    step_seconds = 0.0
    exhausted: set[str] = set()

    with opened(run, None if resume else config) as directory, Interruption() as interruption:
        state = SearchState(toolboxes, directory, schedule=schedule, seed=seed, resume=resume)
        started = time.perf_counter() - state.seconds
        while state.generation <= generations:
            if max_seconds is not None and state.generation > 0 and state.seconds + step_seconds > max_seconds:
                break
            generation, side, toolbox = state.generation, state.side, toolboxes[state.side]
            if side == sides[0] and generation > 0:
                state.previous = {name: Individual(toolboxes[name].get_best()) for name in toolboxes}
            partner = _partner(state, rivals[side], schedule)

            with state.randomness.installed():
                batch = toolbox.generate()
            if _exceeds(state, batch, partner, max_evaluations):
                break  # what generate has drawn is in no saved state
            known = state.ledger.evaluations
            hits = score_batch(state, batch, partner, interruption, on_evaluation)
            with state.randomness.installed():
                toolbox.update(batch)

            elapsed = time.perf_counter() - started
            step_seconds, state.seconds = elapsed - state.seconds, elapsed
            progress = _progress(state, batch, partner, (state.ledger.evaluations - known) / len(batch))
            state.advance(_log_line(progress, step_seconds, hits, state.notes))
            if not progress.new and side not in exhausted:
                exhausted.add(side)
                _log.warning("%s, generation %d: %s", side, generation, EXHAUSTED)
            if callback:
                callback(progress)
            interruption.check()
    return {side: toolbox.clone(toolbox.get_best()) for side, toolbox in toolboxes.items()}


def _partner(state: SearchState, rival: str, schedule: str) -> Individual | None:
    """Whom the next batch meets: bits only, since the partner's own fitness belongs to another meeting."""
    if state.generation == 0 or schedule == "separate" or rival == state.side:
        return None
    if schedule == "simultaneous":
        return state.previous[rival]
    return Individual(state.toolboxes[rival].get_best())


def _exceeds(
    state: SearchState, batch: Sequence[Individual], partner: Individual | None, max_evaluations: float | None
) -> bool:
    """Whether scoring the batch would overdraw the budget; in generation 0 that is an error."""
    if max_evaluations is None:
        return False
    cost = state.ledger.cost + state.ledger.price(state.side, map(pack_bits, batch), pack_partner(partner))
    if cost <= max_evaluations:
        return False
    if state.generation == 0:
        expected = f"at least {cost:g}, what generation 0 of side {state.side} brings it to"
        raise UserError("max_evaluations", max_evaluations, expected, "Raise it, or make the populations smaller.")
    return True


def _progress(state: SearchState, batch: Sequence[Individual], partner: Individual | None, new: float) -> Progress:
    return Progress(
        side=state.side,
        generation=state.generation,
        population=tuple(batch),
        new=new,
        elite=state.toolboxes[state.side].get_best(),
        evaluations=state.ledger.evaluations,
        rescores=state.ledger.rescores,
        cost=state.ledger.cost,
        seconds=state.seconds,
        partner=partner,
    )


def _log_line(progress: Progress, step_seconds: float, hits: int, notes: Sequence[str]) -> dict[str, Any]:
    """The step's line in the logbook; all that differs from one execution to the next is under ``timing``."""
    values = [individual.scalar_fitness for individual in progress.population]
    broken = sum(BROKEN in (individual.terms or {}) for individual in progress.population)
    line: dict[str, Any] = {
        "side": progress.side,
        "generation": progress.generation,
        "population": len(values),
        "new": progress.new,
        "best": progress.elite.scalar_fitness,
        "mean": math.fsum(values) / len(values),
        "density": sum(progress.elite) / len(progress.elite),
        "elite": pack_bits(progress.elite),
        "terms": progress.elite.terms,
        "evaluations": progress.evaluations,
        "rescores": progress.rescores,
        "cost": progress.cost,
        "timing": {"seconds": progress.seconds, "step_seconds": step_seconds, "cache_hits": hits},
    }
    happened = []
    if broken:
        happened.append(f"{broken} of {len(values)} gave images that are not finite; they have the worst fitness")
    if not progress.new:
        happened.append(EXHAUSTED)
    if happened:
        line["note"] = "; ".join(happened)
    if notes:
        line["timing"]["notes"] = list(notes)
    return line


def _check_arguments(
    toolboxes: Mapping[str, Toolbox], generations: int, schedule: str, seed: int, limits: Mapping[str, float | None]
) -> None:
    if len(toolboxes) not in (1, 2):
        raise UserError("toolboxes", list(toolboxes), "one or two sides", "Give one toolbox for each direction.")
    for side, toolbox in toolboxes.items():
        missing = [name for name in _NEEDED if not hasattr(toolbox, name)]
        if missing:
            found, expected = f"no {', '.join(missing)}", "a toolbox with a strategy registered on it"
            remedy = "Use make_toolbox(), then for example Genetic().register(toolbox)."
            raise UserError(f"toolbox of side {side}", found, expected, remedy)
    if type(generations) is not int or generations < 1:
        raise UserError("generations", generations, "a whole number of at least 1", "Choose another number.")
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise UserError("seed", seed, "a whole number from 0 to 4294967295", "Choose another seed.")
    if schedule not in SCHEDULES:
        raise UserError("schedule", schedule, "one of " + ", ".join(SCHEDULES), did_you_mean(schedule, SCHEDULES))
    for name, limit in limits.items():
        if limit is not None and not limit > 0:
            raise UserError(name, limit, "a positive number, or None for no limit", "Raise it or leave it out.")
