"""Toy problems on bits for the tests: three groups of filters and fitnesses that depend on the partner; and a space
with budgets, that of a chain of convolutions."""

import numpy as np

from ganprune.evolution import Individual, Score, make_toolbox, registry
from ganprune.filters.repair import Repair
from ganprune.specs import Range

SIZES = (5, 3, 4)


class ToySpace:
    """Three groups; repair switches on the last filter of an empty one."""

    group_sizes = SIZES
    saliency = tuple(float(index) for index in range(sum(SIZES)))

    def repair(self, bits):
        bits, end = list(bits), 0
        for size in SIZES:
            end += size
            if not any(bits[end - size : end]):
                bits[end - 1] = 1
        return bits


BUDGETS = {"none": {}, "parameters": {"parameters": 8}, "work": {"work": 5}, "both": {"parameters": 8, "work": 6}}


class ChainSpace:
    """The groups of a chain of 3x3 convolutions whose first and last ones work at a higher resolution.

    Args:
        sizes: filters of each layer.
        budget: a name of ``BUDGETS``, which says how many times less than the full chain is allowed.
        multiple: what widths are multiples of.
    """

    def __init__(self, sizes, budget="none", multiple=1):
        self.group_sizes, self.starts = tuple(sizes), np.cumsum((0, *sizes))[:-1]
        order = [place for size in sizes for place in np.random.default_rng(1).permutation(size).tolist()]
        self.pixels = 4.0 ** abs(np.arange(len(sizes) + 1) - len(sizes) / 2)
        self.limits = {name: self.cost([1] * sum(sizes))[name] / less for name, less in BUDGETS[budget].items()}
        self.repair = Repair(self.group_sizes, (), order, multiple, self.fits if self.limits else None)
        self.saliency, self.fill, self.cut = self.repair.saliency, self.repair.fill, self.repair.cut

    def widths(self, bits):
        """Filters of each group."""
        return np.add.reduceat(np.asarray(bits), self.starts).tolist()

    def cost(self, bits):
        """Parameters, and multiply-accumulates."""
        channels = np.array([3, *self.widths(bits), 3])
        parameters = 9 * channels[:-1] * channels[1:]
        return {"parameters": int(parameters.sum()), "work": float((parameters * self.pixels).sum())}

    def fits(self, bits):
        cost = self.cost(bits)
        return all(cost[name] <= most for name, most in self.limits.items())


def repaired(bits):
    """Whether the bits are what repair would leave."""
    return len(bits) == sum(SIZES) and set(bits) <= {0, 1} and ToySpace().repair(bits) == list(bits)


def from_text(text):
    """The individual whose bits the text shows: ``from_text("0110")``."""
    return Individual(map(int, text))


def to_text(individual):
    """What :func:`from_text` reads."""
    return "".join(map(str, individual))


def onemax(individual, partner=None):
    """The share of ones, whoever the partner is."""
    share = sum(individual) / len(individual)
    return Score([share], {"share": share})


def agreement(individual, partner=None):
    """Ones, and a little for agreeing with the partner, times a level that falls as the partner improves.

    The level makes old values look better than new ones: comparing across partners gets stuck.
    """
    ones = sum(individual)
    same = 0 if partner is None else sum(a == b for a, b in zip(individual, partner, strict=True))
    level = 1.0 if partner is None else 1.0 / (1 + sum(partner))
    return Score([level * (1 + ones + 0.5 * same)], {"ones": ones, "same": same})


def shortfalls(score):
    """Two objectives for NSGA-II, of the terms of ``agreement``: ones and agreements, minimised."""
    return -score.terms["ones"], -score.terms["same"]


def score(toolbox, batch, partner=None):
    """Evaluate the batch as the driver does."""
    for individual in batch:
        result = toolbox.evaluate(individual, partner)
        individual.fitness.values, individual.terms = tuple(result), dict(result.terms)
    return batch


def make_side(strategy, evaluate=agreement, **operators):
    """A toolbox for one side with the strategy registered on it."""
    toolbox = make_toolbox(ToySpace(), evaluate, **operators)
    strategy.register(toolbox)
    return toolbox


ARGUMENTS = {"nsga2": {"objectives": shortfalls}}  # what an algorithm has to be told on these problems

OUTSIDE = [  # rows for outside.py
    ("algorithm", "climber", registry.Entry("outside:HillClimber", "mutants of the elite", aliases=("hill-climbing",))),
    (
        "mutate",
        "mutDropLast",
        registry.Entry("outside:mutDropLast", "drop filters", {"times": 2}, {"times": Range(1, 8)}),
    ),
]


def make_strategy(name, **settings):
    """A strategy for these problems, of any registered algorithm."""
    settings = {"population": 16, **ARGUMENTS.get(name, {}), **settings}
    return registry.resolve("algorithm", name).function(**settings)
