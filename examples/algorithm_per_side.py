"""Give each side an algorithm of its own: the paper's genetic algorithm for A2B, a binary swarm for B2A.

    python examples/algorithm_per_side.py

The sides know of each other only through ``get_best()``, the elite that the other side meets. So algorithms, population
sizes and operators can differ from side to side.
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
from ganprune.evolution import BinarySwarm, Genetic


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default=default_checkpoint(), help="folder of a trained CycleGAN")
    parser.add_argument("--data", default=default_images(), help="folder with trainA, trainB, testA, testB")
    parser.add_argument("--population", type=int, default=6)
    parser.add_argument("--generations", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)

    # A swarm's batch holds every particle beside its personal best: half as many particles make it as large as the
    # genetic algorithm's.
    strategies = {
        "A2B": Genetic(population=options.population),
        "B2A": BinarySwarm(population=max(2, options.population // 2)),
    }
    images = UnpairedImages(options.data)
    cyclegan = load_cyclegan(options.checkpoint)
    toolboxes = {}
    for side, strategy in strategies.items():
        fitness = CycleFitness(cyclegan, images, side, validation_images=16)
        toolboxes[side] = make_toolbox(fitness.space, fitness)
        strategy.register(toolboxes[side])

    def show(step):
        name, terms = type(strategies[step.side]).__name__, step.elite.terms
        print(
            f"generation {step.generation} {step.side} by {name:11}: {len(step.population)} individuals, best "
            f"F = {step.elite.scalar_fitness:.4f} (N = {terms['n']:.2f}, L_DisA = {terms['l_disa']:.3f})"
        )

    coevolve(toolboxes, generations=options.generations, seed=options.seed, callback=show)


if __name__ == "__main__":
    main()
