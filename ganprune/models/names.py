"""What a name says of a network: which part it is, which side, of which epoch.

Names of files, of keys in a file and of tensors' prefixes (``100_net_G_A``, ``genA2B``, ``netG_A.``) are all read by
:func:`read_name`. Projects differ in what they call a generator, and in which discriminator belongs to it: each row of
:data:`FAMILIES` is one such habit.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

GENERATOR, DISCRIMINATOR = "generator", "discriminator"
G = r"(?:net_?G|generators?|gen|G)"
D = r"(?:net_?D|discriminators?|dis[cGL]?|desc|critic|D)"
DIRECTIONS = {
    "A2B": r"(?:A(?:_?(?:2|to)_?)?B|X(?:_?(?:2|to)_?)?Y)", "B2A": r"(?:B(?:_?(?:2|to)_?)?A|Y(?:_?(?:2|to)_?)?X)"
}  # fmt: skip
DOMAIN = {"A2B": "B", "B2A": "A"}  # discriminators are called after the domain that they judge
OWN = {"A2B": "A", "B2A": "B"}  # discriminators are called like the generator that they judge


class Family(NamedTuple):
    """One habit of naming.

    Attributes:
        examples: a generator A2B and its discriminator, a generator B2A and its discriminator.
        generators: side -> regular expression of its generator's name.
        discriminators: side -> letter of its discriminator.
        certain: whether all who use these names mean the same by their discriminators.
        guessed: whether other projects mean the other direction by the generators' names.
    """

    examples: tuple[str, str, str, str]
    generators: Mapping[str, str]
    discriminators: Mapping[str, str]
    certain: bool = False
    guessed: bool = False


def _family(
    examples: str, start: str, ends: tuple[str, str], discriminators: Mapping[str, str], **more: bool
) -> Family:
    """Return a family whose generators' names start alike and end in one of two ways, A2B's first."""
    a2b, its, b2a, its_own = examples.split()
    patterns = (f"{start}(?P<where>{end}))" if start.startswith("(?i:") else f"{start}(?P<where>{end})" for end in ends)
    return Family((a2b, its, b2a, its_own), dict(zip(DIRECTIONS, patterns, strict=True)), discriminators, **more)


# The first row that fits counts. The first two are written as one project writes them, whose Gab makes A from B.
BOTH = (DIRECTIONS["A2B"], DIRECTIONS["B2A"])
FAMILIES = (
    _family("Gba Db Gab Da", "G", ("ba", "ab"), DOMAIN, guessed=True),
    _family("Gb Db Ga Da", "G", ("b", "a"), DOMAIN, guessed=True),
    _family("netG_A2B netD_B netG_B2A netD_A", "(?i:net_?G_?", BOTH, DOMAIN, certain=True),
    _family("G_AB D_B G_BA D_A", f"(?i:{G}_?", BOTH, DOMAIN),
    _family("net_G_A net_D_A net_G_B net_D_B", "(?i:net_?G_?", ("A", "B"), OWN, certain=True),
    _family("G_A D_A G_B D_B", "(?i:(?:G|generators)_?", ("[AX]", "[BY]"), OWN),
    _family(
        "generator_A discriminator_B generator_B discriminator_A", f"(?i:{G}_?", ("[AX]", "[BY]"), DOMAIN, guessed=True
    ),
    _family("gen2B disB gen2A disA", f"(?i:{G}_?(?:2|to)_?", ("B", "A"), DOMAIN),
    _family(  # of horses and zebras
        "genz criticz genh critich", f"(?i:{G}_?", ("Z", "H"), {"A2B": "Z", "B2A": "H"}, guessed=True
    ),
)
UNSIDED = Family(("net_G", "net_D", "", ""), {}, DOMAIN)  # of one direction, or it stands apart, as in A2B_generator

NO_NETWORK = re.compile(
    r"(?:^|_)(?:optim(?:i[sz]ers?)?[GD]?|[GD]?opt[GD]?\d?|sched?(?:ulers?)?|scaler|lr)(?=_|$)", re.I
)
AVERAGED = re.compile(r"(?:^|_)(?:ema|avg|averaged?|swa|shadow|running)(?=_|$)", re.I)
EPOCH = re.compile(r"(?:^|_)(epochs?|ep|iters?|iterations?|steps?)?_?(\d+|latest|last|final|best)(?=_|$)", re.I)
FILLERS = frozenset(
    ("net", "model", "models", "weights", "state", "dict", "params", "param", "ckpt", "checkpoint", "cyclegan", "gan")
)
MIRROR = str.maketrans("ABXYZHabxyzh", "BAYXHZbayxhz")


class Name(NamedTuple):
    """What a name says.

    Attributes:
        text: the name.
        part: "generator" or "discriminator"; None where it says neither.
        side: "A2B" or "B2A", of a generator, or of a discriminator that is called by a direction; None if not said.
        letter: of a discriminator: "A", "B", "Z" or "H", which means what its generators' family means by it.
        family: of a generator.
        other: of a generator with a side: what the other side's would be called.
        epoch: a number as it is written, or "latest", "last", "final", "best".
        averaged: whether the weights are averages over training.
        words: what else is in it.
    """

    text: str
    part: str | None = None
    side: str | None = None
    letter: str | None = None
    family: Family = UNSIDED
    other: str | None = None
    epoch: str | None = None
    averaged: bool = False
    words: tuple[str, ...] = ()


@functools.lru_cache(maxsize=4096)
def read_name(text: str) -> Name | None:
    """Return what a name says; None for that of no network but an optimiser or a schedule."""
    plain = re.sub(r"[^0-9A-Za-z]+", "_", text).strip("_")
    if NO_NETWORK.search(plain):
        return None
    for family in FAMILIES:
        for side, pattern in family.generators.items():
            if match := _find(pattern, plain):
                first, last = match.span("where")
                other = plain[:first] + plain[first:last].translate(MIRROR) + plain[last:]
                return _with_rest(Name(text, GENERATOR, side, family=family, other=other), plain, match)
    if match := _find(f"(?i:{D}(?:_?(?P<where>{'|'.join(BOTH)}|[ABXYZH]))?)", plain):
        where = (match["where"] or "").upper()
        if len(where) == 1:
            return _with_rest(Name(text, DISCRIMINATOR, letter={"X": "A", "Y": "B"}.get(where, where)), plain, match)
        return _with_rest(Name(text, DISCRIMINATOR, _direction(where or plain)), plain, match)
    side_said, match = _direction(plain), _find(f"(?i:{G})", plain)
    part = GENERATOR if match or side_said else None
    return _with_rest(Name(text, part, side_said), plain, match)


def _find(pattern: str, plain: str) -> re.Match[str] | None:
    """Find whole words."""
    return re.search(rf"(?:^|_)(?:{pattern})(?=_|$)", plain)


def _direction(plain: str) -> str | None:
    """Return the side of a direction among the words of a name."""
    return next((side for side, pattern in DIRECTIONS.items() if _find(f"(?i:{pattern})", plain)), None)


def _with_rest(name: Name, plain: str, core: re.Match[str] | None) -> Name:
    """Add what the words around the part and its side say."""
    rest = plain if core is None else f"{plain[: core.start()]}_{plain[core.end() :]}"
    epochs = EPOCH.findall(rest)
    said = [epoch for word, epoch in epochs if word.lower().startswith("ep")] or [epoch for _, epoch in epochs]
    words = AVERAGED.sub("", EPOCH.sub("", rest)).split("_")
    return name._replace(
        epoch=said[-1].lower() if said else None, averaged=AVERAGED.search(rest) is not None,
        words=tuple(word for word in words if word and word.lower() not in FILLERS and _direction(word) is None),
    )  # fmt: skip


def judged_side(discriminator: Name, family: Family) -> str | None:
    """Return the side whose generator a discriminator judges, by the habit of the generators beside it; None if not
    said."""
    if discriminator.side is not None:
        return discriminator.side
    return next((side for side, letter in family.discriminators.items() if letter == discriminator.letter), None)
