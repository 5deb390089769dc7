"""Kernel distance between two sets of features (KID's estimator: Binkowski et al., ICLR 2018).

"KID" proper is this on the features of one particular Inception network; on other features it is a *KID-like* figure,
comparable only with itself.
"""

from __future__ import annotations

import torch

from ganprune.errors import UserError


def polynomial_mmd2(first: torch.Tensor, second: torch.Tensor, degree: int = 3) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x . y / d + 1) ** degree.

    Args:
        first, second: (N, d) and (M, d) features, N and M at least 2.
        degree: of the polynomial; 3 in KID.

    Returns:
        About 0 for samples of one distribution (it can be slightly negative), larger the more they differ.

    Raises:
        UserError: fewer than two samples, or features of different widths.
    """
    if min(len(first), len(second)) < 2 or first.shape[1] != second.shape[1]:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise UserError("features", shapes, "two (N, d) sets of one width, N at least 2", "Give more images.")
    first, second = first.double(), second.double()
    width = first.shape[1]
    within = sum(_off_diagonal_mean((x @ x.T / width + 1) ** degree) for x in (first, second))
    return float(within - 2 * ((first @ second.T / width + 1) ** degree).mean())


def _off_diagonal_mean(kernel: torch.Tensor) -> torch.Tensor:
    count = len(kernel)
    return (kernel.sum() - kernel.trace()) / (count * (count - 1))
