"""The kernel distance: against its definition, and as a distance."""

import pytest
import torch

from ganprune.errors import UserError
from ganprune.metrics.kid import kernel_distance, polynomial_mmd2


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


@pytest.mark.parametrize(("subsets", "size"), [(100, 20), (7, 45)])
def test_kid_is_torch_fidelitys_down_to_the_subsets(subsets, size):
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    first, second = features(60), features(45, 0.5, 1)
    options = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": 5, "verbose": False}
    theirs = kid.kid_features_to_metric(first, second, **options)
    mean, deviation = kernel_distance(first, second, subsets=subsets, size=size, seed=5)
    assert mean == pytest.approx(theirs[kid.KEY_METRIC_KID_MEAN], rel=1e-4)
    assert deviation == pytest.approx(theirs[kid.KEY_METRIC_KID_STD], rel=1e-4)


def test_the_same_seed_gives_the_same_subsets_whatever_else_is_drawn():
    first, second = features(40), features(40, 0.5, 1)
    once = kernel_distance(first, second)
    torch.manual_seed(3)
    assert kernel_distance(first, second) == once != kernel_distance(first, second, seed=1)


def test_subsets_are_halves_of_the_smaller_set_and_at_most_1000():
    first, second = features(2100), features(30, 0.5, 1)
    assert kernel_distance(first, second) == kernel_distance(first, second, size=15)
    large = features(2100, 0.5, 1)
    assert kernel_distance(first, large, subsets=2) == kernel_distance(first, large, subsets=2, size=1000)


def test_the_deviation_shrinks_with_larger_subsets():
    first, second = features(400), features(400, 0.5, 1)
    assert kernel_distance(first, second, size=200)[1] < 0.5 * kernel_distance(first, second, size=20)[1]


@pytest.mark.parametrize(("count", "size"), [(3, None), (8, 9), (8, 1)])
def test_too_few_images_are_refused(count, size):
    with pytest.raises(UserError, match=r"images for KID: got 10 and .*expected 4 or more.*Give more images"):
        kernel_distance(features(10), features(count), size=size)
