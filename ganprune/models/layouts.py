"""Which network is which: the files of a folder, or the networks in one file, by what their names say.

Any may be missing but for one generator. Which discriminator judges which generator's output depends on how a project
names them: see :data:`ganprune.models.names.FAMILIES`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ganprune.errors import UserError
from ganprune.models.names import DISCRIMINATOR, FAMILIES, GENERATOR, UNSIDED, Name, judged_side, read_name
from ganprune.models.options import BACKWARDS, OTHER, SIDES
from ganprune.models.weights import State

Place = tuple[str, str]  # side, "generator" or "discriminator"
SUFFIXES = (".safetensors", ".pth", ".pt", ".pth.tar", ".ckpt", ".pkl", ".bin", ".tar")  # the first of them is read
EPOCHS = ("latest", None, "last", "final")  # taken where no epoch is asked for, in this order
CONFIG_NAME, WEIGHTS_NAME = "cyclegan.json", "cyclegan.safetensors"
MOST_LISTED = 8


class Entry(NamedTuple):
    """A network by its name.

    Attributes:
        name: what its name says.
        label: what messages call it: a file's name, or keys in a file.
        path: its file.
        state: its tensors; None where the file is not read yet.
    """

    name: Name
    label: str
    path: Path
    state: State | None = None


@dataclass(frozen=True)
class Layout:
    """What was found.

    Attributes:
        name: of the first generator, or "one file".
        networks: a discriminator only where its generator is.
        notes: what is missing or left out, a line each.
        taken_for: what the names leave open, and what is taken for it, a line each.
    """

    name: str
    networks: Mapping[Place, Entry]
    notes: list[str] = field(default_factory=list)
    taken_for: list[str] = field(default_factory=list)


def find_layout(folder: Path, epoch: str | None = None, side: str | None = None) -> Layout | Path:
    """Return which file of a folder holds which network; or the one file that holds all, if no name says a network.

    Args:
        folder: with files of weights.
        epoch: in the names of the files; None for the latest, or the only one.
        side: what the only direction is.

    Raises:
        UserError: no generator is there, or not of that epoch; the message lists what is.
    """
    entries = [
        Entry(name, path.name, path) for path in _files(folder) if (name := read_name(stem(path))) is not None
    ]  # fmt: skip
    networks = [entry for entry in entries if entry.name.part is not None]
    if any(entry.name.part == GENERATOR for entry in networks):
        others = [entry for entry in entries if entry.name.part is None]
        layout = arrange([*_of_epoch(networks, epoch, folder), *others], str(folder), side)
        return replace(layout, name=next(stem(entry.path) for entry in layout.networks.values()))
    if networks:
        found = f"{folder} with {listed(entry.label for entry in networks)} only"
        raise UserError("checkpoint", found, "a generator", "Add the generators' files.")
    if is_unpacked(folder):
        raise unpacked(folder)
    if not entries:
        raise _unknown(folder)
    whole = _of_epoch(entries, epoch, folder)
    if len(whole) > 1:
        found = f"{folder} with {listed(entry.label for entry in whole)}"
        raise UserError("checkpoint", found, "names that say which network is which", _rename(folder / whole[0].label))
    return whole[0].path


def stem(path: Path) -> str:
    """Return a file's name without its ending, which may have two parts."""
    endings = sorted((ending for ending in SUFFIXES if path.name.endswith(ending)), key=len)
    return path.name.removesuffix(endings[-1]) if endings else path.stem


def listed(names: Iterable[str]) -> str:
    """Return names as one text of limited length."""
    names = list(names)
    more = f" and {len(names) - MOST_LISTED} more" * (len(names) > MOST_LISTED)
    return ", ".join(names[:MOST_LISTED]) + more


