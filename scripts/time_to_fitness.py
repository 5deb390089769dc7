"""Wall time to the reference fitness that the paper's configuration ends with: ours against the published procedure.

The target is the best reference fitness (mean of both sides) among the elites of a run of the paper's configuration,
T=100, without its tuning, which would take days::

    ganprune evolve --preset paper --tune-passes 0 --finetune-steps 0 --precision auto --out runs/paper
    ganprune bench --no-paper --json > runs/bench.json
    python scripts/time_to_fitness.py --paper runs/paper --bench runs/bench.json

The published procedure's time is that run's number of scored individuals times the seconds that ``ganprune bench``
measured for one, with and without tuning. Ours is measured here: ``quick`` until it reaches the target, preparation
included. Use an idle machine, and the same number of threads for both.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import click
import torch

from ganprune.compare.runs import score_elites
from ganprune.device import resolve_precision
from ganprune.evolution.coevolution import Progress, coevolve
from ganprune.evolution.individual import pack_bits
from ganprune.filters.builder import make_builders
from ganprune.pipeline.reference import reference_of
from ganprune.pipeline.search import prepare
from ganprune.pipeline.task import Task, load_task
from ganprune.runs.directory import LOGBOOK, RunDirectory
from ganprune.settings.evolve import make_settings


def ours(task: Task, seed: int) -> list[dict[str, Any]]:
    """Run the search of ``quick``; return its elites as logbook lines, seconds counted from before preparation."""
    precision = resolve_precision("auto", torch.device("cpu"))
    settings = make_settings("quick", seed=seed, precision=precision)
    start = time.perf_counter()
    search = prepare(task, settings, lambda *stage: None)
    lines: list[dict[str, Any]] = []

    def note(step: Progress) -> None:
        lines.append(
            {
                "side": step.side, "generation": step.generation, "cost": step.cost, "best": step.elite.scalar_fitness,
                "elite": pack_bits(step.elite), "timing": {"seconds": time.perf_counter() - start},
            }
        )  # fmt: skip

    coevolve(search.toolboxes, generations=settings.search.generations, seed=seed, callback=note)
    return lines


@click.command()
@click.option("--paper", type=click.Path(path_type=Path), required=True, help="A finished run of the paper's preset.")
@click.option("--bench", type=click.Path(path_type=Path), required=True, help="What ganprune bench --json printed.")
@click.option("--seeds", type=int, default=3, show_default=True)
@click.option("--threads", type=int, default=2, show_default=True)
def main(paper: Path, bench: Path, seeds: int, threads: int) -> None:
    """Print target, times and ratios."""
    torch.set_num_threads(threads)
    task = load_task(None, None, device="cpu")
    quick = make_settings("quick")
    builders = make_builders(task.cyclegan, task.images)
    reference = reference_of(task, builders, quick.scoring.validation_images)
    log = RunDirectory.open(paper).read_jsonl(LOGBOOK)
    theirs = score_elites(log, reference)["steps"]
    target, generation = max((step["best"], -step["generation"]) for step in theirs if step["best"] is not None)
    scored = log[-1]["evaluations"] + log[-1]["rescores"]
    print(f"paper's configuration: {scored} individuals scored in {log[-1]['generation']} generations")
    print(f"its best reference fitness: {target:.4f}, in generation {-generation}")
    figures = json.loads(bench.read_text())["shipped"]
    published = {
        "without tuning": figures["published"]["seconds"] * scored,
        "with tuning": figures["published_with_tuning_seconds"] * scored,
    }
    times = []
    for seed in range(1, seeds + 1):
        steps = score_elites(ours(task, seed), reference)["steps"]
        reached = [step for step in steps if step["best"] is not None and step["best"] >= target]
        last = next(step["best"] for step in reversed(steps))
        if reached:
            times.append(reached[0]["seconds"])
            print(f"ours, seed {seed}: {times[-1]:.1f} s, at cost {reached[0]['cost']:.0f}; ends at {last:.4f}")
        else:
            print(f"ours, seed {seed}: not reached; ends at {last:.4f}")
    for name, seconds in published.items():
        ratio = f"{seconds / statistics.median(times):.0f}" if times else "-"
        print(f"published procedure {name}: {seconds / 3600:.2f} h; {ratio} times ours (median of {len(times)} runs)")


if __name__ == "__main__":
    main()
