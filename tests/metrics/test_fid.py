"""The Frechet distance: against its closed form, and against torch-fidelity's."""

import numpy as np
import pytest
import torch

from ganprune.errors import UserError
from ganprune.metrics.fid import frechet_distance


def drawn(count, width, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sample(mean, covariance, count, seed=0):
    """Features that have exactly this mean and covariance."""
    mean, covariance = (torch.as_tensor(values, dtype=torch.float64) for values in (mean, covariance))
    values = drawn(count, len(mean), seed)
    values = values - values.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(values.T)), values.T, upper=False)
    return (torch.linalg.cholesky(covariance) @ white).T + mean


def test_two_gaussians_whose_axes_agree_in_closed_form():
    means, deviations = ([1.0, -2.0, 0.5], [0.0, 1.0, 0.5]), ([1.0, 0.5, 2.0], [2.0, 3.0, 0.1])
    first, second = (
        sample(mean, torch.tensor(spread, dtype=torch.float64).square().diag(), 40, seed)
        for seed, (mean, spread) in enumerate(zip(means, deviations, strict=True))
    )
    wanted = sum((a - b) ** 2 for pair in (means, deviations) for a, b in zip(*pair, strict=True))
    assert frechet_distance(first, second) == pytest.approx(wanted, rel=1e-10)


def test_two_gaussians_turned_against_each_other_in_closed_form():
    """In two dimensions tr((S1 S2)^(1/2)) = sqrt(tr(S1 S2) + 2 sqrt(det(S1 S2)))."""
    one, two = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[0.5, -0.3], [-0.3, 3.0]])
    product = one @ two
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    wanted = 1.0 + np.trace(one) + np.trace(two) - 2 * root
    assert frechet_distance(sample([0, 0], one, 30), sample([0, 1], two, 50, 1)) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize(("count", "width"), [(300, 12), (10, 40)])
def test_it_is_torch_fidelitys(count, width):
    """Also where there are fewer images than features, so that the covariances are singular."""
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    first, second = drawn(count, width), 1.5 * drawn(count + 7, width, 1) + 0.2
    statistics = [fid.fid_features_to_statistics(features) for features in (first, second)]
    theirs = fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(first, second) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("count", [5, 200])
def test_it_is_0_for_equal_sets_and_the_same_both_ways(count):
    first, second = drawn(count, 20), drawn(count, 20, 1) + 0.1
    assert 0 <= frechet_distance(first, first) < 1e-9
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))
    assert frechet_distance(torch.ones(4, 3), torch.ones(4, 3)) == 0  # nothing varies


def test_it_is_too_high_for_few_images():
    few, many = (frechet_distance(drawn(count, 20), drawn(count, 20, 1)) for count in (30, 1000))
    assert few > 10 * many > 0


@pytest.mark.parametrize("second", [torch.zeros(1, 5), torch.zeros(4, 3)])
def test_features_that_can_not_be_compared_are_refused(second):
    with pytest.raises(UserError, match=r"features: got \(4, 5\) and .*Give more images"):
        frechet_distance(drawn(4, 5), second)
