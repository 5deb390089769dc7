"""The files that hold a CycleGAN, whole or in part.

Known file layouts differ in who judges whom: see :mod:`ganprune.models.layouts`. Foreign files are read with
``torch.load(weights_only=True)`` only; ours are safetensors beside a JSON file with the architecture.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ganprune.data.sizes import Size, size_text
from ganprune.errors import UserError
from ganprune.models.architecture import (
    KINDS,
    Config,
    build,
    config_from_json,
    describe,
    input_channels,
    output_channels,
    skeleton,
    specification,
)
from ganprune.models.cyclegan import (
    OTHER,
    PARTS,
    SOURCE,
    TARGET,
    CycleGAN,
    Side,
    domain_channels,
    new_cyclegan,
)
from ganprune.models.infer import infer_discriminator, infer_generator
from ganprune.models.layouts import CONFIG_NAME, LAYOUTS, WEIGHTS_NAME, Place, find_layout
from ganprune.models.options import SIDES, CheckpointOptions, make_factory
from ganprune.models.weights import State, check_tensors, load_into, read_pth, read_safetensors, read_weights
from ganprune.runs.files import check_format, parse_json, replace, replacing

FORMAT = 1
INFER = {"generator": infer_generator, "discriminator": infer_discriminator}
__all__ = [
    "CONFIG_NAME", "FORMAT", "LAYOUTS", "OTHER", "SIDES", "SOURCE", "TARGET", "WEIGHTS_NAME", "CycleGAN", "Side",
    "check_size", "check_tensors", "domain_channels", "load_cyclegan", "load_into", "new_cyclegan", "read_pth",
    "read_safetensors", "save_cyclegan",
]  # fmt: skip


def save_cyclegan(cyclegan: CycleGAN, folder: str | Path, *, half: bool = False) -> None:
    """Write ``cyclegan.json`` and ``cyclegan.safetensors`` into a folder, each atomically.

    Args:
        cyclegan: the networks. Of one that ganprune does not know, only its factory's name is written.
        folder: made if missing.
        half: store float16 (half the bytes; they are float32 again when loaded).

    Raises:
        UserError: the folder can't be written; a checkpoint that was there before is whole.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    networks = cyclegan.networks()
    architecture = {name: describe(network) for name, network in networks.items()}
    tensors = {
        f"{name}.{key}": (value.half() if half and value.is_floating_point() else value).cpu().contiguous()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    with replacing(folder / WEIGHTS_NAME) as path:
        save_file(tensors, path)
    text = json.dumps({"format": FORMAT, "architecture": architecture}, indent=1)
    replace(folder / CONFIG_NAME, text + "\n")


def load_cyclegan(
    folder: str | Path, *, options: CheckpointOptions | None = None, device: torch.device | str = "cpu"
) -> CycleGAN:
    """Load a trained CycleGAN, or what there is of one, with the right judge for each side.

    Args:
        folder: our own format, or a layout of :data:`LAYOUTS`; or a single file with a generator's weights.
        options: epoch, architectures and side, where they are not to be found out; see :class:`CheckpointOptions`.
        device: where the networks go.

    Returns:
        The sides that there are, float32, in evaluation mode; its ``notes`` say what was found and what was not.

    Raises:
        UserError: there is no generator, or a tensor is missing, extra or misshapen; it is named.
    """
    folder, options = Path(folder), options or CheckpointOptions()
    if not (folder.is_dir() or folder.is_file()):
        raise UserError("checkpoint", str(folder), "an existing folder", "Check --checkpoint.")
    own = (folder / CONFIG_NAME).is_file()
    cyclegan = _load_own(folder, options) if own else _load_layout(folder, options)
    if options.only is not None:
        cyclegan = cyclegan.only(options.only)
    for network in cyclegan.networks().values():
        network.float().eval().requires_grad_(False)
    return cyclegan.to(device)


@torch.no_grad()
def check_size(cyclegan: CycleGAN, size: Size) -> None:
    """Check that images of this (height, width) pass through all networks, which are in evaluation mode, and come back.

    Raises:
        UserError: a network can't take them, most often because they are too small for the discriminator; or the
            sides don't fit each other.
    """
    for name, side in cyclegan.items():
        image = torch.zeros(1, input_channels(side.generator), *size, device=cyclegan.device)
        fake = _pass(f"{name} generator", side.generator, image, size)
        if not isinstance(fake, torch.Tensor) or fake.ndim != 4:
            raise UserError(
                f"{name} generator", f"an output {type(fake).__name__}", "(B, C, H, W) images", "Correct it."
            )
        if fake.shape[1] != output_channels(side.generator):
            found = f"{fake.shape[1]} channels, where its last convolution has {output_channels(side.generator)}"
            raise UserError(f"{name} generator", found, "an attribute out_channels that says so", "Give it one.")
        if side.discriminator is not None:
            _pass(f"{name} discriminator", side.discriminator, fake, size)
        back = cyclegan.reverse(name)
        if back is not None and _pass(f"{OTHER[name]} generator", back, fake, size).shape[1] != image.shape[1]:
            found = f"a {OTHER[name]} that returns other images than the {image.shape[1]}-channel ones {name} takes"
            raise UserError("checkpoint", found, "two generators between the same domains", "Check its files.")


def _pass(name: str, network: nn.Module, images: torch.Tensor, size: Size) -> torch.Tensor:
    try:
        return network(images)  # type: ignore[no-any-return]
    except Exception as error:  # networks that we did not write fail as they like
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            "size", f"{size_text(size)}, which the {name} can't take ({reason})", "images that fit the networks",
            "Choose a larger --size, or check the channels of its images.",
        ) from error  # fmt: skip


