"""Statistics of a comparison: one figure per contender and seed, higher is better.

Seeds are blocks: all contenders share them, so tests are paired. With few seeds a rank test cannot reach significance
whatever the data are: pairwise tests are only made from :data:`LEAST_SEEDS` seeds up.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

FORMAT = 1
LEAST_SEEDS = 10  # Wilcoxon's smallest p is 2 / 2**10 = 0.002 then: below 0.05 after Holm's correction of 15 pairs
BOOTSTRAPS = 10_000


def summarise(curves: Mapping[str, Sequence[Mapping[str, Any]]], target: float | None) -> dict[str, Any]:
    """Return the table and the tests; ``target`` None stands for the median of all runs' last values."""
    last = {name: [points(run)[-1][1] for run in runs] for name, runs in curves.items()}
    everything = sorted(value for values in last.values() for value in values)
    target = everything[len(everything) // 2] if target is None else target
    first, ranks, table = next(iter(last)), mean_ranks(last), {}
    for name, runs in curves.items():
        reached = [cost for run in runs if (cost := cost_to(target, run)) is not None]
        table[name] = {
            "mean": sum(last[name]) / len(runs), "interval": bootstrap_mean(last[name]), "rank": ranks[name],
            "a12": vargha_delaney(last[name], last[first]), "reached": len(reached),
            "cost_to_target": sum(reached) / len(reached) if reached else None,
            "cost": sum(points(run)[-1][0] for run in runs) / len(runs),
            "seconds": sum(run["steps"][-1]["seconds"] for run in runs) / len(runs), "values": last[name],
        }  # fmt: skip
    return {
        "format": FORMAT, "seeds": [run["seed"] for run in next(iter(curves.values()))], "target": target,
        "contenders": table, "friedman": friedman(last), "wilcoxon": pairwise_wilcoxon(last),
    }  # fmt: skip


def points(curve: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return (cost, best reference fitness so far) of a run."""
    return [(step["cost"], step["best"]) for step in curve["steps"] if step["best"] is not None]


def cost_to(target: float, curve: Mapping[str, Any]) -> float | None:
    """Return the cost at which a run reached a reference fitness, if it did."""
    return next((cost for cost, value in points(curve) if value >= target), None)


def bootstrap_mean(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean, from fixed draws; both ends equal for one value."""
    data = np.asarray(values, dtype=float)
    chosen = np.random.default_rng(0).integers(0, len(data), (BOOTSTRAPS, len(data)))
    low, high = np.percentile(data[chosen].mean(1), [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def vargha_delaney(first: Sequence[float], second: Sequence[float]) -> float:
    """Return A12 (Vargha and Delaney, 2000): the chance that a value of ``first`` is above one of ``second``.

    Ties count half: 0.5 is no difference; 0.56, 0.64 and 0.71 are called small, medium and large.
    """
    return float(stats.mannwhitneyu(first, second).statistic) / (len(first) * len(second))


def friedman(values: Mapping[str, Sequence[float]]) -> dict[str, float] | None:
    """Return statistic and p of the Friedman test over contenders, seeds as blocks.

    None where it does not apply: fewer than three contenders or two seeds, or all values equal.
    """
    rows = list(values.values())
    if len(rows) < 3 or len(rows[0]) < 2 or len({value for row in rows for value in row}) < 2:
        return None
    result = stats.friedmanchisquare(*rows)
    return {"statistic": float(result.statistic), "p": float(result.pvalue)}


def pairwise_wilcoxon(values: Mapping[str, Sequence[float]]) -> list[dict[str, object]] | None:
    """Return every pair's two-sided Wilcoxon signed-rank p, with Holm's correction; None below LEAST_SEEDS seeds."""
    if min(len(row) for row in values.values()) < LEAST_SEEDS:
        return None
    pairs = list(itertools.combinations(values, 2))
    raw = [_wilcoxon(values[a], values[b]) for a, b in pairs]
    return [
        {"first": a, "second": b, "p": p, "p_holm": corrected, "a12": vargha_delaney(values[a], values[b])}
        for (a, b), p, corrected in zip(pairs, raw, holm(raw), strict=True)
    ]


def _wilcoxon(first: Sequence[float], second: Sequence[float]) -> float:
    if all(a == b for a, b in zip(first, second, strict=True)):
        return 1.0
    return float(stats.wilcoxon(first, second).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected by Holm's step-down procedure (1979), in their order, at most 1."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def mean_ranks(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return each contender's mean rank over the seeds, 1 = best, ties averaged."""
    ranks = stats.rankdata(-np.array(list(values.values())), axis=0)
    return {name: float(rank) for name, rank in zip(values, ranks.mean(1), strict=True)}
