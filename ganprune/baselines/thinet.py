"""ThiNet: keep the channels that the next layer's output can least do without, and rescale them.

Luo et al., *ThiNet: A filter level pruning method for deep neural network compression*, ICCV 2017. An output value of
the next layer is a sum over its input channels, y = sum_j x_j (the bias left out). Channels are removed greedily: next
goes the one with which the removed ones' part of the output, E(sum over removed j of x_j)^2, grows least. Then each
kept channel of each layer gets a factor by least squares, E(y - sum over kept j of s_j x_j)^2, which is multiplied into
the layer's weights.

Both need nothing but A[j, k] = E x_j x_k, which follows from the moments that reconstruct weights. So the mean is over
all output filters at the sampled positions, where the paper draws one filter for each.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch

from ganprune.baselines.subject import Ranking, Scales, Subject
from ganprune.filters.reconstruction import Reconstruction, solve_ridge

RIDGE = 1e-6  # relative, towards a factor of 1: decides only what least squares leaves open


def thinet(subject: Subject, seed: int = 0) -> Ranking:
    """Rank filters by the order in which ThiNet removes them, and say how it rescales what is kept.

    A group that several layers read adds up their errors, each relative to its output's energy.

    Args:
        subject: the generator.
        seed: not used; positions are the reconstruction's.
    """
    space, dims = subject.space, subject.space.channels(produces=False)
    products = {name: contributions(subject.reconstruction, name) for name in dims}
    scores = np.zeros(len(space))
    for start, end in zip(space.offsets[:-1], space.offsets[1:], strict=True):
        error = np.zeros((end - start, end - start))
        for name, dim in dims.items():
            # (C_in, filters of the group): which channel belongs to which filter
            belongs = (space.controller(name, dim)[:, None] == np.arange(start, end)).astype(float)  # type: ignore[index]
            error += belongs.T @ products[name] @ belongs / max(products[name].sum(), 1e-30)
        scores[start + removal_order(error)] = np.arange(end - start)
    return Ranking(scores, functools.partial(factors, subject, products))


def contributions(reconstruction: Reconstruction, name: str) -> np.ndarray:
    """Return A[j, k] = E x_j x_k of a layer, (C_in, C_in), x_j being channel j's part of an output value.

    The mean is over sampled positions, the sum over output filters.
    """
    layer, moments = reconstruction.layers[name], reconstruction.moments[name]
    taps = layer.kernel_size[0] * layer.kernel_size[1]
    columns = layer.in_channels * taps  # without the bias
    weight, gram = moments.weight[:, :columns].double(), moments.gram[:columns, :columns].double()
    blocks = ((weight.T @ weight) * gram).view(layer.in_channels, taps, layer.in_channels, taps)
    result: np.ndarray = blocks.sum((1, 3)).cpu().numpy()
    return result


def removal_order(error: np.ndarray) -> np.ndarray:
    """Return filters in the order in which they are removed, each time the one that costs least.

    Args:
        error: (n, n); removing a set costs the sum of its rows and columns.
    """
    left, shared = np.ones(len(error), dtype=bool), np.zeros(len(error))
    order = []
    for _ in range(len(error)):
        cost = np.where(left, 2 * shared + error.diagonal(), np.inf)
        order.append(int(cost.argmin()))
        left[order[-1]] = False
        shared += error[order[-1]]
    return np.array(order)


def factors(subject: Subject, products: dict[str, np.ndarray], bits: Sequence[int]) -> Scales:
    """Return the least-squares factors of every layer that loses inputs."""
    kept, result = subject.space.kept(bits), {}
    for name, dim in subject.space.channels(produces=False).items():
        inputs, product = kept[name, "weight", dim], torch.as_tensor(products[name])
        if len(inputs) < len(product):
            gram, cross = product[inputs][:, inputs], product[inputs].sum(1)[None]
            result[name] = solve_ridge(gram, cross, torch.ones_like(cross), RIDGE)[0].numpy()
    return result
