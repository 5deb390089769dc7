"""Swap one operator: the same search with two crossovers, and which of them came out better.

    python examples/swap_operator.py

An operator is a name, a name with parameters, or any function by DEAP's conventions, registered as in DEAP. Elites of
different searches have met different partners, so their own fitnesses can't be compared. Here each is scored again with
the *original* partner, on validation images that no search has used. One seed of so short a search says little: repeat
it with ``--seed`` before you believe a difference.
"""

import argparse

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


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default=default_checkpoint(), help="folder of a trained CycleGAN")
    parser.add_argument("--data", default=default_images(), help="folder with trainA, trainB, testA, testB")
    parser.add_argument("--population", type=int, default=6)
    parser.add_argument("--generations", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)

    images = UnpairedImages(options.data)
    cyclegan = load_cyclegan(options.checkpoint)
    fitness = {side: CycleFitness(cyclegan, images, side, validation_images=16) for side in cyclegan}
    reference = {side: CycleFitness(cyclegan, images, side, validation_images=16, skip=16) for side in cyclegan}

    for name in ("cxGroup", "cxUniform"):
        toolboxes = {}
        for side in cyclegan:
            toolbox = make_toolbox(fitness[side].space, fitness[side], mate="cxGroup:indpb=0.5")  # a name
            if name == "cxUniform":
                toolbox.register("mate", tools.cxUniform, indpb=0.3)  # a function, as DEAP users register it
            Genetic(options.population, reproduction=0.1, crossover=0.8, mutation=0.1).register(toolbox)
            toolboxes[side] = toolbox
        elites = coevolve(toolboxes, generations=options.generations, seed=options.seed)
        scores = {side: reference[side](elite) for side, elite in elites.items()}
        shown = ", ".join(f"{side} F = {score[0]:.4f} at N = {score.terms['n']:.2f}" for side, score in scores.items())
        print(f"{name:10} {shown}")


if __name__ == "__main__":
    main()
