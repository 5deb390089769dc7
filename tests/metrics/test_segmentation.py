"""The FCN-score: against its definition and scikit-learn; what a segmenter may be and what label maps must be."""

import sys
import warnings

import numpy as np
import pytest
import torch
from networks import toy_images
from PIL import Image

from ganprune.data import pixels
from ganprune.data.images import ImageSet
from ganprune.errors import UserError
from ganprune.metrics.segmentation import (
    Segmentation,
    confusion_matrix,
    load_segmenter,
    read_labels,
    scores,
    segment,
)

SIZE = 16


def classes(shape, count=5, seed=0):
    return torch.randint(0, count, shape, generator=torch.Generator().manual_seed(seed))


def test_scores_by_hand():
    truth = torch.tensor([[0, 0, 0, 1], [1, 2, 255, 255]])
    predicted = torch.tensor([[0, 0, 1, 1], [1, 3, 0, 3]])  # class 3 is nowhere true; the last two have no truth
    found = scores(confusion_matrix(truth, predicted))
    assert found == {
        "pixel_accuracy": pytest.approx(4 / 6),
        "class_accuracy": pytest.approx((2 / 3 + 1 + 0) / 3),
        "mean_iou": pytest.approx((2 / 3 + 2 / 3 + 0) / 3),
    }


def test_the_confusion_matrix_and_the_scores_are_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    truth, predicted = classes((3, 20, 20)), classes((3, 20, 20), 6, seed=1)
    truth[:, :4] = 255
    known = truth != 255
    pair = truth[known].numpy(), predicted[known].numpy()
    found = confusion_matrix(truth, predicted)
    assert np.array_equal(found[:6, :6].numpy(), metrics.confusion_matrix(*pair, labels=range(6)))
    assert found.sum() == known.sum()
    wanted = {
        "pixel_accuracy": metrics.accuracy_score(*pair),
        "class_accuracy": metrics.recall_score(*pair, average="macro", labels=range(5)),
        "mean_iou": metrics.jaccard_score(*pair, average="macro", labels=range(5)),
    }
    assert scores(found) == pytest.approx(wanted)


def test_a_perfect_segmentation_scores_1_and_an_empty_truth_is_refused():
    truth = classes((2, 8, 8))
    assert set(scores(confusion_matrix(truth, truth)).values()) == {1.0}
    with pytest.raises(UserError, match=r"labels: got only 255 \(no truth\)"):
        scores(confusion_matrix(torch.full((2, 2), 255), truth[0, :2, :2]))


def test_labels_and_scores_are_taken():
    images = toy_images(3, dtype=torch.float32)
    wanted = images.argmax(1)
    assert torch.equal(segment(lambda x: x, images), wanted)  # scores of three classes
    for dtype in (torch.int64, torch.uint8):
        found = segment(lambda x, dtype=dtype: x.argmax(1).to(dtype), images)
        assert torch.equal(found, wanted) and found.dtype == torch.int64


def broken(images):
    raise RuntimeError("weights of another network\nand more")


@pytest.mark.parametrize(
    ("segmenter", "message"),
    [
        (lambda x: x.argmax(1)[:, ::2], r"shape \(3, 8, 16\).*expected whole numbers \(3, 16, 16\), or scores \(3, K,"),
        (lambda x: x[:1], r"shape \(1, 3, 16, 16\)"),
        (lambda x: x[..., :8], r"shape \(3, 3, 16, 8\).*Resize its output"),
        (lambda x: x.mean(1), r"shape \(3, 16, 16\), torch.float32"),
        (lambda x: x.argmax(1) - 5, "classes -5 to -3; expected 0 to 255"),
        (lambda x: x.argmax(1) + 254, "classes 254 to 256"),
        (lambda x: {"out": x}, "a result of type dict.*Return a tensor"),
        (broken, r"RuntimeError \(weights of another network\).*Correct the segmenter"),
    ],
)
def test_what_a_segmenter_may_not_return_is_refused(segmenter, message):
    with pytest.raises(UserError, match=r"segmenter: got .*" + message):
        segment(segmenter, toy_images(3, dtype=torch.float32))


@pytest.fixture
def script(tmp_path):
    """A TorchScript file that scores three classes."""
    path = tmp_path / "segmenter.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated
        torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 3, 1), torch.zeros(1, 3, SIZE, SIZE)), path)
    return path


def test_a_segmenter_is_a_torchscript_file_or_a_callable(script, tmp_path, monkeypatch):
    images = toy_images(2, dtype=torch.float32)
    assert segment(load_segmenter(str(script)), images).shape == (2, SIZE, SIZE)
    (tmp_path / "my_segmenter.py").write_text("def darkness(images):\n    return (images.mean(1) < 0).long()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_segmenter", raising=False)
    assert torch.equal(segment(load_segmenter("my_segmenter:darkness"), images), (images.mean(1) < 0).long())
    with pytest.raises(UserError, match=r"segmenter: got my_segmenter:darknes; .*Did you mean 'darkness'"):
        load_segmenter("my_segmenter:darknes")


