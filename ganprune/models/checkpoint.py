"""The files that hold a CycleGAN, whole or in part.

Foreign files, called as :mod:`ganprune.models.names` knows them, are read with ``torch.load(weights_only=True)`` only;
ours are safetensors beside a JSON file with the architecture.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ganprune.errors import UserError, reason
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
from ganprune.models.contents import lone_file, network_in
from ganprune.models.cyclegan import PARTS, CycleGAN, Side
from ganprune.models.description import Architecture
from ganprune.models.infer import infer_discriminator, infer_generator
from ganprune.models.layouts import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    Layout,
    Place,
    find_layout,
    guessed_judge,
    one_direction,
    turned,
)
from ganprune.models.options import SIDES, CheckpointOptions, make_network
from ganprune.models.readings import settle
from ganprune.models.weights import State, check_numbers, check_tensors, load_into, read_safetensors
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
        folder: our own format, files called as in ``names.FAMILIES``, or a single file with one generator or several
            networks.
        options: epoch, architectures and side, where they are not to be found out; see :class:`CheckpointOptions`.
        device: where the networks go.

    Returns:
        The sides that there are, float32, in evaluation mode; its ``notes`` say what was found and what was not, its
        ``taken_for`` what was inferred and might be otherwise.

    Raises:
        UserError: there is no generator, a tensor is missing, extra or misshapen (it is named), or it can't be told
            whether the networks have norms.
    """
    folder, options = Path(folder), options or CheckpointOptions()
    if not (folder.is_dir() or folder.is_file()):
        raise UserError("checkpoint", str(folder), "an existing folder", "Check --checkpoint.")
    if (folder / CONFIG_NAME).is_file():
        files, layout, notes = _read_own(folder, options), Layout("", {}), [f"{folder}: ganprune's own format"]
    else:
        layout = _layout(folder, options)
        files, notes = _read_foreign(layout, options), [f"{folder}: layout {layout.name}"]
    networks: dict[Place, nn.Module] = {}
    read_off: dict[Place, Mapping[str, Any]] = {}
    paths: dict[Place, Path] = {}
    for found in files:
        place = found.side, found.part
        with _dispensable(found.part):
            networks[place], paths[place] = _make(found, options), found.path
        if found.saved is None and options.factory(found.part, found.side) is None:
            read_off[place] = _given(found, options.specification(found.part, found.side))
    taken_for = [*layout.taken_for, *settle(networks, read_off)]
    for (side, part), network in networks.items():
        size = f"{sum(tensor.numel() for tensor in network.parameters()):,} parameters"
        notes.append(f"{side} {part}: {specification(network)} ({size}, {paths[side, part].name})")
    notes += layout.notes
    cyclegan = CycleGAN(*_make_sides(networks, notes), notes=notes, taken_for=taken_for)
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
    keys = {(side, part): f"{side}.{part}" for side, part in itertools.product(sides, PARTS)}
    keys = turned(one_direction(keys, options.side, str(folder)), options.trained)
    for (side, part), key in keys.items():
        if (saved := architecture.get(key)) is not None and not options.leaves_out(part, side):
            state = {name.removeprefix(f"{key}."): t for name, t in tensors.items() if name.startswith(f"{key}.")}
            yield Found(side, part, state, path, saved)


def _layout(path: Path, options: CheckpointOptions) -> Layout:
    """Return which network is which in foreign files."""
    layout = find_layout(path, options.epoch, options.side) if path.is_dir() else path
    if not isinstance(layout, Layout):
        epoch = options.epoch if path.is_file() else None  # in a folder, the file's name has it
        layout = lone_file(layout, epoch, options.side, functools.partial(_is_one, options, PARTS[0]))
    return dataclasses.replace(layout, networks=turned(layout.networks, options.trained))


def _read_foreign(layout: Layout, options: CheckpointOptions) -> Iterator[Found]:
    """Yield the networks of a layout, and add to it what is left out in their files."""
    for (side, part), entry in layout.networks.items():
        if options.leaves_out(part, side):
            layout.notes.append(f"{side} discriminator is left out: L_GenA instead of L_DisA")
            continue
        if part == "discriminator" and (text := guessed_judge(layout, side)):
            layout.taken_for.append(text)
        with _dispensable(part):
            if entry.state is None:
                entry = network_in(entry, functools.partial(_is_one, options, part), layout)
            assert entry.state is not None
            state = check_numbers(entry.state, entry.path)
        yield Found(side, part, state, entry.path)


