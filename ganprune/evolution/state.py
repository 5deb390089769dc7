"""Where a search stands between two steps, in memory and in ``state.json``.

At the end of a step three files are written in this order: the step's records in ``evaluations.jsonl`` (as they come),
its line in ``logbook.jsonl``, and ``state.json``, which says how many lines of the other two belong to it. A crash
between any two of them leaves lines too many, never too few: surplus evaluations are replayed, surplus log lines cut.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from deap.base import Toolbox

from ganprune.errors import UserError
from ganprune.evolution.individual import Individual, pack_partner, unpack_bits
from ganprune.evolution.ledger import Ledger
from ganprune.evolution.randomness import Randomness
from ganprune.evolution.toolbox import operators_of
from ganprune.runs.directory import CONFIG, EVALUATIONS, LOGBOOK, STATE, RunDirectory, refuse_changes
from ganprune.runs.files import check_format

FORMAT = 1


class SearchState:
    """All that the steps to come depend on.

    Making one resets the strategies of the toolboxes, and gives each toolbox ``known(bits)``, by which strategies tell
    whether bits have been scored in the run. A run that was interrupted before its first step begins anew,
    with its evaluations replayed.

    Args:
        toolboxes: side -> toolbox with a strategy.
        run: the directory where the state is kept, or None.
        schedule: who meets whom; must not change when the run is resumed.
        seed: of the run's random generators; must not change either.
        resume: begin with what the directory holds.

    Attributes:
        step: the next step; each generation has one per side, and generation 0 comes first. The steps before it have
            one line each in the logbook.
        previous: side -> the elite at the beginning of the generation in progress, None before there is one.
        ledger: scores and costs.
        randomness: the run's random generators.
        seconds: wall time of the run so far.
        notes: what happened in the step in progress that is worth a line.

    Raises:
        UserError: a file is damaged, or the run was started with other settings.
    """

    def __init__(
        self, toolboxes: Mapping[str, Toolbox], run: RunDirectory | None, *, schedule: str, seed: int, resume: bool
    ):
        self.toolboxes, self.run = toolboxes, run
        operators = {side: operators_of(toolbox) for side, toolbox in toolboxes.items()}
        self.settings = {"schedule": schedule, "seed": seed, "operators": operators}
        self.step = 0
        self.seconds = 0.0
        self.notes: list[str] = []
        self.previous: dict[str, Individual | None] = dict.fromkeys(toolboxes)
        self.randomness = Randomness(seed)
        for toolbox in toolboxes.values():
            toolbox.reset()
        lines = self._load(run) if run and resume and run.exists(STATE) else 0
        self.ledger = Ledger(run, lines)
        for side, toolbox in toolboxes.items():
            toolbox.register("known", self.ledger.knows, side)
        if run and len(log := run.read_jsonl(LOGBOOK, least=self.step)) > self.step:
            run.write_jsonl(LOGBOOK, log[: self.step])

    @property
    def generation(self) -> int:
        """The generation that the next step belongs to."""
        return self.step // len(self.toolboxes)

    @property
    def side(self) -> str:
        """The side that the next step belongs to."""
        return list(self.toolboxes)[self.step % len(self.toolboxes)]

    def advance(self, log: Mapping[str, Any]) -> None:
        """Count the step just taken, append its log line and replace ``state.json``."""
        self.step += 1
        self.notes.clear()
        self.ledger.settle()
        if self.run:
            self.run.append_jsonl(LOGBOOK, log)
            self.run.flush(EVALUATIONS, LOGBOOK)  # lest the state count lines that a power cut takes away
            self.run.write_json(STATE, self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON data."""
        return {
            "format": FORMAT,
            **self.settings,
            "step": self.step,
            "generation": self.generation,
            "side": self.side,
            "previous": {side: pack_partner(elite) for side, elite in self.previous.items()},
            "strategies": {side: toolbox.state_dict() for side, toolbox in self.toolboxes.items()},
            "random": self.randomness.state_dict(),
            "evaluations": self.ledger.evaluations,
            "rescores": self.ledger.rescores,
            "cost": self.ledger.cost,
            "evaluation_lines": self.ledger.lines,
            "logbook_lines": self.step,
            "timing": {"seconds": self.seconds},
        }

    def _load(self, run: RunDirectory) -> int:
        """Take over what ``state.json`` says; return how many evaluations it counts."""
        state = run.read_json(STATE)
        check_format(state, FORMAT, STATE)
        try:
            if (sides := list(state["strategies"])) != list(self.toolboxes):
                raise UserError("sides", list(self.toolboxes), f"{sides}, as saved", "Resume the same sides.")
            refuse_changes(state, self.settings, "saved", "Resume with the saved ones, or start a new run.")
            self.step, lines = state["step"], state["evaluation_lines"]
            counts = self.step, lines, state["logbook_lines"]
            if not all(type(count) is int and count >= 0 for count in counts) or counts[2] != self.step:
                raise ValueError("steps, evaluations and lines of the logbook: {}, {}, {}".format(*counts))
            self.seconds = float(state["timing"]["seconds"])
            for side, bits in state["previous"].items():
                self.previous[side] = None if bits is None else Individual(unpack_bits(bits))
            for steps_before, (side, toolbox) in enumerate(self.toolboxes.items()):
                toolbox.load_state_dict(state["strategies"][side])
                if self.step > steps_before:
                    toolbox.get_best()  # it was evaluated, so that it has one
            self.randomness.load_state_dict(state["random"])
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
            found, expected = f"a state that cannot be used ({error!r})", "the state that the run saved"
            remedy = "Restore the file, or start a new run."
            raise UserError(str(run.path(STATE)), found, expected, remedy) from error
        return lines


@contextmanager
def opened(
    run: str | os.PathLike[str] | RunDirectory | None, config: Mapping[str, Any] | None
) -> Iterator[RunDirectory | None]:
    """Within the block, this process alone works on the run; a new one begins there with its ``config.json``.

    Args:
        run: its directory, made if the run is new; or one that the caller has made, with a ``config.json`` or without.
            None to keep nothing on disk.
        config: of a new run; None to resume one.

    Raises:
        UserError: nothing to resume, another process works on it, or something there would be overwritten.
    """
    if run is None:
        if config is None:
            raise UserError("resume", True, "a run to resume", "Give run=, the directory of the run.")
        yield None
        return
    if not isinstance(run, RunDirectory):
        run = RunDirectory.open(run) if config is None else RunDirectory.create(run)
    with run.locked():
        if config is not None:
            run.check_free(STATE, EVALUATIONS, LOGBOOK)
            if not run.exists(CONFIG):
                run.write_json(CONFIG, config)
        yield run
