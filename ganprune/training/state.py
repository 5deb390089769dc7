"""The file in which a training run keeps its state: names of tensors, facts, and reading them back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ganprune.errors import UserError
from ganprune.runs.files import check_format, parse_json
from ganprune.settings.training import TrainingSettings

TENSORS_NAME = "training.safetensors"
FORMAT = 1
FURTHER = "further."  # begins the names of tensors that a caller adds


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the step, settings and facts that :meth:`CycleGANTrainer.save` wrote beside the tensors.

    Raises:
        UserError: the file is damaged, another version's, or no training's.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            saved = parse_json((file.metadata() or {})["training"])
        check_format(saved, FORMAT, path)
        if not isinstance(saved["step"], int) or not isinstance(saved["settings"], dict):
            raise ValueError("neither step nor settings")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError("training state", str(path), "a file that training wrote", "Start without --resume.") from error
    known = TrainingSettings().to_json()  # what an earlier version had no setting for
    return {**saved, "settings": {**known, **saved["settings"]}}


def with_prefix(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