@contextmanager
def _dispensable(part: str) -> Iterator[None]:
    """Say in messages about a discriminator that it is not needed."""
    try:
        yield
    except UserError as error:
        if part != "discriminator":
            raise
        remedy = f"{error.remedy} Or leave it out: --discriminator none."
        raise UserError(error.field, error.value, error.expected, remedy) from error


def _is_one(options: CheckpointOptions, part: str, state: State) -> bool:
    """Return whether a factory's network takes tensors as they are, although their prefixes name networks."""
    given = {text for side in SIDES if (text := options.factory(part, side)) is not None}
    return any(make_network(part, text).state_dict().keys() <= state.keys() for text in given)


def _read_architecture(path: Path) -> dict[str, Any]:
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        check_format(data, FORMAT, path)
        return dict(data["architecture"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            "checkpoint", f"{path} ({reason(error)})", "a JSON file with architecture", "Copy it again."
        ) from error


def _make(found: Found, options: CheckpointOptions) -> nn.Module:
    """Build the network that tensors belong to, and load them."""
    remedy = f"Check that the file belongs to it, or say what it is by --{found.part}."
    factory = options.factory(found.part, found.side)
    if factory is not None:
        network = make_network(found.part, factory)
        wanted = network.state_dict().keys()
        found = next((each for each in _readings(found) if wanted <= each.state.keys()), found)
    else:
        found = _recognised(found)
        config = _architecture(found, options.specification(found.part, found.side))
        check_tensors(skeleton(config), found.state, found.path, remedy)  # before anything of that size is built
        network = build(config)
    return load_into(network, found.state, found.path, remedy)


def _recognised(found: Found) -> Found:
    """Return the tensors without what stands before all their names, if only then they are those of a known network."""
    for each in _readings(found):
        with suppress(UserError):
            _saved_or_inferred(each)
            return each
    return found


def _readings(found: Found) -> Iterator[Found]:
    """Yield the tensors as they are called, then without the first part of their names while all have the same one."""
    yield found
    state = found.state
    while len({key.partition(".")[0] for key in state}) == 1 and all("." in key for key in state):
        state = {key.partition(".")[2]: tensor for key, tensor in state.items()}
        yield found._replace(state=state)


def _architecture(found: Found, text: str | None) -> Architecture:
    """Return the saved or inferred architecture, with what the user's ``text`` says in its place."""
    if text is None:
        return _saved_or_inferred(found)
    known, given, base = KINDS[text.partition(":")[0]][0], _given(found, text), None
    with suppress(UserError):  # what the user says may be all that there is to know
        base = _saved_or_inferred(found)
    return base.said(**given) if isinstance(base, known) else known(**given)


def _given(found: Found, text: str | None) -> dict[str, Any]:
    """Return what a user's ``text`` says of a known architecture."""
    kind, _, values = (text or "").partition(":")
    return given_parameters(found.part, kind, KINDS[kind][0], values) if kind else {}


def _saved_or_inferred(found: Found) -> Architecture:
    if found.saved is not None:
        return config_from_json(found.saved, f"{found.side}.{found.part}")
    try:
        return (infer_generator if found.part == "generator" else infer_discriminator)(found.state, found.path)
    except (IndexError, ValueError, KeyError, StopIteration) as error:  # names or shapes that no such network has
        remedy = f"Check --checkpoint, or say --{found.part}."
        raise UserError(found.part, f"{found.path} ({reason(error)})", "the tensors of a CycleGAN", remedy) from error


def _make_sides(networks: Mapping[Place, nn.Module], notes: list[str]) -> Iterator[Side]:
    for name in (side for side, part in networks if part == "generator"):
        generator, discriminator = networks[name, "generator"], networks.get((name, "discriminator"))
        taken, given = input_channels(generator), output_channels(generator)
        if discriminator is not None and given != input_channels(discriminator) == taken + given:
            # pix2pix's see input and output together; without pairs of images there is nothing to show them.
            notes.append(f"{name} discriminator is left out: it scores pairs of images; L_GenA instead of L_DisA")
            discriminator = None
        yield Side(name, generator, discriminator)
