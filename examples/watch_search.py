"""Watch a search through ``coevolve``'s callback: diversity and hypervolume in a DEAP Logbook.

    python examples/watch_search.py

Diversity is the share of bits in which two individuals of a generation differ, on average over all pairs. The
hypervolume is that of the generation's N and L_DisA below a reference point, by moocore, which comes with DEAP. Those
two terms don't depend on the partner, so the figure means the same in every generation, as the fitness does not: watch
the best one fall from generation 0, which meets the original partner, to generation 1, which meets a pruned one.
"""

import argparse

import moocore
import numpy as np
from deap import tools

from ganprune import (
    CycleFitness,
    UnpairedImages,
    coevolve,
    default_checkpoint,
    default_images,
    load_cyclegan,
    make_toolbox,
)
from ganprune.evolution import Genetic

REFERENCE = (1.0, 1.0)  # N of the unpruned generator, and an L_DisA that none should have: 1 is real against false


def diversity(population):
    """Mean distance of two individuals, in [0, 1], from the share of ones in each bit."""
    bits = np.array(population)  # (individuals, bits)
    ones = bits.mean(0)
    return float((2 * ones * (1 - ones)).mean() * len(bits) / (len(bits) - 1))


def hypervolume(population):
    """Area that the population dominates below the reference point, in [0, 1]."""
    points = [(individual.terms["n"], individual.terms["l_disa"]) for individual in population]
    return float(moocore.hypervolume(points, ref=REFERENCE))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default=default_checkpoint(), help="folder of a trained CycleGAN")
    parser.add_argument("--data", default=default_images(), help="folder with trainA, trainB, testA, testB")
    parser.add_argument("--population", type=int, default=6)
    parser.add_argument("--generations", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)

    images = UnpairedImages(options.data)
    cyclegan = load_cyclegan(options.checkpoint)
    toolboxes, logbooks = {}, {}
    for side in cyclegan:
        fitness = CycleFitness(cyclegan, images, side, validation_images=16)
        toolboxes[side] = make_toolbox(fitness.space, fitness)
        Genetic(population=options.population).register(toolboxes[side])
        logbooks[side] = tools.Logbook()
        logbooks[side].header = "generation", "mean", "best", "diversity", "hypervolume"

    statistics = tools.Statistics(lambda individual: individual.scalar_fitness)
    statistics.register("mean", lambda values: round(float(np.mean(values)), 4))
    statistics.register("best", lambda values: round(float(np.max(values)), 4))

    def watch(step):
        logbooks[step.side].record(
            generation=step.generation,
            diversity=round(diversity(step.population), 3),
            hypervolume=round(hypervolume(step.population), 3),
            **statistics.compile(step.population),
        )

    coevolve(toolboxes, generations=options.generations, seed=options.seed, callback=watch)
    for side, logbook in logbooks.items():
        print(f"{side}\n{logbook}")


if __name__ == "__main__":
    main()
