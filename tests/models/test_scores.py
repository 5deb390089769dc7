"""What is taken as the scores in a discriminator's output, whatever form that has."""

import pytest
import torch
from networks import toy_images
from thirdparty import Scales, alive

from ganprune.errors import UserError
from ganprune.losses import adversarial, discriminator_aware
from ganprune.models.scores import judged, scores, scores_taken

B = 2


def maps(*shapes):
    draw = torch.Generator().manual_seed(3)
    return [torch.rand(B, *shape, generator=draw) for shape in shapes]


MAP, SMALL, FEATURE, POOLED, SQUEEZED = maps((1, 6, 6), (1, 3, 3), (4, 6, 6), (1,), (6, 6))


def test_a_patch_map_stays_as_it_is():
    assert scores(MAP, B) is MAP


@pytest.mark.parametrize(
    ("output", "taken"),
    [
        (POOLED, [POOLED]),
        (POOLED[:, 0], [POOLED]),
        (SQUEEZED, [SQUEEZED]),
        ([MAP, SMALL], [MAP, SMALL]),
        ((FEATURE, FEATURE, MAP), [MAP]),
        ((FEATURE, FEATURE), [FEATURE]),
        ([[FEATURE, MAP], [FEATURE, FEATURE, SMALL]], [MAP, SMALL]),
        ([[MAP, FEATURE], [SMALL]], [FEATURE, SMALL]),
        (([[MAP]], SMALL, None), [MAP, SMALL]),
    ],
)
def test_the_scores_of_all_scales_are_taken_for_each_image(output, taken):
    assert torch.equal(scores(output, B), torch.cat([each.reshape(B, -1) for each in taken], 1))


@pytest.mark.parametrize("output", [MAP[:1].squeeze(), MAP[:1, 0], MAP[:1].squeeze().flatten()])
def test_a_map_that_lost_the_dimension_of_its_one_image_has_its_scores(output):
    assert torch.equal(scores(output, 1), MAP[:1].reshape(1, -1))


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ({"score": MAP}, "dict"),
        ([], "list"),
        ([[], []], "list"),
        (None, "NoneType"),
        (MAP.mean(), r"Tensor of shapes \(\)"),
        (MAP[..., :0], r"Tensor of shapes \(2, 1, 6, 0\)"),
        ([MAP, torch.zeros(3)], r"list of shapes \(2, 1, 6, 6\), \(3,\)"),
    ],
)
def test_what_has_no_score_for_each_image_is_refused(output, shown):
    with pytest.raises(UserError, match=f"Judge, which returns {shown}.*; expected a tensor of scores for 2 images"):
        scores(output, B, "Judge")


@pytest.mark.parametrize("features", [True, False])
def test_losses_are_means_over_all_patches_of_all_scales(features):
    judge = alive(Scales(features=features))
    first, second = toy_images(B, dtype=torch.float32, seed=1), toy_images(B, dtype=torch.float32, seed=2)
    with torch.no_grad():
        ours, theirs = ([scale[-1] if features else scale for scale in judge(images)] for images in (first, second))
        squares = torch.cat([(a - b).square().flatten() for a, b in zip(ours, theirs, strict=True)])
        assert len(squares) == B * (8 * 8 + 4 * 4)
        assert float(discriminator_aware(judged(judge, first), judged(judge, second))) == pytest.approx(
            float(squares.mean())
        )
        real = torch.cat([(each - 1).square().flatten() for each in ours]).mean()
        assert float(adversarial(judged(judge, first), True)) == pytest.approx(float(real))
    assert scores_taken(judge, first) == f"2 of the {6 if features else 2} tensors that it returns (1x8x8, 1x4x4)"
    assert scores_taken(lambda images: MAP, first) is None
