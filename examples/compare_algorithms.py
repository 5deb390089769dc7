"""Compare the genetic algorithm with annealing and a particle swarm, at equal cost and over several seeds.

    python examples/compare_algorithms.py
    ganprune compare ga annealing:cooling=adaptive swarm --common "--population 4" --max-evaluations 24 --seeds 2

Elites are compared by their *reference fitness*: with the original partner, on validation images that no search has
used. Effect sizes (A12) are measured against the first contender. Two seeds of a tiny budget show how it is done, not
which algorithm is better.
"""

import argparse
from pathlib import Path

from ganprune import RunDirectory, default_checkpoint, default_images
from ganprune.compare import Contender, compare
from ganprune.pipeline.task import load_task
from ganprune.settings.evolve import make_settings


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=default_checkpoint(), help="folder of a trained CycleGAN")
    parser.add_argument("--data", type=Path, default=default_images(), help="folder with trainA, trainB, testA, testB")
    parser.add_argument("--population", type=int, default=4)
    parser.add_argument("--max-evaluations", type=float, default=24, help="the cost of each run, both sides together")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", help="a new directory  [default: next free runs/compare-NNN]")
    options = parser.parse_args(argv)

    # A contender is a name and the settings of ganprune evolve: operators or the fitness could differ as well.
    common = {"population": options.population, "validation_images": 16, "precision": "float32"}
    contenders = [
        Contender("ga", make_settings("quick", algorithm="ga", **common)),
        Contender("annealing", make_settings("quick", algorithm="annealing:cooling=adaptive", **common)),
        # A swarm's batch is its particles and their personal bests: half as many particles, as many generations.
        Contender("swarm", make_settings("quick", algorithm=f"swarm:population={options.population // 2}", **common)),
    ]
    comparison = compare(
        load_task(options.checkpoint, options.data),
        contenders,
        max_evaluations=options.max_evaluations,
        seeds=options.seeds,
        out=options.out or RunDirectory.next_free("runs", "compare"),
        report=print,
    )
    print(comparison.directory.path("table.md").read_text(encoding="utf-8"))
    best = max(comparison.summary["contenders"].items(), key=lambda item: item[1]["mean"])
    print(
        f"highest mean reference fitness: {best[0]}, {best[1]['mean']:.4f}; files in {comparison.directory.directory}"
    )


if __name__ == "__main__":
    main()
