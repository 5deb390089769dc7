"""The networks that one file holds: a state dict, state dicts inside other dicts, or several in one by prefixes.

What there is beside them (optimisers, epochs, losses) is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ganprune.errors import UserError
from ganprune.models.layouts import (
    SUFFIXES,
    Entry,
    Layout,
    arrange,
    is_unpacked,
    listed,
    no_epochs,
    pick,
    stem,
    unpacked,
)
from ganprune.models.names import DISCRIMINATOR, GENERATOR, UNSIDED, Name, read_name
from ganprune.models.weights import SAVE_STATE, State, read_data, unprefixed

DEEPEST = 4  # dicts inside one another
PREFIX_PARTS = 3  # names before a tensor's own that may say a network, as in model.netG_A.

Whole = Callable[[State], bool]  # whether a network is there that takes a state dict as it is


def read_entries(path: Path, whole: Whole = lambda state: False) -> list[Entry]:
    """Return the networks in a file, by the names of their keys or prefixes.

    Args:
        path: of the file.
        whole: says of a state dict whose prefixes name networks that it is one all the same.

    Raises:
        UserError: the file is damaged, or has no tensors by name; what it has is named.
    """
    data = read_data(path)
    found = list(_state_dicts(data, ())) if isinstance(data, Mapping) else []
    if not found:
        raise UserError("checkpoint", f"{path} ({_described(data)})", "tensors by name", SAVE_STATE)
    return [entry for keys, state in found for entry in _entries(keys, unprefixed(state), path, whole)]


def _state_dicts(data: Mapping[Any, Any], keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], State]]:
    """Yield the state dicts among nested dicts, with the keys that lead to them."""
    no_network = bool(keys) and read_name("_".join(keys)) is None
    if no_network or "param_groups" in data or len(keys) > DEEPEST:
        return
    inner = {key: value for key, value in data.items() if isinstance(key, str) and isinstance(value, Mapping)}
    below = [found for key, value in inner.items() for found in _state_dicts(value, (*keys, key))]
    own = {key: value for key, value in data.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}
    nothing_else = bool(own) and not keys and len(own) == len(data)
    weights = any(tensor.ndim > 1 for tensor in own.values()) and (not below or any("." in key for key in own))
    if nothing_else or weights:
        yield keys, own
    yield from below


def _entries(keys: tuple[str, ...], state: State, path: Path, whole: Whole) -> Iterator[Entry]:
    """Yield the network of a state dict, or those that its tensors' prefixes say."""
    name, label = read_name("_".join(keys)) or Name(""), " > ".join(keys) or path.name
    prefixes = _prefixes(state)
    if not prefixes or whole(state):
        yield Entry(name, label, path, state)
        return
    for prefix, said in prefixes.items():
        tensors = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        averaged = said.averaged or name.averaged
        yield Entry(said._replace(averaged=averaged), f"{label}: {prefix}*", path, unprefixed(tensors))


def _prefixes(state: State) -> dict[str, Name]:
    """Return the prefixes that say a network; none where they say no generator and are not before every tensor."""
    said = {key: prefix for key in state if (prefix := _prefix(key)) is not None}
    convolutions = [key for key, (_, name) in said.items() if name.part == GENERATOR and state[key].ndim == 4]
    found = dict(said.values())
    return found if len(convolutions) > 1 or (len(found) == 1 and len(said) == len(state)) else {}


def _prefix(key: str) -> tuple[str, Name] | None:
    """Return the prefix of a tensor's name that says a network."""
    parts = key.split(".")[:-1]
    for place, part in enumerate(parts[:PREFIX_PARTS]):
        name = read_name(part)
        if name is None or name.part is None or name.words or name.epoch:
            continue
        end = place + 1
        longer = read_name(f"{part}_{parts[end]}") if end < len(parts) else None
        if longer is not None and (longer.side or longer.letter) and not _complete(name, parts[end]):
            name, end = longer, end + 1
        averaged = name.averaged or (place > 0 and (read_name("_".join(parts[:place])) or name).averaged)  # ema.netG_A.
        return ".".join(parts[:end]) + ".", name._replace(averaged=averaged)
    return None


def _complete(name: Name, following: str) -> bool:
    """Return whether a part of a prefix says all, or what follows it says more: generators.A2B. or A2B.generator."""
    if name.side is None and name.letter is None:
        return False
    more = read_name(following)
    return name.family is not UNSIDED or name.part == DISCRIMINATOR or more is None or more.part is None


def lone_file(path: Path, epoch: str | None, side: str | None, whole: Whole) -> Layout:
    """Return the networks of a single file; where its keys don't say which they are, its name does.

    Args:
        path: of the file.
        epoch: that was asked for: there is none.
        side: what the only direction is.
        whole: see :func:`read_entries`.

    Raises:
        UserError: it holds no generator, or nothing says which network is which; what there is is named.
    """
    if not path.name.endswith(SUFFIXES):
        endings = ", ".join(SUFFIXES)
        raise UserError("checkpoint", str(path), f"a folder, or a file ending in {endings}", "Check --checkpoint.")
    if path.name == "data.pkl" and is_unpacked(path.parent):
        raise unpacked(path.parent)
    if epoch is not None:
        raise no_epochs(epoch, f"the file {path}")
    entries = _with_file_name(read_entries(path, whole), path)
    layout = arrange(entries, str(path), side)
    if len(layout.networks) == 1:
        ((name, _),) = layout.networks
        alone = f"{path.name} is taken for the generator {name}, alone: no discriminator, so L_GenA, and no cycle term"
        left_out = [note for note in layout.notes if " is left out" in note]
        return replace(layout, name="one file", notes=[*left_out, alone])
    return replace(layout, name="one file")


def _with_file_name(entries: list[Entry], path: Path) -> list[Entry]:
    """Take networks for generators, and for a side, where no key says what they are; errors as :func:`lone_file`."""
    called, parts = read_name(stem(path)) or Name(""), {entry.name.part for entry in entries}
    if GENERATOR not in parts and (None not in parts or called.part == DISCRIMINATOR):
        found = f"{path} with {listed(entry.label for entry in entries)} (discriminators)"
        raise UserError("checkpoint", found, "a generator", "Give the file of a generator.")
    unnamed = None if GENERATOR not in parts else GENERATOR
    sides = {entry.name.side for entry in entries if entry.name.part == unnamed}
    said: dict[str, Any] = (
        {"side": called.side, "family": called.family} if called.part == GENERATOR and sides == {None} else {}
    )
    return [
        entry._replace(name=entry.name._replace(part=GENERATOR, **said)) if entry.name.part == unnamed else entry
        for entry in entries
    ]


def network_in(file: Entry, whole: Whole, layout: Layout) -> Entry:
    """Return the one network of a file whose name says which it is.

    Args:
        file: by its name.
        whole: see :func:`read_entries`.
        layout: told what is left out.

    Raises:
        UserError: the file is damaged, or holds none such, or several; what there is is named.
    """
    path, part, sides = file.path, file.name.part, (None, file.name.side)
    entries = read_entries(path, whole)
    named = [e for e in entries if e.name.part == part and (file.name.side is None or e.name.side in sides)]
    candidates = named or [entry for entry in entries if entry.name.part is None]
    if not candidates:
        found = f"{path} with {listed(entry.label for entry in entries)}"
        raise UserError("checkpoint", found, f"a {part}", f"Save its state_dict alone in {path.name}.")
    return pick(candidates, str(path), layout)


def _described(data: Any) -> str:
    if not isinstance(data, Mapping):
        return type(data).__name__
    return f"{type(data).__name__} of {listed(map(str, data)) or 'nothing'}"
