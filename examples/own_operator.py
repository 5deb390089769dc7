"""Write your own operator in your own module, and name it in Python or on the command line.

    python examples/own_operator.py
    PYTHONPATH=examples ganprune evolve --mutate own_operator:mutMoveWidth:share=0.1

An operator follows DEAP's conventions: a mutation changes its argument in place and returns it in a tuple. Arguments
named ``group_sizes`` and ``saliency`` (per bit, higher = more worth keeping; where weights are reconstructed, by the
filter's place in the importance order) are filled in from the filter space; others are parameters. Draw from the global
``random``: ``coevolve`` keeps its state, so the same seed gives the same search. What comes out may be illegal (a group
without filters, or over the budget): the strategy repairs it.
"""

import argparse
import random
from itertools import accumulate

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


def mutMoveWidth(individual, group_sizes, saliency, share=0.2):
    """Take the least salient filters from one group; give as many, the most salient dropped ones, to another."""
    ends = list(accumulate(group_sizes))
    groups = [range(end - size, end) for end, size in zip(ends, group_sizes, strict=True)]
    giver, taker = random.sample(groups, 2)
    kept = sorted((index for index in giver if individual[index]), key=saliency.__getitem__)
    dropped = sorted((index for index in taker if not individual[index]), key=saliency.__getitem__, reverse=True)
    count = min(len(kept) - 1, len(dropped), max(1, round(share * random.random() * len(giver))))
    for index in kept[:count]:
        individual[index] = 0
    for index in dropped[:count]:
        individual[index] = 1
    return (individual,)


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
    toolboxes = {}
    for side in cyclegan:
        fitness = CycleFitness(cyclegan, images, side, validation_images=16)
        # The text form is the command line's. make_toolbox(..., mutate=mutMoveWidth) takes the function itself, and
        # toolbox.register("mutate", mutMoveWidth, group_sizes=..., saliency=...) is DEAP's way.
        toolbox = make_toolbox(fitness.space, fitness, mutate="own_operator:mutMoveWidth:share=0.3")
        Genetic(options.population, reproduction=0.1, crossover=0.4, mutation=0.5).register(toolbox)
        toolboxes[side] = toolbox

    elites = coevolve(toolboxes, generations=options.generations, seed=options.seed)
    for side, elite in elites.items():
        function, parameters = toolboxes[side].mutate.func, toolboxes[side].mutate.keywords
        print(f"{side}: {function.__name__} with share={parameters['share']}, F = {elite.scalar_fitness:.4f}")


if __name__ == "__main__":
    main()
