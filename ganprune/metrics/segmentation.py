"""Scores of translations as a segmenter sees them: the paper's FCN-score (Long et al., CVPR 2015); and overlap of ink.

A segmenter is code, so it is given on the command line or in Python and never read from a run's files. Loading a
TorchScript file runs no Python from it, but what it holds is a program that PyTorch's interpreter runs when it is
applied: take it from whom you trust. The truth is a map of class indices for each translated image.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ganprune.data.files import pair_name, scan, without_ending
from ganprune.data.images import ImageSet
from ganprune.data.pixels import opened
from ganprune.data.sizes import Size, read_size, size_text
from ganprune.errors import UserError, did_you_mean
from ganprune.models.cyclegan import SOURCE
from ganprune.models.options import SIDES
from ganprune.specs import load_function

IGNORE = 255
CLASSES = 256  # a label map holds bytes
BATCH = 16

Segmenter = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Segmentation:
    """How one side's translations are segmented.

    Attributes:
        segmenter: (N, 3, H, W) images in [-1, 1] -> (N, H, W) class indices or (N, K, H, W) scores.
        labels: folder of label maps: greyscale or palette images of class indices, 255 where there is no truth, at
            the images' size, each named like the *source* image of its translation.
        side: the side whose output the segmenter knows. B2A by default: the paper's Cityscapes has photographs as A.
    """

    segmenter: Segmenter
    labels: Path
    side: str = "B2A"

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise UserError("segmented", self.side, " or ".join(SIDES), did_you_mean(self.side, SIDES))
        if not self.labels.is_dir():
            raise UserError("labels", str(self.labels), "a folder of label maps", "Check --labels.")

    def truth(self, sources: ImageSet) -> torch.Tensor:
        """Return the label maps of the source images: (N, H, W), uint8.

        Raises:
            UserError: one is missing, unreadable, of another size or no map of class indices; it is named.
        """
        by_name = {without_ending(path.relative_to(self.labels).as_posix()): path for path in scan(self.labels).images}
        found = []
        for source in sources.paths:
            name = without_ending(sources.name(source))
            path = by_name.get(name) or by_name.get(pair_name(sources.name(source), SOURCE[self.side]))
            if path is None:
                expected = f"a label map for each image of {self.side}"
                remedy = "Add it. Maps are named like the images that are translated."
                raise UserError("labels", f"{self.labels} without {name}.png", expected, remedy)
            found.append(read_labels(path, sources.frame))
        return torch.stack(found)

    def scores(self, fake: torch.Tensor, truth: torch.Tensor, device: torch.device) -> dict[str, float]:
        """Return the scores of (N, 3, H, W) translations against (N, H, W) label maps; see :func:`scores`."""
        confusion = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
        for images, labels in zip(fake.split(BATCH), truth.split(BATCH), strict=True):
            confusion += confusion_matrix(labels, segment(self.segmenter, images.to(device)))
        return scores(confusion)


def load_segmenter(spec: str, device: torch.device | str = "cpu") -> Segmenter:
    """Return what ``--segmenter`` names: a TorchScript file, or a ``package.module:callable``, which is imported.

    Raises:
        UserError: there is no such file or callable, or the file is no TorchScript.
    """
    if ":" in spec and not Path(spec).exists():
        return load_function("segmenter", spec, spec)
    if not Path(spec).is_file():
        raise UserError("segmenter", spec, "a TorchScript file, or package.module:callable", "Check --segmenter.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated; segmenters in it are about
            network: torch.nn.Module = torch.jit.load(spec, map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        found = f"{spec} ({str(error).splitlines()[0][:120]})"
        raise UserError("segmenter", found, "a TorchScript file", "Save it by torch.jit.save.") from error
    return network.eval()


@torch.inference_mode()
def segment(segmenter: Segmenter, images: torch.Tensor) -> torch.Tensor:
    """Return the classes of every pixel, (N, H, W) int64 on the CPU, of (N, 3, H, W) images in [-1, 1].

    Raises:
        UserError: the segmenter fails, or returns neither class indices nor scores of that size.
    """
    try:
        result = segmenter(images)
    except Exception as error:
        found = f"{type(error).__name__} ({(str(error).splitlines() or [''])[0][:120]})"
        expected = f"classes of {tuple(images.shape)} images in [-1, 1]"
        raise UserError("segmenter", found, expected, "Correct the segmenter.") from error
    wanted = (len(images), *images.shape[-2:])
    expected = f"whole numbers {wanted}, or scores ({wanted[0]}, K, {wanted[1]}, {wanted[2]})"
    if not isinstance(result, torch.Tensor):
        raise UserError("segmenter", f"a result of type {type(result).__name__}", expected, "Return a tensor.")
    scored = result.ndim == 4 and 1 <= result.shape[1] < CLASSES
    whole = result.ndim == 3 and not result.is_floating_point() and not result.is_complex()
    if not (scored or whole) or (len(result), *result.shape[-2:]) != wanted:
        found = f"a result of shape {tuple(result.shape)}, {result.dtype}"
        raise UserError("segmenter", found, expected, "Resize its output to the images.")
    classes = (result.argmax(1) if scored else result.to(torch.int64)).cpu()
    if classes.min() < 0 or classes.max() >= CLASSES:
        found = f"classes {int(classes.min())} to {int(classes.max())}"
        raise UserError("segmenter", found, f"0 to {CLASSES - 1}", "Correct the segmenter.")
    return classes


def read_labels(path: Path, size: int | Size) -> torch.Tensor:
    """Read one map of class indices of (height, width) ``size``: (H, W), uint8.

    Raises:
        UserError: it is unreadable, has another size, or holds colours in place of indices.
    """
    try:
        with opened(path) as image:
            mode, values = image.mode, np.array(image)
    except Exception as error:  # decoders of damaged files fail in every way there is
        raise UserError("labels", f"{path} ({error})", "a readable image", "Replace the file.") from error
    if mode not in ("L", "P", "1") and not mode.startswith("I"):
        expected = "class indices (a greyscale or palette image)"
        raise UserError("labels", f"{path} of mode {mode}", expected, "Convert its colours to class indices.")
    wanted = read_size(size)
    if values.shape != wanted:
        found = f"{path} of {values.shape[0]}x{values.shape[1]}"
        raise UserError("labels", found, f"{size_text(wanted)}, as the images", "Resize it by nearest neighbour.")
    if values.max() >= CLASSES:
        raise UserError("labels", f"{path} with class {values.max()}", f"0 to {IGNORE}", "Number classes from 0.")
    return torch.from_numpy(values.astype(np.uint8))


def confusion_matrix(truth: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    """Count pixels by (true class, predicted class): (256, 256), int64; pixels whose truth is 255 are left out."""
    truth, predicted = truth.flatten().long(), predicted.flatten().long()
    valid = truth != IGNORE
    cells = torch.bincount(truth[valid] * CLASSES + predicted[valid], minlength=CLASSES * CLASSES)
    return cells.view(CLASSES, CLASSES)


def scores(confusion: torch.Tensor) -> dict[str, float]:
    """Return the FCN-score of a matrix of counts, rows true and columns predicted.

    Returns:
        ``pixel_accuracy``: the share of pixels that are right; ``class_accuracy``: that share within each class,
        averaged; ``mean_iou``: intersection over union of each class, averaged. All from 0 to 1; classes that the
        truth does not have are left out of both means (predicting them still costs the classes that were there).

    Raises:
        UserError: no pixel has a truth.
    """
    counts = confusion.double()
    right, actual, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    present = actual > 0
    if not present.any():
        raise UserError("labels", f"only {IGNORE} (no truth)", "class indices", "Check --labels.")
    return {
        "pixel_accuracy": float(right.sum() / counts.sum()),
        "class_accuracy": float((right / actual)[present].mean()),
        "mean_iou": float((right / (actual + predicted - right))[present].mean()),
    }


def ink_iou(fake: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean over images of the ink's intersection over union; ink is what is darker than mid-grey.

    Args:
        fake, truth: (N, C, H, W) in [-1, 1]; a pixel's darkness is the mean of its channels, mid-grey is 0.

    Returns:
        1 where exactly the true ink is inked, 0 where none of it is. Two images without ink count as 1.
    """
    drawn, wanted = (images.mean(1) < 0 for images in (fake, truth))
    common, either = (drawn & wanted).sum((1, 2)), (drawn | wanted).sum((1, 2))
    return float(torch.where(either > 0, common / either.clamp_min(1), 1.0).mean())
