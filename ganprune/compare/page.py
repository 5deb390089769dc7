"""A comparison as ``ganprune report`` shows it: table, tests and curves, of what is finished so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganprune.compare.runs import CURVE
from ganprune.compare.statistics import FORMAT, points
from ganprune.compare.tables import COLUMNS, notes, rows
from ganprune.errors import UserError
from ganprune.report.curves import step_values
from ganprune.report.page.charts import Chart, Points, draw
from ganprune.report.page.contents import Comparison
from ganprune.runs.directory import CONFIG, SUMMARY, RunDirectory
from ganprune.runs.files import check_format

GRID = 120  # places of a curve


def holds_comparison(path: str | Path) -> bool:
    """Return whether a folder holds a comparison."""
    directory = RunDirectory(path)
    config = directory.read_json(CONFIG) if directory.exists(CONFIG) else None
    return isinstance(config, dict) and config.get("command") == "compare"


def read_comparison(path: str | Path) -> Comparison:
    """Return what a page shows of a comparison, finished or not.

    Raises:
        UserError: its files are damaged, or another version's.
    """
    directory = RunDirectory.open(path)
    config = directory.read_json(CONFIG)
    check_format(config, FORMAT, directory.path(CONFIG))
    try:
        return _read(directory, config, str(path))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        found = f"entries that can't be read ({error!r})"
        raise UserError(str(directory.directory), found, "a comparison's files", "Restore them.") from error


def _read(directory: RunDirectory, config: Mapping[str, Any], label: str) -> Comparison:
    names, seeds = list(config["contenders"]), config["seeds"]
    curves: dict[str, list[Any]] = {}
    for index, name in enumerate(names, 1):
        runs = [RunDirectory(directory.path(f"run-{index:02d}-seed-{seed}")) for seed in seeds]
        curves[name] = [points(run.read_json(CURVE)) for run in runs if run.exists(CURVE)]
    done = sum(map(len, curves.values()))
    summary = directory.read_json(SUMMARY) if directory.exists(SUMMARY) else None
    state = f"{done} of {len(names) * len(seeds)} runs are finished; the table comes with the last one."
    facts = [("seeds", ", ".join(map(str, seeds))), ("cost of each run", f"{config['max_evaluations']:g}")]
    facts += [(key, str(config[key])) for key in ("checkpoint", "data", "size", "data_sha256", "checkpoint_sha256")]
    return Comparison(
        label, "" if summary else state, COLUMNS, rows(summary) if summary else (), notes(summary) if summary else (),
        _chart(curves), [(name, _settings(data)) for name, data in config["contenders"].items()], facts,
    )  # fmt: skip


def _settings(data: Any) -> str:
    """Return a contender's settings in one line."""
    if not isinstance(data, Mapping):
        return str(data)
    return ", ".join(f"{name}: {_settings(value)}" for name, value in data.items() if value is not None)


def _chart(curves: Mapping[str, Sequence[Sequence[tuple[float, float]]]]) -> Chart | None:
    """Return each contender's mean over its finished runs, with a band from the lowest to the highest."""
    finished = {name: [run for run in runs if run] for name, runs in curves.items()}
    last = max((run[-1][0] for runs in finished.values() for run in runs), default=None)
    if last is None:
        return None
    grid, lines = np.linspace(0, last or 1, GRID), []
    for name, runs in finished.items():
        if not runs:
            continue
        values = np.array([step_values(run, grid) for run in runs])
        shown = ~np.isnan(values).any(0)
        mean, low, high = (f(values[:, shown], axis=0).tolist() for f in (np.mean, np.min, np.max))
        lines.append(Points(name, list(zip(grid[shown].tolist(), mean, strict=True)), low=low, high=high))
    return draw(
        [line for line in lines if line.values], x_label="cost: evaluations + rescores / 2, both sides",
        y_label="best reference fitness so far",
        title="Mean of the seeds, with a band from the lowest to the highest",
    )  # fmt: skip
