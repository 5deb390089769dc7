"""What is ready to translate: the compact generators of a run or an export, or a checkpoint's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ganprune.assets import default_checkpoint, default_images
from ganprune.errors import UserError, did_you_mean
from ganprune.filters.compact import load_generator, read_description
from ganprune.models.checkpoint import CONFIG_NAME, SIDES, load_cyclegan
from ganprune.pipeline import open_finished, read_config
from ganprune.results import load_pair
from ganprune.runs import CONFIG, RunDirectory
from ganprune.sizes import Framing


@dataclass(frozen=True)
class Trained:
    """Generators by side, and what is known of where they come from.

    Attributes:
        path: the folder that they were read from.
        generators: compact ones, or a checkpoint's own.
        framing: of the images that they were made with; None where nothing says.
        checkpoint: the folder of the unpruned generators; None where these are none of a run.
        data: the folder of the images that they were made with; None where nothing says.
        pruned: whether they are compact, not a checkpoint's own.
    """

    path: Path
    generators: Mapping[str, nn.Module]
    framing: Framing | None = None
    checkpoint: Path | None = None
    data: Path | None = None
    pruned: bool = True

    def generator(self, direction: str) -> nn.Module:
        """Return the generator of one direction.

        Raises:
            UserError: an unknown one, or one that the folder does not have.
        """
        if direction not in SIDES:
            raise UserError("direction", direction, " or ".join(SIDES), did_you_mean(direction, SIDES))
        if direction not in self.generators:
            found = f"{direction}, which {self.path} lacks"
            raise UserError("direction", found, ", ".join(self.generators), "Use another --direction.")
        return self.generators[direction]

    def originals(self, device: torch.device | str = "cpu") -> dict[str, nn.Module]:
        """Return the unpruned generators by side.

        Raises:
            UserError: there is no such checkpoint any more, or these generators are not a run's.
        """
        if self.checkpoint is None:
            raise UserError(
                "original", f"{self.path}, which is no run", "a run directory", "Only a run has pruned an original."
            )
        return {name: side.generator for name, side in load_cyclegan(self.checkpoint, device=device).items()}


def load_trained(path: str | Path, *, device: torch.device | str = "cpu") -> Trained:
    """Load the generators of a finished run, of an export or of a checkpoint.

    Args:
        path: the folder.
        device: where the generators go.

    Raises:
        UserError: it holds none of these, an unfinished run, or damaged files.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError("run", str(path), "a run directory or a checkpoint's folder", "Check the path.")
    directory = RunDirectory(path)
    if directory.exists(CONFIG) and not directory.exists(CONFIG_NAME):  # a pretraining run is a checkpoint
        config, _ = read_config(open_finished(path))
        checkpoint, data = (None if config[key] is None else Path(config[key]) for key in ("checkpoint", "data"))
        return Trained(
            path, load_pair(directory, device), Framing.from_json(config), checkpoint or default_checkpoint(),
            data or default_images(),
        )  # fmt: skip
    present = [name for name in SIDES if directory.exists(f"{name}.json")]
    if present:
        description = read_description(path / present[0])
        framing = Framing.from_json(description) if "size" in description else None
        return Trained(path, {name: load_generator(path / name, device=device) for name in present}, framing)
    cyclegan = load_cyclegan(path, device=device)
    own = {name: side.generator for name, side in cyclegan.items()}
    return Trained(path, own, _pretrained_framing(directory), pruned=False)


def _pretrained_framing(directory: RunDirectory) -> Framing | None:
    """Return the framing of the images that a checkpoint was trained with, if ``ganprune pretrain`` made it."""
    if not directory.exists(CONFIG):
        return None
    config = directory.read_json(CONFIG)
    data = config.get("data") if isinstance(config, dict) else None
    return Framing.from_json(data) if isinstance(data, dict) and "size" in data else None
