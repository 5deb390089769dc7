"""The shipped task, colour and ink: images and a trained CycleGAN. See ``colour_ink/README.md`` for their origin."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "colour_ink"
TOY_SIZE = 32  # side length of the images that the toy CycleGAN was trained on


def default_images() -> Path:
    """Return the folder of the shipped images (trainA, trainB, valA, valB, testA, testB), 64x64."""
    return FOLDER


def default_checkpoint() -> Path:
    """Return the folder of the shipped CycleGAN (ngf=32, 6 blocks, ndf=32)."""
    return FOLDER / "checkpoint"


def toy_checkpoint() -> Path:
    """Return the folder of a tiny CycleGAN of the same images at 32x32 (ngf=8, 2 blocks, ndf=16): for comparisons."""
    return FOLDER / "toy"


def are_default(root: Path) -> bool:
    """Return whether a folder holds the shipped images, there or copied: test images of the same names and sizes."""
    return root.resolve() == FOLDER.resolve() or _test_files(root) == _test_files(FOLDER)


def _test_files(root: Path) -> dict[str, int]:
    return {f"{path.parent.name}/{path.name}": path.stat().st_size for path in root.glob("test[AB]/*")}
