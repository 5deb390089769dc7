"""Training of both sides: the trainer, what it matches, and the file that an interrupted training goes on from."""

from ganprune.training.augmentation import ImagePool
from ganprune.training.state import TENSORS_NAME, read_metadata
from ganprune.training.trainer import CycleGANTrainer

__all__ = ["TENSORS_NAME", "CycleGANTrainer", "ImagePool", "read_metadata"]