def arrange(entries: Sequence[Entry], where: str, side: str | None = None) -> Layout:
    """Return which network is on which side.

    Args:
        entries: networks of one epoch, with a generator; what is none of it by its name is noted.
        where: they are, for the messages.
        side: what the only direction is; None for what its name says, and A2B if it says nothing.

    Raises:
        UserError: two networks have the same place, or there are two directions although ``side`` says one.
    """
    layout, chosen = Layout("", {}), dict[Place, Entry]()
    generators = [entry for entry in entries if entry.name.part == GENERATOR]
    sided = [entry for entry in generators if entry.name.side is not None]
    for name in SIDES:
        if candidates := [entry for entry in sided if entry.name.side == name]:
            chosen[name, GENERATOR] = pick(candidates, where, layout)
    if not sided:
        chosen[side or SIDES[0], GENERATOR] = pick(generators, where, layout)
        if side is None:
            layout.taken_for.append("side: A2B, as no name says it (--side B2A)")
    elif len(sided) < len(generators):
        plain = listed(entry.label for entry in generators if entry.name.side is None)
        layout.notes.append(f"{plain} is left out: its side is not said")
    if side is None and (
        guessed := [(n, entry.label) for (n, _), entry in chosen.items() if entry.name.family.guessed]
    ):
        said = ", ".join(f"{label} is {name}" for name, label in guessed)
        layout.taken_for.append(f"directions: {said} (names such as netG_A2B say otherwise)")
    _add_discriminators(chosen, [entry for entry in entries if entry.name.part == DISCRIMINATOR], layout)
    chosen = one_direction(chosen, side, where)
    if unknown := [entry.label for entry in entries if entry.name.part is None]:
        layout.notes.append(f"{listed(unknown)} is left out: no generator or discriminator by its name")
    _note_missing(chosen, where, layout)
    places = itertools.product(SIDES, (GENERATOR, DISCRIMINATOR))
    return replace(layout, networks={place: chosen[place] for place in places if place in chosen})


def one_direction(networks: Mapping[Place, Any], side: str | None, where: str) -> dict[Place, Any]:
    """Return networks of one direction on the side that ``side`` says; as they are where it is None.

    Raises:
        UserError: there are two directions.
    """
    if side is None:
        return dict(networks)
    if len({name for name, _ in networks}) > 1:
        found = f"{side} with {where}, which has both directions"
        raise UserError("side", found, "a checkpoint of one direction", f"Leave it out, or prune one: --only {side}.")
    return {(side, part): network for (_, part), network in networks.items()}


def turned(networks: Mapping[Place, Any], trained: str | None) -> dict[Place, Any]:
    """Return networks on the sides that they translate; those of the other sides' names after a backwards training."""
    if trained != BACKWARDS:
        return dict(networks)
    return {(OTHER[side], part): network for (side, part), network in networks.items()}


def pick(candidates: Sequence[Entry], where: str, layout: Layout) -> Entry:
    """Return the one of several networks for one place: averaged weights, the plainest name, the best known family.

    Args:
        candidates: at least one.
        where: they are, for the message.
        layout: told what is left out.

    Raises:
        UserError: two of them are as good as each other.
    """
    averaged = [entry for entry in candidates if entry.name.averaged]
    if averaged and len(averaged) < len(candidates):
        others = listed(entry.label for entry in candidates if not entry.name.averaged)
        text = f"weights: averaged ones, {averaged[0].label}, not {others} (save those alone to take them)"
        layout.taken_for.append(text)
        return pick(averaged, where, layout)
    first, *others_ = sorted(candidates, key=_rank)
    if others_ and _rank(others_[0]) == _rank(first):
        found = f"{where} with {listed(entry.label for entry in candidates)}"
        remedy = "Keep one, or save each with its side: torch.save(generator.state_dict(), 'netG_A2B.pth')."
        raise UserError("checkpoint", found, f"one {first.name.part or 'network'} of a side", remedy)
    layout.notes.extend(f"{entry.label} is left out: {first.label} is taken" for entry in others_)
    return first


def _rank(entry: Entry) -> tuple[int, bool, int]:
    family = entry.name.family
    place = FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
    return len(entry.name.words), not family.certain, place


def _add_discriminators(chosen: dict[Place, Entry], entries: Sequence[Entry], layout: Layout) -> None:
    """Add each generator's discriminator, by the habit of the generators' names."""
    generator = next(iter(chosen.values())).name
    sides = [name for name, _ in chosen]
    found: dict[str, list[Entry]] = {name: [] for name in sides}
    for entry in sorted(entries, key=lambda e: (e.name.words != generator.words, not e.name.averaged, e.label)):
        side = judged_side(entry.name, generator.family)
        if side is None and entry.name.letter is None and len(sides) == 1:
            side = sides[0]
        if side not in found:
            why = "whose it is, is not said" if side is None else "its generator is not there"
            layout.notes.append(f"{entry.label} is left out: {why}")
        elif found[side]:
            layout.notes.append(f"{entry.label} is left out: {found[side][0].label} is taken for the discriminator")
        else:
            found[side].append(entry)
            chosen[side, DISCRIMINATOR] = entry


def guessed_judge(layout: Layout, side: str) -> str | None:
    """Return what to say of a side's discriminator where its name does not say whose it is; None where it does."""
    entry, family = layout.networks[side, DISCRIMINATOR], layout.networks[side, GENERATOR].name.family
    if entry.name.letter is None or family.certain:
        return None
    return f"{side} discriminator: {entry.label}, by the habit of such names (--discriminator none leaves it out)"