def test_segmenters_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"segmenter: got nowhere.pt; expected a TorchScript file, or package.module"):
        load_segmenter("nowhere.pt")
    with pytest.raises(UserError, match=r"segmenter: got no.module:here.*Importing 'no.module' failed"):
        load_segmenter("no.module:here")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "weights.pt")
    (tmp_path / "text.pt").write_text("no network")
    for name in ("weights.pt", "text.pt"):
        with pytest.raises(UserError, match=f"{name}.*expected a TorchScript file.*torch.jit.save"):
            load_segmenter(str(tmp_path / name))


def save(path, values, mode="L"):
    Image.fromarray(np.asarray(values, dtype=np.uint8)).convert(mode).save(path)
    return path


def test_label_maps_are_read_as_they_are(tmp_path):
    values = classes((SIZE, SIZE)).numpy()
    values[0, 0] = 255
    assert np.array_equal(read_labels(save(tmp_path / "grey.png", values), SIZE).numpy(), values)
    palette = Image.fromarray(values.astype(np.uint8), "L").convert("P")
    palette.putdata(values.flatten().tolist())
    palette.putpalette([9, 9, 9] * 256)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(read_labels(tmp_path / "palette.png", SIZE).numpy(), values)


def test_label_maps_that_can_not_be_used_are_refused(tmp_path):
    path = save(tmp_path / "map.png", classes((SIZE, 2 * SIZE)))
    with pytest.raises(UserError, match=r"map.png of 16x32; expected 16x16, as the images.*nearest neighbour"):
        read_labels(path, SIZE)
    save(path, classes((SIZE, SIZE)), "RGB")
    with pytest.raises(UserError, match=r"map.png of mode RGB; expected class indices"):
        read_labels(path, SIZE)
    Image.fromarray(np.full((SIZE, SIZE), 26001, dtype=np.uint16)).save(path)
    with pytest.raises(UserError, match=r"map.png with class 26001; expected 0 to 255"):
        read_labels(path, SIZE)
    path.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"map.png .*expected a readable image"):
        read_labels(path, SIZE)


def test_maps_of_images_in_subfolders_lie_in_the_same_subfolders(tmp_path):
    for name, value in (("n1", 1), ("n2", 2)):
        (tmp_path / "labels" / name).mkdir(parents=True)
        save(tmp_path / "labels" / name / "0.png", np.full((SIZE, SIZE), value))
    sources = ImageSet(
        [tmp_path / "testB" / "n2" / "0.jpg", tmp_path / "testB" / "n1" / "0_B.jpg"], SIZE, root=tmp_path
    )
    truth = Segmentation(lambda x: x, tmp_path / "labels").truth(sources)
    assert [int(labels.max()) for labels in truth] == [2, 1]


def test_each_source_image_has_its_map_by_name(tmp_path):
    for name in ("3", "17"):
        save(tmp_path / f"{name}.png", np.full((SIZE, SIZE), int(name)))
    sources = ImageSet([tmp_path / "17_B.jpg", tmp_path / "3.jpg"], SIZE)
    segmentation = Segmentation(lambda x: x, tmp_path)
    assert segmentation.truth(sources)[:, 0, 0].tolist() == [17, 3]
    more = ImageSet([*sources.paths, tmp_path / "4.jpg"], SIZE)
    with pytest.raises(UserError, match=r"without 4.png; expected a label map for each image of B2A.*Add it"):
        segmentation.truth(more)


def test_batches_are_one_score(tmp_path):
    images, truth = toy_images(40, dtype=torch.float32), classes((40, SIZE, SIZE), 3).to(torch.uint8)
    found = Segmentation(lambda x: x, tmp_path).scores(images, truth, torch.device("cpu"))
    assert found == scores(confusion_matrix(truth, images.argmax(1)))


def test_a_side_or_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"segmented: got B2B; expected A2B or B2A.*Did you mean 'B2A'"):
        Segmentation(lambda x: x, tmp_path, "B2B")
    with pytest.raises(UserError, match=r"labels: got .*nowhere; expected a folder of label maps"):
        Segmentation(lambda x: x, tmp_path / "nowhere")


def test_a_label_map_larger_than_memory_allows_is_refused_by_its_size(tmp_path, monkeypatch):
    path = save(tmp_path / "map.png", np.zeros((SIZE, SIZE), dtype=np.uint8))
    monkeypatch.setattr(pixels, "MAX_PIXELS", SIZE * SIZE - 1)
    with pytest.raises(UserError, match=rf"labels: got .*map.png \({SIZE}x{SIZE} pixels, more than {SIZE * SIZE - 1}"):
        read_labels(path, SIZE)
