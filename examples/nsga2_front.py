"""NSGA-II: a front of compromises between size and quality, in place of one answer.

    python examples/nsga2_front.py

Both objectives are minimised: N (Eq. 10), and the quality term of Eq. 11, L_DisA + lam * L_cyc. The other side meets
one individual of each generation: the one with the best scalar fitness, or, with ``elite="knee"``, the front's knee.
``ganprune evolve --algorithm nsga2`` is the same search on the command line.
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
from ganprune.evolution import NSGA2
from ganprune.evolution.algorithms.nsga2 import knee


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default=default_checkpoint(), help="folder of a trained CycleGAN")
    parser.add_argument("--data", default=default_images(), help="folder with trainA, trainB, testA, testB")
    parser.add_argument("--population", type=int, default=8)
    parser.add_argument("--generations", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)

    images = UnpairedImages(options.data)
    cyclegan = load_cyclegan(options.checkpoint)
    spaces, toolboxes = {}, {}
    for side in cyclegan:
        fitness = CycleFitness(cyclegan, images, side, validation_images=16)
        spaces[side] = fitness.space
        toolboxes[side] = make_toolbox(fitness.space, fitness)
        NSGA2(population=options.population).register(toolboxes[side])

    elites = coevolve(toolboxes, generations=options.generations, seed=options.seed)

    for side, toolbox in toolboxes.items():
        front = toolbox.front()  # of the last generation, all measured with one partner, smallest first
        middle = front[knee([individual.fitness.values for individual in front])]
        full = spaces[side].parameter_count(spaces[side].full())
        print(f"{side}: {len(front)} compromises\n  times fewer   size  quality       F")
        for individual in front:
            size, quality = individual.fitness.values
            fewer = full / spaces[side].parameter_count(individual)
            marks = [name for name, one in (("elite", elites[side]), ("knee", middle)) if one == individual]
            print(f"  {fewer:11.2f} {size:6.3f} {quality:8.3f} {individual.scalar_fitness:7.4f}  {', '.join(marks)}")


if __name__ == "__main__":
    main()
