"""What is ready to translate: the compact generators of a run or an export, or a checkpoint's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune.assets import default_checkpoint, default_images
from ganprune.data.pixels import CHANNELS
from ganprune.data.sizes import Framing
from ganprune.errors import UserError, did_you_mean
from ganprune.filters.saving import read_description
from ganprune.models.architecture import input_channels
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.layouts import CONFIG_NAME
from ganprune.models.options import SIDES, CheckpointOptions
from ganprune.pipeline.config import open_searched, read_config, read_summary, run_networks
from ganprune.pipeline.results import load_pair
from ganprune.pipeline.task import pretrain_framing, saved_framing
from ganprune.runs.directory import CONFIG, LOGBOOK, SEARCHED, STATE, SUMMARY, RunDirectory
from ganprune.settings.evolve import EvolveSettings


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
        networks: how the checkpoint is to be read.
        settings: of the run that made them; the defaults where there was none.
        unfinished: what there is to say of a run that was interrupted after its search; None of all others.
    """

    path: Path
    generators: Mapping[str, nn.Module]
    framing: Framing | None = None
    checkpoint: Path | None = None
    data: Path | None = None
    pruned: bool = True
    networks: CheckpointOptions = field(default_factory=CheckpointOptions)
    settings: EvolveSettings = field(default_factory=EvolveSettings)
    unfinished: str | None = None

    def generator(self, direction: str) -> nn.Module:
        """Return the generator of one direction, which is given images that files can hold.

        Raises:
            UserError: an unknown one, one that the folder does not have, or one for images of other channels.
        """
        if direction not in SIDES:
            raise UserError("direction", direction, " or ".join(SIDES), did_you_mean(direction, SIDES))
        if direction not in self.generators:
            found = f"{direction}, which {self.path} lacks"
            alone = f" Or say what it is: --side {direction}." * (not self.pruned and len(self.generators) == 1)
            raise UserError("direction", found, ", ".join(self.generators), f"Use another --direction.{alone}")
        if (channels := input_channels(self.generators[direction])) not in CHANNELS:
            found = f"{direction} with {channels} image channels"
            raise UserError("generator", found, "3 or 1, as image files have", "Use another --direction.")
        return self.generators[direction]

    def originals(self, device: torch.device | str = "cpu") -> dict[str, nn.Module]:
        """Return the unpruned generators by side.

        Raises:
            UserError: there is no such checkpoint any more, or these generators are not a run's.
        """
        if self.checkpoint is None:
            found, remedy = f"{self.path}, which is no run", "Only a run has pruned an original."
            raise UserError("original", found, "a run directory", remedy)
        cyclegan = load_cyclegan(self.checkpoint, options=self.networks.without_discriminators(), device=device)
        return {name: side.generator for name, side in cyclegan.items()}

    def originals_if_there(
        self, report: Callable[[str], Any], lost: str, device: torch.device | str = "cpu"
    ) -> dict[str, nn.Module]:
        """Return the unpruned generators, or none where there are none; ``report`` is told what is lost by that."""
        if self.checkpoint is None:
            return {}
        try:
            return self.originals(device)
        except UserError as error:
            report(f"{lost}: {error}")
            return {}


def holds_run(path: str | Path) -> bool:
    """Return whether a folder holds a run that prunes; one of ``ganprune pretrain`` is a checkpoint, and so is one
    whose ``config.json`` another program wrote."""
    directory = RunDirectory(path)
    if not directory.exists(CONFIG) or directory.exists(CONFIG_NAME):
        return False
    if any(map(directory.exists, (STATE, LOGBOOK, SEARCHED, SUMMARY))):
        return True
    config = directory.read_json(CONFIG)
    return not isinstance(config, dict) or not {"command", "format"}.isdisjoint(config)


def load_trained(
    path: str | Path, *, networks: CheckpointOptions | None = None, device: torch.device | str = "cpu"
) -> Trained:
    """Load the generators of a run whose search is done, of an export or of a checkpoint.

    Args:
        path: the folder; of a checkpoint, also a file.
        networks: how a checkpoint is to be read; of a run or an export, only the factories that it was begun with.
        device: where the generators go.

    Raises:
        UserError: it holds none of these, a run without generators yet, or damaged files.
    """
    path, networks = Path(path), networks or CheckpointOptions()
    if not (path.is_dir() or path.is_file()):
        raise UserError("run", str(path), "a run directory or a checkpoint's folder", "Check the path.")
    directory = RunDirectory(path)
    if holds_run(path):
        run, unfinished = open_searched(path)
        config, settings = read_config(run)
        networks = run_networks(config, networks)
        checkpoint, data = (None if config[key] is None else Path(config[key]) for key in ("checkpoint", "data"))
        return Trained(
            path, load_pair(directory, device, _sides(run), networks), Framing.from_json(config),
            checkpoint or default_checkpoint(), data or default_images(), networks=networks, settings=settings,
            unfinished=unfinished,
        )  # fmt: skip
    if present := [name for name in SIDES if directory.exists(f"{name}.json")]:
        framing = saved_framing(read_description(path / present[0]))
        return Trained(path, load_pair(directory, device, present, networks), framing, networks=networks)
    cyclegan = load_cyclegan(path, options=networks.without_discriminators(), device=device)
    own = {name: side.generator for name, side in cyclegan.items()}
    return Trained(path, own, pretrain_framing(path), pruned=False, networks=networks)


def _sides(run: RunDirectory) -> list[str]:
    """Return the sides that a run pruned."""
    found = read_summary(run).get("sides")
    sides = [name for name in SIDES if isinstance(found, dict) and name in found]
    if not sides:
        raise UserError(str(run.path(SUMMARY)), "no sides", "a finished run's summary", "Restore the file.")
    return sides
