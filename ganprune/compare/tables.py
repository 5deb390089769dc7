"""A comparison's figures as text: a table and what the tests say, and CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from ganprune.compare.statistics import LEAST_SEEDS, cost_to, points
from ganprune.runs.directory import RunDirectory
from ganprune.runs.files import replace

COLUMNS = ("contender", "reference fitness", "95 % interval", "rank", "A12", "cost to target", "cost", "seconds")


def rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """Return the cells under :data:`COLUMNS`, best mean first."""
    seeds = len(summary["seeds"])
    result = []
    for name, figures in sorted(summary["contenders"].items(), key=lambda item: -item[1]["mean"]):
        low, high = figures["interval"]
        reached = f"{figures['reached']} of {seeds}"
        to_target = f"{figures['cost_to_target']:.0f} ({reached})" if figures["reached"] else f"- ({reached})"
        result.append(
            [
                name, f"{figures['mean']:.4f}", f"{low:.4f}-{high:.4f}", f"{figures['rank']:.1f}",
                f"{figures['a12']:.2f}", to_target, f"{figures['cost']:.0f}", f"{figures['seconds']:.1f}",
            ]
        )  # fmt: skip
    return result


def notes(summary: Mapping[str, Any]) -> list[str]:
    """Return, line by line, what the table's columns mean and what the tests say."""
    first, seeds = next(iter(summary["contenders"])), len(summary["seeds"])
    lines = [
        f"{seeds} seeds; A12: chance that a run is better than one of {first!r} (0.5: no difference); "
        f"target: reference fitness {summary['target']:.4f}, cost of the runs that reached it.",
    ]
    baselines = [name for name, figures in summary["contenders"].items() if figures["cost"] == 0]
    if baselines:
        lines.append(
            f"Without a search, so at no cost: {', '.join(map(repr, baselines))}; scored with the weights asked for."
        )
    test = summary["friedman"]
    if test:
        lines.append(f"Friedman test over contenders: chi2 = {test['statistic']:.2f}, p = {test['p']:.3g}.")
    if summary["wilcoxon"] is None:
        lines.append(
            f"No pairwise tests: below {LEAST_SEEDS} seeds Wilcoxon's test with Holm's correction can't reach "
            "significance, whatever the runs are."
        )
    else:
        lines += [_pair(pair) for pair in sorted(summary["wilcoxon"], key=lambda pair: pair["p_holm"])]
    return lines


def _pair(pair: Mapping[str, Any]) -> str:
    better = pair["first"] if pair["a12"] >= 0.5 else pair["second"]
    verdict = f"{better!r} is better" if pair["p_holm"] < 0.05 else "no significant difference"
    return (
        f"{pair['first']!r} against {pair['second']!r}: A12 = {pair['a12']:.2f}, Wilcoxon p = {pair['p']:.3g}, "
        f"after Holm {pair['p_holm']:.3g}: {verdict}."
    )


def markdown(summary: Mapping[str, Any]) -> str:
    """Return table and notes as Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows(summary)]
    return "\n".join([*lines, "", *(f"- {line}" for line in notes(summary))]) + "\n"


def write_tables(
    directory: RunDirectory, curves: Mapping[str, Sequence[Mapping[str, Any]]], summary: Mapping[str, Any]
) -> None:
    """Write ``curves.csv``, one line per step, and ``results.csv``, one per run."""
    everything = [(name, run) for name, runs in curves.items() for run in runs]
    steps = [{"contender": name, "seed": run["seed"], **step} for name, run in everything for step in run["steps"]]
    results = [
        {"contender": name, "seed": run["seed"], "reference": points(run)[-1][1], "cost": points(run)[-1][0],
         "seconds": run["steps"][-1]["seconds"], "cost_to_target": cost_to(summary["target"], run)}
        for name, run in everything
    ]  # fmt: skip
    for name, rows in (("curves.csv", steps), ("results.csv", results)):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        replace(directory.path(name), text.getvalue())
