"""Swap the whole search algorithm: one line, ``Annealing(...).register(toolbox)`` in place of ``Genetic(...)``.

    python examples/swap_algorithm.py
    python examples/swap_algorithm.py --algorithm umda

Batches differ in size from algorithm to algorithm (annealing measures each current point beside its neighbour), so a
search is bounded by its cost, not by its generations: an individual scored for the first time costs 1, one that is
scored again because the partner has changed a half.
"""

import argparse

from ganprune import (
    CycleFitness,
    UnpairedImages,
    coevolve,
    default_checkpoint,
    default_images,
    load_cyclegan,
    make_toolbox,
)
from ganprune.evolution import NSGA2, UMDA, Annealing, BinarySwarm, Genetic, RandomSearch, WidthSearch

ALGORITHMS = {
    "ga": Genetic,
    "annealing": Annealing,
    "swarm": BinarySwarm,
    "nsga2": NSGA2,
    "umda": UMDA,
    "widths": WidthSearch,
    "random": RandomSearch,
}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default=default_checkpoint(), help="folder of a trained CycleGAN")
    parser.add_argument("--data", default=default_images(), help="folder with trainA, trainB, testA, testB")
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="annealing")
    parser.add_argument("--population", type=int, default=6)
    parser.add_argument("--generations", type=int, default=100, help="at most; the cost ends the search before")
    parser.add_argument("--max-evaluations", type=float, default=48, help="the cost of the search, both sides together")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)

    images = UnpairedImages(options.data)
    cyclegan = load_cyclegan(options.checkpoint)
    toolboxes = {}
    for side in cyclegan:
        fitness = CycleFitness(cyclegan, images, side, validation_images=16)
        toolboxes[side] = make_toolbox(fitness.space, fitness)
        ALGORITHMS[options.algorithm](population=options.population).register(toolboxes[side])  # the one line

    coevolve(
        toolboxes,
        generations=options.generations,
        max_evaluations=options.max_evaluations,
        seed=options.seed,
        callback=lambda step: print(
            f"{options.algorithm} generation {step.generation} {step.side}: {len(step.population)} individuals, "
            f"cost so far {step.cost:g}, best F = {step.elite.scalar_fitness:.4f}"
        ),
    )


if __name__ == "__main__":
    main()
