"""Use a strategy on a problem that has nothing to do with GANs: 0/1 knapsack, in DEAP's own ask-and-tell loop.

    python examples/knapsack.py

``ganprune.evolution`` knows bits only, and loads neither torch nor any network. A problem is an object with
``group_sizes``, ``saliency`` and ``repair``, and a function that scores an individual. The optimum, by dynamic
programming, is printed beside what was found.
"""

import argparse
import random

import numpy as np
from deap import algorithms, tools

from ganprune.evolution import UMDA, Annealing, BinarySwarm, Genetic, RandomSearch, make_toolbox

ALGORITHMS = {"ga": Genetic, "annealing": Annealing, "swarm": BinarySwarm, "umda": UMDA, "random": RandomSearch}


class Knapsack:
    """Items with a weight and a value; one group, and repair leaves items out, the worst value per weight first."""

    def __init__(self, items, seed):
        draw = random.Random(seed)
        self.weights = [draw.randint(10, 100) for _ in range(items)]
        self.values = [weight + draw.randint(-9, 30) for weight in self.weights]  # heavy things are worth more
        self.capacity = sum(self.weights) // 3
        self.group_sizes = [items]
        self.saliency = [value / weight for value, weight in zip(self.values, self.weights, strict=True)]
        self.order = sorted(range(items), key=self.saliency.__getitem__)

    def repair(self, bits):
        bits, load = list(bits), np.dot(bits, self.weights)
        for item in self.order:
            if load <= self.capacity:
                break
            load -= bits[item] * self.weights[item]
            bits[item] = 0
        return bits

    def evaluate(self, individual, partner=None):
        return (float(np.dot(individual, self.values)),)  # no partner: there is no other side

    def optimum(self):
        best = np.zeros(self.capacity + 1)  # the greatest value for each load
        for weight, value in zip(self.weights, self.values, strict=True):
            best[weight:] = np.maximum(best[weight:], best[:-weight] + value)
        return best[-1]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="umda")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--population", type=int, default=50)
    parser.add_argument("--generations", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)

    problem = Knapsack(options.items, options.seed)
    toolbox = make_toolbox(
        problem, problem.evaluate, mate="cxUniform", mutate="mutFlipBit:indpb=0.02", init="initUniform:density=0.3"
    )
    ALGORITHMS[options.algorithm](population=options.population).register(toolbox)  # generate and update

    statistics = tools.Statistics(lambda individual: individual.fitness.values[0])
    statistics.register("mean", np.mean)
    statistics.register("best", np.max)
    best = tools.HallOfFame(1)
    random.seed(options.seed)  # DEAP's loops draw from the global states
    np.random.seed(options.seed)
    _, logbook = algorithms.eaGenerateUpdate(
        toolbox, ngen=options.generations, stats=statistics, halloffame=best, verbose=False
    )
    every = max(1, options.generations // 5)
    for line in logbook[::every]:
        print(f"generation {line['gen']:3}: mean {line['mean']:7.1f}, best {line['best']:7.1f}")
    found, optimum = best[0].fitness.values[0], problem.optimum()
    print(f"{options.algorithm} found {found:g}; the optimum is {optimum:g}; {100 * found / optimum:.1f} %")


if __name__ == "__main__":
    main()
