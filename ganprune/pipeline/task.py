"""What is compressed: a trained CycleGAN and its images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ganprune.assets import TOY_SIZE, default_checkpoint, default_images, toy_checkpoint
from ganprune.data.images import UnpairedImages
from ganprune.data.sizes import Framing, Size
from ganprune.device import resolve_device
from ganprune.errors import UserError
from ganprune.models.architecture import output_channels, specification
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.cyclegan import CycleGAN, domain_channels
from ganprune.models.options import CheckpointOptions
from ganprune.models.scores import scores_taken
from ganprune.models.sizing import check_size, size_multiple
from ganprune.models.weights import weights_digest
from ganprune.runs.directory import CONFIG, RunDirectory


@dataclass(frozen=True)
class Task:
    """What is compressed: a CycleGAN, its images, and where they came from."""

    cyclegan: CycleGAN
    images: UnpairedImages
    checkpoint: str | None
    data: str | None
    networks: CheckpointOptions = field(default_factory=CheckpointOptions)

    @property
    def device(self) -> torch.device:
        return self.cyclegan.device

    @property
    def taken_for(self) -> list[str]:
        """What was inferred of the networks and the images, a line each with the option that says otherwise."""
        return [*self.cyclegan.taken_for, *self.images.taken_for]

    @property
    def whom(self) -> str:
        """What is compressed, in words."""
        return "both generators" if len(self.cyclegan) > 1 else f"generator {next(iter(self.cyclegan))}"


def load_task(
    checkpoint: str | Path | None,
    data: str | Path | None,
    size: int | Size | Framing | None = None,
    device: str = "auto",
    networks: CheckpointOptions | None = None,
) -> Task:
    """Load a checkpoint and its images; None stands for the shipped ones.

    Args:
        checkpoint: folder or file.
        data: folder of images. Those of a domain that nothing is translated from may be missing.
        size: of the images; see :class:`UnpairedImages`. What it leaves open of their values is as the checkpoint's
            own images had it, if that was made by ``ganprune pretrain``.
        device: "auto", "cpu", "cuda" or "cuda:N".
        networks: how the checkpoint is to be read.

    Raises:
        UserError: one of them can't be used, or one is the shipped one and the other is not.
    """
    if (checkpoint is None) != (data is None):
        given, missing = ("data", "checkpoint") if checkpoint is None else ("checkpoint", "data")
        raise UserError(missing, "nothing", f"a --{missing} to go with --{given}", "Give both, or neither.")
    target, networks = resolve_device(device), networks or CheckpointOptions()
    cyclegan = load_cyclegan(checkpoint or default_checkpoint(), options=networks, device=target)
    own = pretrain_framing(checkpoint) if checkpoint else None
    framing = Framing.of(size).over(own.without_size() if own else None)
    images = UnpairedImages(
        data or default_images(), framing, multiple=size_multiple(cyclegan.generators()),
        channels=domain_channels(cyclegan), needed=[side.source for side in cyclegan.values()],
    )  # fmt: skip
    check_size(cyclegan, images.size)
    cyclegan.taken_for += taken_scores(cyclegan, images.size)
    places = [str(Path(path).resolve()) if path else None for path in (checkpoint, data)]
    return Task(cyclegan, images, places[0], places[1], networks)


def pretrain_framing(checkpoint: str | Path) -> Framing | None:
    """Return how the images were read that ``ganprune pretrain`` made a checkpoint of; None of another checkpoint.

    Raises:
        UserError: it says something that can't be.
    """
    directory = RunDirectory(checkpoint)
    if not directory.exists(CONFIG):
        return None
    try:
        config = directory.read_json(CONFIG)
    except UserError:  # another program's
        return None
    made = isinstance(config, dict) and config.get("command") == "pretrain"
    return saved_framing(config.get("data")) if made else None


def saved_framing(data: Any) -> Framing | None:
    """Return the framing that a file's entries say, if they do."""
    return Framing.from_json(data) if isinstance(data, dict) and "size" in data else None


def load_what_can_be(load: Callable[[CheckpointOptions], Task], networks: CheckpointOptions) -> Task:
    """Load a task whose discriminators nobody needs: without them, and a note, where they can't be used.

    Args:
        load: loads the task with such options.
        networks: how the checkpoint is to be read.

    Raises:
        UserError: it can't be loaded without discriminators either.
    """
    try:
        return load(networks)
    except UserError as error:
        try:
            task = load(networks.without_discriminators())
        except UserError:
            raise error from None
        task.cyclegan.notes.append(f"discriminators are left out, as nothing needs them: {error.value}")
        return task


def taken_scores(cyclegan: CycleGAN, size: Size) -> list[str]:
    """Return a line for each discriminator that returns more than one tensor: which of them are taken as scores."""
    lines = []
    for name, side in cyclegan.items():
        if side.discriminator is not None and specification(side.discriminator).partition(":")[0] != "patch":
            image = torch.zeros(1, output_channels(side.generator), *size, device=cyclegan.device)
            taken = None
            with suppress(Exception):  # if it can't, the dry run says so
                taken = scores_taken(side.discriminator, image)
            if taken is not None:
                lines.append(f"scores of the {name} discriminator: {taken} (--discriminator package.module:factory)")
    return lines


def load_toy() -> Task:
    """Load the toy CycleGAN and the shipped images at its size: for many searches in little time, on the CPU."""
    checkpoint = toy_checkpoint()
    return Task(load_cyclegan(checkpoint), UnpairedImages(default_images(), TOY_SIZE), str(checkpoint), None)


def fingerprint(task: Task) -> dict[str, str]:
    """Return what a run notes of its task, to find it unchanged when it is resumed."""
    return {"data_sha256": task.images.digest(), "checkpoint_sha256": weights_digest(task.cyclegan.networks())}


def check_fingerprint(task: Task, config: Mapping[str, Any]) -> None:
    """Check that images and checkpoint are those that a run began with.

    Raises:
        UserError: they aren't, or can't be read.
    """
    sources = {"data_sha256": (task.data, "images"), "checkpoint_sha256": (task.checkpoint, "networks")}
    for name, found in fingerprint(task).items():
        path, what = sources[name]
        if config.get(name) != found:
            raise UserError(
                f"{what} in {path or 'the package'}", f"other {what} than when the run began",
                "what it began with", "Restore them, or start a new run.",
            )  # fmt: skip
