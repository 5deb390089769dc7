"""Kernel distance between two sets of features (KID's estimator: Binkowski et al., ICLR 2018).

"KID" proper is this on the features of one particular Inception network; on other features it is a *KID-like* figure,
comparable only with itself.
"""

from __future__ import annotations

import numpy as np
import torch

from ganprune.errors import UserError
from ganprune.metrics.fid import check_features

SUBSETS, SUBSET_SIZE, SEED = 100, 1000, 2020
MIN_IMAGES = 4  # halves of two, the least that has anything off the diagonal


def kernel_distance(
    first: torch.Tensor, second: torch.Tensor, *, subsets: int = SUBSETS, size: int | None = None, seed: int = SEED
) -> tuple[float, float]:
    """Mean and standard deviation of :func:`polynomial_mmd2` over random subsets: KID as it is usually given.

    The subsets are those that torch-fidelity draws from the same seed. The deviation says how much the figure depends
    on which images are in a subset; it is not the error of the mean, which is smaller.

    Args:
        first, second: (N, d) and (M, d) features, N and M at least 4.
        subsets: how many pairs of subsets, each without repetition.
        size: images in each; None for min(1000, N // 2, M // 2).
        seed: of the draw.

    Returns:
        Mean (it can be slightly negative) and deviation (dividing by the number of subsets).

    Raises:
        UserError: too few samples, or features of different widths.
    """
    fewest = min(len(first), len(second))
    size = min(SUBSET_SIZE, fewest // 2) if size is None else size
    if fewest < MIN_IMAGES or not 2 <= size <= fewest:
        found = f"{len(first)} and {len(second)}, subsets of {size}"
        raise UserError("images for KID", found, f"{MIN_IMAGES} or more, subsets of 2 or more", "Give more images.")
    draw = np.random.RandomState(seed)  # its stream is the same in every version of NumPy
    values = []
    for _ in range(subsets):
        chosen = [torch.from_numpy(draw.choice(len(features), size, replace=False)) for features in (first, second)]
        values.append(polynomial_mmd2(first[chosen[0]], second[chosen[1]]))
    return float(np.mean(values)), float(np.std(values))


def polynomial_mmd2(first: torch.Tensor, second: torch.Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x . y / d + 1) ** 3.

    Args:
        first, second: (N, d) and (M, d) features, N and M at least 2.

    Returns:
        About 0 for samples of one distribution (it can be slightly negative), larger the more they differ.

    Raises:
        UserError: fewer than two samples, or features of different widths.
    """
    check_features(first, second)
    first, second = first.double(), second.double()
    width = first.shape[1]
    kernels = [(x @ x.T / width + 1) ** 3 for x in (first, second)]
    within = sum((kernel.sum() - kernel.trace()) / (len(kernel) * (len(kernel) - 1)) for kernel in kernels)
    return float(within - 2 * ((first @ second.T / width + 1) ** 3).mean())
