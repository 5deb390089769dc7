"""Co-evolve both generators with the Python API, part by part, down to compact networks.

    python examples/evolve.py
    python examples/evolve.py --checkpoint checkpoints/horse2zebra --data datasets/horse2zebra

``ganprune.compress(checkpoint, data, out=...)`` does all of it in one call, then fine-tunes and evaluates.
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
from ganprune.cost.profile import parameters
from ganprune.evolution import Genetic


def show(step):
    """Print a step of the search; ``step`` is a ``ganprune.evolution.Progress``."""
    met = "the original" if step.partner is None else "an elite"
    terms = ", ".join(f"{name} {step.elite.terms[name]:.4f}" for name in ("n", "l_disa", "l_cyc"))
    print(f"generation {step.generation} {step.side} met {met:12}  best F = {step.elite.scalar_fitness:.4f} ({terms})")


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
    fitness, toolboxes = {}, {}
    for side in cyclegan:  # "A2B", "B2A"
        fitness[side] = CycleFitness(cyclegan, images, side, validation_images=16)
        toolboxes[side] = make_toolbox(fitness[side].space, fitness[side])
        Genetic(population=options.population).register(toolboxes[side])

    elites = coevolve(toolboxes, generations=options.generations, seed=options.seed, callback=show)

    for side, elite in elites.items():
        original = cyclegan[side].generator
        compact = fitness[side].builders[side].final(elite)  # a plain torch.nn.Module: the filters are gone
        ratio = parameters(original) / parameters(compact)
        against_original = fitness[side](elite)[0]  # no partner given: the original one, the same for every elite
        print(
            f"{side}: {parameters(original):,} -> {parameters(compact):,} parameters ({ratio:.2f} times fewer), "
            f"F = {against_original:.4f} with the original partner"
        )


if __name__ == "__main__":
    main()
