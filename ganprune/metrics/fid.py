"""Frechet distance between two sets of features: FID's formula (Heusel et al., NeurIPS 2017; Dowson & Landau, 1982).

"FID" proper is this on the features of one particular Inception network; on other features it is comparable only with
itself.
"""

from __future__ import annotations

import torch

from ganprune.errors import UserError


def frechet_distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Frechet distance of the normal distributions with the mean and covariance of each set of features.

    |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2)). The last trace is the sum of the singular values of X1 X2^T,
    where Xi^T Xi = Si: no matrix root, so nothing complex and nothing lost where a covariance is singular, as it is
    with fewer images than features.

    Args:
        first, second: (N, d) and (M, d) features, N and M at least 2. Covariances divide by N - 1.

    Returns:
        0 or more; 0 for the same mean and covariance. It is too high for few images, by more the fewer they are.

    Raises:
        UserError: fewer than two samples, or features of different widths.
    """
    check_features(first, second)
    means = [features.double().mean(0) for features in (first, second)]
    roots = [_root(features.double() - mean) for features, mean in zip((first, second), means, strict=True)]
    spread = sum(root.square().sum() for root in roots)
    common = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    return max(0.0, float((means[0] - means[1]).square().sum() + spread - 2 * common))


def check_features(first: torch.Tensor, second: torch.Tensor) -> None:
    """Check that both sets of features have one width, and two samples or more.

    Raises:
        UserError: they haven't.
    """
    if min(len(first), len(second)) < 2 or first.shape[1] != second.shape[1]:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise UserError("features", shapes, "two (N, d) sets of one width, N at least 2", "Give more images.")


def _root(centred: torch.Tensor) -> torch.Tensor:
    """Return X, at most (d, d), with X^T X the covariance of (N, d) centred features."""
    scaled = centred / (len(centred) - 1) ** 0.5
    return torch.linalg.qr(scaled, mode="r").R if len(scaled) > scaled.shape[1] else scaled
