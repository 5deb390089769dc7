"""The files that hold a CycleGAN, whole or in part.

Foreign files, in the layouts of :mod:`ganprune.models.layouts`, are read with ``torch.load(weights_only=True)`` only;
ours are safetensors beside a JSON file with the architecture.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ganprune.errors import UserError
from ganprune.models.aliases import named_once, save_tensors
from ganprune.models.architecture import (
    KINDS,
    build,
    config_from_json,
    describe,
    input_channels,
    output_channels,
    skeleton,
    specification,
)
from ganprune.models.cyclegan import PARTS, CycleGAN, Side
from ganprune.models.description import Architecture
from ganprune.models.infer import infer_discriminator, infer_generator
from ganprune.models.layouts import CONFIG_NAME, WEIGHTS_NAME, Place, find_layout
from ganprune.models.options import SIDES, CheckpointOptions, make_network
from ganprune.models.weights import State, check_tensors, load_into, read_safetensors, read_weights
from ganprune.runs.files import check_format, parse_json, replace, replacing
from ganprune.specs import given_parameters

FORMAT = 1


class Found(NamedTuple):
    """The tensors of one network, before it is built.

    Attributes:
        side, part: which network.
        state: its tensors.
        path: where they came from.
        saved: its architecture, where a file says it.
    """

    side: str
    part: str
    state: State
    path: Path
    saved: Mapping[str, Any] | None = None


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
        f"{name}.{key}": value.half() if half and value.is_floating_point() else value
        for name, network in networks.items()
        for key, value in named_once(network).items()
    }
    with replacing(folder / WEIGHTS_NAME) as path:
        save_tensors(tensors, path)
    text = json.dumps({"format": FORMAT, "architecture": architecture}, indent=1)
    replace(folder / CONFIG_NAME, text + "\n")


def load_cyclegan(
    folder: str | Path, *, options: CheckpointOptions | None = None, device: torch.device | str = "cpu"
) -> CycleGAN:
    """Load a trained CycleGAN, or what there is of one, with the right discriminator on each side.

    Args:
        folder: our own format, or one of ``layouts.LAYOUTS``; or a single file with a generator's weights.
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
    if (folder / CONFIG_NAME).is_file():
        files, notes, left_out = _read_own(folder, options), [f"{folder}: ganprune's own format"], []
    else:
        layout = find_layout(folder, options.epoch)
        files = (Found(*place, read_weights(file), file) for place, file in layout.files.items())
        notes, left_out = [f"{folder}: layout {layout.name}"], layout.notes
    networks: dict[Place, nn.Module] = {}
    for found in files:
        network = networks[found.side, found.part] = _make(found, options)
        size = f"{sum(tensor.numel() for tensor in network.parameters()):,} parameters"
        notes.append(f"{found.side} {found.part}: {specification(network)} ({size}, {found.path.name})")
    notes += left_out
    cyclegan = CycleGAN(*_make_sides(networks, notes), notes=notes)
    if options.only is not None:
        cyclegan = cyclegan.only(options.only)
    for network in cyclegan.networks().values():
        network.float().eval().requires_grad_(False)
    return cyclegan.to(device)


def _read_own(folder: Path, options: CheckpointOptions) -> Iterator[Found]:
    if options.epoch is not None:
        raise UserError("epoch", f"{options.epoch} with {folder}", "none: it holds one state only", "Leave it out.")
    architecture, path = _read_architecture(folder / CONFIG_NAME), folder / WEIGHTS_NAME
    tensors = read_safetensors(path)
    unknown = [key for key in tensors if ".".join(key.split(".")[:2]) not in architecture]
    if unknown:
        raise UserError("checkpoint", f"{path} with extra tensor {unknown[0]}", "only known networks", "Save it again.")
    sides = [side for side in SIDES if f"{side}.generator" in architecture]
    if not sides:
        raise UserError("checkpoint", f"{folder} without a generator", "at least one", "Save it again.")
    for side, part in itertools.product(sides, PARTS):
        if (saved := architecture.get(key := f"{side}.{part}")) is not None:
            state = {name.removeprefix(f"{key}."): t for name, t in tensors.items() if name.startswith(f"{key}.")}
            yield Found(side, part, state, path, saved)


def _read_architecture(path: Path) -> dict[str, Any]:
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        check_format(data, FORMAT, path)
        return dict(data["architecture"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("checkpoint", f"{path} ({error})", "a JSON file with architecture", "Copy it again.") from error


def _make(found: Found, options: CheckpointOptions) -> nn.Module:
    """Build the network that tensors belong to, and load them."""
    remedy = f"Check that the file belongs to it, or say what it is by --{found.part}."
    factory = options.factory(found.part, found.side)
    if factory is not None:
        network = make_network(found.part, factory)
    else:
        config = _architecture(found, options.specification(found.part, found.side))
        check_tensors(skeleton(config), found.state, found.path, remedy)  # before anything of that size is built
        network = build(config)
    return load_into(network, found.state, found.path, remedy)


def _architecture(found: Found, text: str | None) -> Architecture:
    """Return the saved or inferred architecture, with what the user's ``text`` says in its place."""
    if text is None:
        return _saved_or_inferred(found)
    kind, _, values = text.partition(":")
    known = KINDS[kind][0]
    base: Architecture | None = None
    with suppress(UserError):  # what the user says may be all that there is to know
        base = _saved_or_inferred(found)
    base = base if isinstance(base, known) else known()
    return dataclasses.replace(base, **given_parameters(found.part, kind, known, values))


def _saved_or_inferred(found: Found) -> Architecture:
    if found.saved is not None:
        return config_from_json(found.saved, f"{found.side}.{found.part}")
    try:
        return (infer_generator if found.part == "generator" else infer_discriminator)(found.state, found.path)
    except (IndexError, ValueError, KeyError, StopIteration) as error:  # names or shapes that no such network has
        remedy = f"Check --checkpoint, or say --{found.part}."
        raise UserError(found.part, f"{found.path} ({error})", "the tensors of a CycleGAN", remedy) from error


def _make_sides(networks: Mapping[Place, nn.Module], notes: list[str]) -> Iterator[Side]:
    for name in (side for side, part in networks if part == "generator"):
        generator, discriminator = networks[name, "generator"], networks.get((name, "discriminator"))
        taken, given = input_channels(generator), output_channels(generator)
        if discriminator is not None and given != input_channels(discriminator) == taken + given:
            # pix2pix's see input and output together; without pairs of images there is nothing to show them.
            notes.append(f"{name} discriminator is left out: it scores pairs of images; L_GenA instead of L_DisA")
            discriminator = None
        yield Side(name, generator, discriminator)
