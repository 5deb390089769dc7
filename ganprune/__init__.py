"""ganprune: co-evolutionary filter pruning for CycleGANs (Shu et al., ICCV 2019), on DEAP and PyTorch.

Importing the package loads nothing heavy; each public name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "CycleFitness": "ganprune.fitness",
    "CycleGAN": "ganprune.models.cyclegan",
    "CycleGANTrainer": "ganprune.training",
    "FilterSpace": "ganprune.filters.space",
    "Individual": "ganprune.evolution.individual",
    "RunDirectory": "ganprune.runs.directory",
    "Side": "ganprune.models.cyclegan",
    "UnpairedImages": "ganprune.data.images",
    "UserError": "ganprune.errors",
    "coevolve": "ganprune.evolution.coevolution",
    "compact": "ganprune.filters.builder",
    "compress": "ganprune.commands.evolve",
    "default_checkpoint": "ganprune.assets",
    "default_images": "ganprune.assets",
    "export_run": "ganprune.commands.export",
    "load_cyclegan": "ganprune.models.checkpoint",
    "load_generator": "ganprune.filters.saving",
    "make_toolbox": "ganprune.evolution.toolbox",
    "mask": "ganprune.filters.builder",
    "save_cyclegan": "ganprune.models.checkpoint",
    "translate_files": "ganprune.commands.translate",
    "write_report": "ganprune.commands.report",
}

__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'ganprune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