def _note_missing(chosen: Mapping[Place, Entry], where: str, layout: Layout) -> None:
    for side in SIDES:
        mine, other = (chosen.get((name, GENERATOR)) for name in (side, *(s for s in SIDES if s != side)))
        if mine is not None and (side, DISCRIMINATOR) not in chosen:
            text = f"{side} has no discriminator: L_GenA instead of L_DisA"
            expected = _discriminator_beside(mine.name)
            layout.notes.append(f"{expected} is not in {where}: {text}" if expected else text)
        if mine is None and other is not None and other.name.other is not None:
            layout.notes.append(f"{other.name.other} is not in {where}: no cycle term")


def _discriminator_beside(name: Name) -> str | None:
    """Return what the discriminator beside a generator would be called, where that is certain."""
    first = 2 * SIDES.index(name.side) if name.side and name.family is not UNSIDED else 0
    generator, discriminator = name.family.examples[first : first + 2]
    return name.text.replace(generator, discriminator) if generator in name.text else None


def _files(folder: Path) -> list[Path]:
    """Return the files of weights in a folder; of two of one name, the one whose ending is read.

    Those called ``._NAME`` are macOS's, which keeps there what its files have beside their content.
    """
    found: dict[str, Path] = {}
    named = [path for path in folder.iterdir() if path.name.endswith(SUFFIXES) and not path.name.startswith("._")]
    files = [path for path in named if path.is_file()]
    order = {ending: place for place, ending in enumerate(SUFFIXES)}
    for path in sorted(files, key=lambda p: (order[p.name.removeprefix(stem(p))], p.name)):
        found.setdefault(stem(path), path)
    return sorted(found.values())


def _of_epoch(entries: Sequence[Entry], epoch: str | None, folder: Path) -> list[Entry]:
    """Return the entries of an epoch; without one, of the latest or the only one."""
    generators = [entry for entry in entries if entry.name.part != DISCRIMINATOR]
    wanted = EPOCHS if epoch is None else (epoch,)
    for each in wanted:
        if any(_is_of(entry, each, epoch) for entry in generators):
            return [entry for entry in entries if _is_of(entry, each, epoch)]
    there = {entry.name.epoch for entry in generators if entry.name.epoch is not None}
    if epoch is None and len(there) == 1:
        return [entry for entry in entries if entry.name.epoch in there]
    if not there:
        raise no_epochs(str(epoch), f"{folder} ({listed(entry.label for entry in generators)})")
    shown = sorted(there, key=lambda name: (name != "latest", int(name) if name.isdigit() else -1, name))
    found, expected = f"{folder} without epoch {epoch or 'latest'}", f"one of its epochs: {listed(shown)}"
    raise UserError("epoch", found, expected, f"Give --epoch {shown[-1]}.")


def _is_of(entry: Entry, epoch: str | None, asked: str | None) -> bool:
    own = entry.name.epoch
    if own == epoch or asked is None:
        return own == epoch
    same = own is not None and own.isdigit() and asked.isdecimal() and int(own) == int(asked)
    return same or entry.name.text.startswith(f"{asked}_net_")


def no_epochs(epoch: str, where: str) -> UserError:
    """Return the error for an epoch where there are none."""
    found = f"{epoch} with {where}"
    return UserError("epoch", found, "none: no name there has an epoch, as 100_net_G_A.pth has", "Leave out --epoch.")


def _unknown(folder: Path) -> UserError:
    """Return the error for a folder without files of weights."""
    for path in sorted(folder.iterdir()):
        if is_unpacked(path):
            return unpacked(path)
    there = listed(sorted(path.name + "/" * path.is_dir() for path in folder.iterdir()))
    known = ", ".join([CONFIG_NAME, "latest_net_G_A.pth", "netG_A2B.pth", "G_AB.pth", "latest_net_G.pth"])
    found = f"{folder} (no known files)" + f" with {there}" * bool(there)
    return UserError("checkpoint", found, f"a folder with one of {known}", "Check --checkpoint.")


def is_unpacked(folder: Path) -> bool:
    """Return whether a folder holds what an archive program takes out of a file that PyTorch saved."""
    return (folder / "data.pkl").is_file() and (folder / "data").is_dir()


def unpacked(folder: Path) -> UserError:
    """Return the error for such a folder."""
    again = f"python -m zipfile -c {folder}.pth {folder}"
    remedy = f"Take the file as it was before: .pth and .pth.tar files are never unpacked. Or pack it again: {again}"
    return UserError("checkpoint", f"{folder} (an unpacked PyTorch file)", "the file itself", remedy)


def _rename(path: Path) -> str:
    return f"Give one file, such as {path}, or name them netG_A2B.pth and netG_B2A.pth."
