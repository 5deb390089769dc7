"""Training of both sides: its settings, the trainer, and the file that an interrupted run goes on from."""

from ganprune.settings.training import TAUGHT, TrainingSettings, with_all_terms
from ganprune.training.pool import ImagePool
from ganprune.training.state import TENSORS_NAME, read_metadata
from ganprune.training.trainer import CycleGANTrainer

__all__ = [
    "TAUGHT", "TENSORS_NAME", "CycleGANTrainer", "ImagePool", "TrainingSettings", "read_metadata", "with_all_terms",
]  # fmt: skip
