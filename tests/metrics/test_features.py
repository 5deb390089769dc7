"""Features: Inception's, whose they are, and what is kept of them on disk."""

import pickle
import sys
from pathlib import Path

import pytest
import torch
from networks import Counted, toy_generator, toy_images

from ganprune.assets import are_default, default_images
from ganprune.data.pixels import to_float, to_uint8
from ganprune.errors import UserError
from ganprune.metrics.features import Inception, cached, make_features
from ganprune.metrics.measures import Measures


def noise(count, size=64, seed=5):
    return toy_images(count, (size, size), torch.float32, seed)


def test_images_are_measured_as_they_would_be_saved():
    features = Counted()
    images = noise(2)
    rounded = to_float(to_uint8(images))
    assert not torch.equal(images, rounded) and torch.equal(features(images), features(rounded))
    assert torch.equal(features(images * 5), features((images * 5).clamp(-1, 1)))


def test_copies_of_the_shipped_images_are_known_for_what_they_are(tmp_path, image_folder):
    assert are_default(default_images()) and not are_default(image_folder)
    for folder in ("testA", "testB"):
        (tmp_path / folder).mkdir()
        for path in (default_images() / folder).iterdir():
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    assert are_default(tmp_path)
    (tmp_path / "testA" / "yarn.png").unlink()
    assert not are_default(tmp_path)


def test_unknown_features_are_refused():
    with pytest.raises(UserError, match=r"features: got incepton.*Did you mean 'inception'"):
        make_features("incepton")
    assert make_features("none") is None


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights for torch-fidelity's Inception."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

    class Untrained(module.FeatureExtractorInceptionV3):
        def load_state_dict(self, state):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda url, **options: {})
        torch.manual_seed(0)
        network = Untrained("inception", ["2048"])
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)  # else nothing of the image would reach the features
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.slow
def test_inception_features_are_torch_fidelitys(weights):
    from torch_fidelity.utils import create_feature_extractor

    theirs = create_feature_extractor(
        "inception-v3-compat", ["2048"], cuda=False, verbose=False, feature_extractor_weights_path=str(weights)
    )
    images = noise(3, 32)
    features = Inception(weights)
    assert features.name == "Inception"
    found = features(images)
    assert found.shape == (3, 2048) and (found - found.mean(0)).norm() > 0.01 * found.norm()
    assert torch.allclose(found, theirs(to_uint8(images))[0], rtol=1e-4, atol=1e-4 * float(found.abs().max()))


class Malicious:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_weights_that_can_not_be_used_are_refused_and_nothing_in_them_is_run(tmp_path, monkeypatch):
    pytest.importorskip("torch_fidelity")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"inception weights: got nowhere.pth; expected an existing file"):
        Inception("nowhere.pth")
    torch.save(toy_generator().state_dict(), "other.pth")
    with pytest.raises(UserError, match=r"other.pth \(Error.*expected torch-fidelity's weights-inception.*Check --inc"):
        Inception("other.pth")
    Path("text.pth").write_text("no weights")
    Path("evil.pth").write_bytes(pickle.dumps(Malicious(), protocol=2))
    for name in ("text.pth", "evil.pth"):
        with pytest.raises(UserError, match=f"{name} .*expected a PyTorch state dict"):
            Inception(name)
    assert not Path("executed").exists()


def test_inception_without_its_package_or_a_network_says_what_to_do(monkeypatch):
    def unreachable(url, **options):
        assert options["weights_only"] is True
        raise OSError("no route to host")

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch_fidelity", None)
        patch.delitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", raising=False)
        with pytest.raises(UserError, match=r"inception without torch-fidelity.*pip install 'ganprune\[fid\]'"):
            Inception()
    pytest.importorskip("torch_fidelity")
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    with pytest.raises(UserError, match=r"can't be had \(no route to host\).*give --inception-weights PATH"):
        Inception()


def test_features_of_the_same_pixels_and_network_are_computed_once(tmp_path):
    features, images = Counted(), noise(3)
    folder = tmp_path
    first = cached(features, images, folder)
    again = Counted()
    assert torch.equal(cached(again, images.clone(), folder), first) and again.seen == 0
    assert len(list(folder.iterdir())) == 1
    cached(again, images.flip(0), folder)  # the same images in another order
    assert again.seen == 3
    other = Counted(bias=1.0)
    assert not torch.equal(cached(other, images, folder), first) and other.seen == 3
    assert len(list(folder.iterdir())) == 3


def test_a_damaged_cache_file_is_replaced(tmp_path):
    images = noise(2)
    first = cached(Counted(), images, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for damage in (whole[: len(whole) // 2], b"", b"nonsense"):
        path.write_bytes(damage)
        features = Counted()
        assert torch.equal(cached(features, images, tmp_path), first) and features.seen == 2
        assert path.read_bytes() == whole and list(tmp_path.iterdir()) == [path]


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cached(Counted(), noise(1), None)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_is_made_at_once_or_refused(tmp_path, images):
    Measures(images, cache=tmp_path / "new" / "cache")
    assert (tmp_path / "new" / "cache").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"features cache: got .*file.*expected a place that can be written"):
        Measures(images, cache=tmp_path / "file")
