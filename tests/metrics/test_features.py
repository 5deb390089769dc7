"""Features: the shipped classifier's and Inception's, whose they are, and what is kept of them on disk."""

import importlib.util
import json
import pickle
import sys
from pathlib import Path

import pytest
import torch
from networks import toy_generator, toy_images
from safetensors.torch import load_file, save_file

from ganprune.assets import are_default, classifier_folder, default_images
from ganprune.data.images import UnpairedImages
from ganprune.data.pixels import to_float, to_uint8
from ganprune.errors import UserError
from ganprune.metrics.classifier import Classifier, load_classifier
from ganprune.metrics.features import Inception, Shipped, cached, make_features
from ganprune.metrics.kid import kernel_distance
from ganprune.metrics.measures import Measures

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_classifier.py"
DRAWINGS = {"A": 0.65, "B": 0.5}  # domain -> least accuracy on validation images; guessing the commonest gets 0.21


@pytest.fixture(scope="module")
def shipped():
    return Shipped()


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_classifier", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def drawings():
    """The shipped images."""
    return UnpairedImages(default_images(), 64)


def noise(count, size=64, seed=5):
    return toy_images(count, (size, size), torch.float32, seed)


@pytest.mark.parametrize("domain", DRAWINGS)
def test_the_shipped_classifier_tells_categories_of_images_it_was_not_trained_on(shipped, drawings, domain):
    labels = json.loads((classifier_folder() / "labels.json").read_text(encoding="utf-8"))
    seen = drawings[domain].validation
    truth = [shipped.network.categories.index(labels[path.stem]) for path in seen.paths]
    found = shipped.network(seen.tensor()).argmax(1)
    assert (found == torch.tensor(truth)).float().mean() >= DRAWINGS[domain]


def test_every_shipped_image_has_a_label(drawings):
    labels = json.loads((classifier_folder() / "labels.json").read_text(encoding="utf-8"))
    splits = [split for d in "AB" for split in (drawings[d].train, drawings[d].validation, drawings[d].test)]
    assert set(labels) == {path.stem for split in splits for path in split.paths}
    assert set(labels.values()) == set(load_classifier(classifier_folder()).categories)


def test_the_shipped_classifier_is_small(shipped):
    assert sum(parameter.numel() for parameter in shipped.network.parameters()) < 500_000
    files = sum(path.stat().st_size for path in classifier_folder().iterdir())
    assert files < 500_000
    assert {value.dtype for value in load_file(classifier_folder() / "classifier.safetensors").values()} == {
        torch.float16
    }


def test_shipped_features_are_the_same_every_time_and_in_any_batch(shipped):
    images = noise(35)
    features = shipped(images)
    assert features.shape == (35, 96) and features.dtype == torch.float32 and features.min() >= 0
    assert torch.equal(Shipped()(images), features)
    assert torch.allclose(torch.cat([shipped(image[None]) for image in images]), features, atol=1e-5)


def test_images_are_measured_as_they_would_be_saved(shipped):
    images = noise(2)
    rounded = to_float(to_uint8(images))
    assert not torch.equal(images, rounded) and torch.equal(shipped(images), shipped(rounded))
    assert torch.equal(shipped(images * 5), shipped((images * 5).clamp(-1, 1)))


def test_images_of_any_size_are_taken_and_mean_about_the_same(shipped):
    small = noise(3, 16)
    large = small.repeat_interleave(4, -1).repeat_interleave(4, -2)
    near = (shipped(small) - shipped(large)).norm()
    assert near < 0.5 * (shipped(large) - shipped(noise(3))).norm()


@pytest.mark.slow
def test_worse_pictures_are_further_from_real_ones(shipped, drawings):
    """Ink: other real drawings are near, grey instead of black, blurred and colour ones are far."""
    real, other = shipped(drawings["B"].train.tensor()), drawings["B"].validation.tensor()
    blurred = torch.nn.functional.avg_pool2d(other, 3, 1, 1)
    distances = [kernel_distance(shipped(images), real)[0] for images in (other, other * 0.6 + 0.4, blurred)]
    colour = kernel_distance(shipped(drawings["A"].validation.tensor()), real)[0]
    assert abs(distances[0]) < 0.01
    assert min(*distances[1:], colour) > 0.1


def test_a_classifier_comes_back_as_it_was_saved(script, tmp_path):
    torch.manual_seed(0)
    network = Classifier(["one", "two"], (4, 6)).eval()
    script.save_classifier(network, tmp_path)
    loaded, images = load_classifier(tmp_path), noise(2)
    assert loaded.categories == ("one", "two") and loaded.features(images).shape == (2, 6)
    assert torch.allclose(loaded(images), network(images), atol=1e-2)  # float16 on disk


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "classifier.json").unlink(), "classifier: got .*classifier.json"),
        (lambda folder: (folder / "classifier.json").write_text('{"format": 9}'), "format 9"),
        (lambda folder: (folder / "classifier.json").write_text("{"), "expected an undamaged file"),
        (lambda folder: (folder / "classifier.safetensors").write_bytes(b"no tensors"), "classifier.safetensors"),
        (lambda folder: save_file({}, folder / "classifier.safetensors"), "without tensor"),
    ],
)
def test_a_damaged_classifier_is_refused(script, tmp_path, damage, message):
    script.save_classifier(Classifier(["one", "two"], (4, 6)), tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        load_classifier(tmp_path)


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
    with pytest.raises(UserError, match=r"features: got shiped.*Did you mean 'shipped'"):
        make_features("shiped")
    assert make_features("shipped").name == "shipped classifier"


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


class Counted(Shipped):
    """Shipped features that count the images they were asked for."""

    def __init__(self, network=None):
        super().__init__(network)
        self.seen = 0

    def of_pixels(self, pixels):
        self.seen += len(pixels)
        return super().of_pixels(pixels)


def test_features_of_the_same_pixels_and_network_are_computed_once(tmp_path):
    features, images = Counted(), noise(3)
    folder = tmp_path
    first = cached(features, images, folder)
    again = Counted()
    assert torch.equal(cached(again, images.clone(), folder), first) and again.seen == 0
    assert len(list(folder.iterdir())) == 1
    cached(again, images.flip(0), folder)  # the same images in another order
    assert again.seen == 3
    torch.manual_seed(0)
    other = Counted(Classifier(["one", "two"]).eval())
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
