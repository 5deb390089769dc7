"""Plug a side's toolbox into a plain DEAP loop, with DEAP's Statistics, Logbook and HallOfFame.

    python examples/deap_loop.py

The toolbox has DEAP's own names (population, evaluate, select, mate, mutate, map, clone). ``evaluate(individual)``
without a partner meets the original generator of the other side. One side alone is not co-evolution (it is the paper's
ablation), but its fitness always means the same, and only therefore a HallOfFame may compare across generations.
"""

import argparse
import random

import numpy as np
from deap import algorithms, tools

from ganprune import (
    CycleFitness,
    UnpairedImages,
    default_checkpoint,
    default_images,
    load_cyclegan,
    make_toolbox,
)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default=default_checkpoint(), help="folder of a trained CycleGAN")
    parser.add_argument("--data", default=default_images(), help="folder with trainA, trainB, testA, testB")
    parser.add_argument("--population", type=int, default=8)
    parser.add_argument("--generations", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)

    cyclegan = load_cyclegan(options.checkpoint)
    fitness = CycleFitness(cyclegan, UnpairedImages(options.data), "A2B", validation_images=16)
    space = fitness.space
    toolbox = make_toolbox(space, fitness, select="selTournament:tournsize=2")

    def repaired(operator):
        """Repair children (DEAP's idiom for constraints); ``coevolve``'s strategies do it themselves."""

        def repaired(*parents, **parameters):
            children = operator(*parents, **parameters)
            for child in children:
                child[:] = toolbox.repair(child)
            return children

        return repaired

    toolbox.decorate("mate", repaired)
    toolbox.decorate("mutate", repaired)

    statistics = tools.MultiStatistics(
        fitness=tools.Statistics(lambda individual: individual.fitness.values[0]),
        size=tools.Statistics(space.size_share),
    )
    for name, function in (("mean", np.mean), ("max", np.max), ("min", np.min)):
        statistics.register(name, lambda values, function=function: round(float(function(values)), 4))
    best = tools.HallOfFame(1)
    random.seed(options.seed)  # DEAP's loops draw from the global state; coevolve(seed=...) keeps one of its own
    population = toolbox.population(n=options.population)
    _, logbook = algorithms.eaSimple(
        population, toolbox, cxpb=0.7, mutpb=0.3, ngen=options.generations, stats=statistics, halloffame=best
    )
    highest = max(logbook.chapters["fitness"].select("max"))
    print(f"best of {sum(logbook.select('nevals'))} evaluations: F = {highest}, N = {space.size_share(best[0]):.3f}")


if __name__ == "__main__":
    main()