def _load_layout(path: Path, options: CheckpointOptions) -> CycleGAN:
    layout = find_layout(path, options.epoch)
    networks: dict[Place, nn.Module] = {}
    notes = []
    for (side, part), file in layout.files.items():
        network = _make(part, side, read_weights(file), file, options)
        notes.append(_note(side, part, network, file.name))
        networks[side, part] = network
    return _assemble(networks, [f"{path}: layout {layout.name}", *notes, *layout.notes])


def _load_own(folder: Path, options: CheckpointOptions) -> CycleGAN:
    path = folder / WEIGHTS_NAME
    if options.epoch is not None:
        raise UserError("epoch", f"{options.epoch} with {folder}", "none: it holds one state only", "Leave it out.")
    architecture = _read_architecture(folder / CONFIG_NAME)
    tensors = read_safetensors(path)
    unknown = [key for key in tensors if ".".join(key.split(".")[:2]) not in architecture]
    if unknown:
        raise UserError("checkpoint", f"{path} with extra tensor {unknown[0]}", "only known networks", "Save it again.")
    networks: dict[Place, nn.Module] = {}
    notes = []
    for side, part in ((side, part) for side in SIDES for part in PARTS):
        key = f"{side}.{part}"
        if key in architecture and f"{side}.generator" in architecture:
            state = {k.removeprefix(key + "."): v for k, v in tensors.items() if k.startswith(key + ".")}
            networks[side, part] = _make(part, side, state, path, options, architecture[key])
            notes.append(_note(side, part, networks[side, part], WEIGHTS_NAME))
    if not networks:
        raise UserError("checkpoint", f"{folder} without a generator", "at least one", "Save it again.")
    return _assemble(networks, [f"{folder}: ganprune's own format", *notes])


def _assemble(networks: Mapping[Place, nn.Module], notes: list[str]) -> CycleGAN:
    sides = []
    for name in SIDES:
        generator, judge = networks.get((name, "generator")), networks.get((name, "discriminator"))
        if generator is None:
            continue
        taken, given = input_channels(generator), output_channels(generator)
        if judge is not None and given != input_channels(judge) == taken + given:
            # pix2pix's judges see input and output together; without pairs of images there is nothing to show them.
            notes.append(f"{name} discriminator is left out: it judges pairs of images; L_GenA instead of L_DisA")
            judge = None
        sides.append(Side(name, generator, judge))
    return CycleGAN(*sides, notes=notes)


def _make(
    part: str, side: str, state: State, path: Path, options: CheckpointOptions, saved: Mapping[str, Any] | None = None
) -> nn.Module:
    """Build the network that a state dict belongs to, and load it.

    Args:
        part: "generator" or "discriminator".
        side: whose.
        state: its tensors.
        path: where they came from.
        options: what the user says of it.
        saved: its architecture, where a file says it.
    """
    text, factory = options.specification(part, side), options.factory(part, side)
    remedy = f"Check that the file belongs to it, or say what it is by --{part}."
    if factory is not None:
        network: nn.Module = make_factory(part, factory)()
    else:
        config = _config(part, side, state, path, text, saved)
        check_tensors(skeleton(config), state, path, remedy)  # before anything of that size is built
        network = build(config)
    return load_into(network, state, path, remedy)


def _config(
    part: str, side: str, state: State, path: Path, text: str | None, saved: Mapping[str, Any] | None
) -> Config:
    """Return the saved or inferred architecture, with what the user says in its place."""
    from ganprune.specs import given_parameters

    if text is None:
        return config_from_json(saved, f"{side}.{part}") if saved is not None else _inferred(part, state, path)
    kind, _, values = text.partition(":")
    known = KINDS[kind][0]
    try:
        config = config_from_json(saved, f"{side}.{part}") if saved is not None else _inferred(part, state, path)
    except UserError:
        config = known()  # what the user says may be all that there is to know
    base: Any = config if isinstance(config, known) else known()
    changed: Config = dataclasses.replace(base, **given_parameters(part, kind, known, values))
    return changed


def _inferred(part: str, state: State, path: Path) -> Config:
    try:
        return INFER[part](state, path)
    except (IndexError, ValueError, KeyError, StopIteration) as error:  # names or shapes that no such network has
        raise UserError(
            part, f"{path} ({error})", "the tensors of a CycleGAN", f"Check --checkpoint, or say --{part}."
        ) from error


def _note(side: str, part: str, network: nn.Module, file: str) -> str:
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"{side} {part}: {specification(network)} ({count:,} parameters, {file})"


def _read_architecture(path: Path) -> dict[str, Any]:
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        check_format(data, FORMAT, path)
        return dict(data["architecture"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("checkpoint", f"{path} ({error})", "a JSON file with architecture", "Copy it again.") from error
