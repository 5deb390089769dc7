"""The kernel distance: against its definition, and as a distance."""

import pytest
import torch

from ganprune.errors import UserError
from ganprune.metrics.kid import polynomial_mmd2


def features(count, shift=0.0, seed=0):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)) + shift


def test_it_is_the_unbiased_estimator_of_its_definition():
    first, second = features(6), features(9, 0.5, 1)

    def kernel(x, y):
        return (float(x.double() @ y.double()) / 5 + 1) ** 3

    def within(x):
        pairs = [kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]
        return sum(pairs) / len(pairs)

    between = sum(kernel(x, y) for x in first for y in second) / (6 * 9)
    assert polynomial_mmd2(first, second) == pytest.approx(within(first) + within(second) - 2 * between)


def test_it_is_about_zero_for_one_distribution_and_grows_with_the_difference():
    near, far, further = (polynomial_mmd2(features(400), features(400, shift, 1)) for shift in (0.0, 0.5, 1.0))
    assert abs(near) < 0.1 * far and far < further


@pytest.mark.parametrize("second", [features(1), torch.zeros(4, 3)])
def test_features_that_can_not_be_compared_are_refused(second):
    with pytest.raises(UserError, match="features"):
        polynomial_mmd2(features(4), second)
