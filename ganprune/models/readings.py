"""What a file's tensors leave open about its networks, and how it is told apart: by measuring.

Instance norms without parameters leave no trace, and neither do norms that are not there. Public code has biases before
the former and none where there are no norms (``--norm none``), but other code has instance norms without biases, and no
norms with them. A trained network works under one reading only: the cycle closes, the discriminator prefers what the
generator paints, images are neither flat nor saturated. What is decided so, or taken to be the usual, is listed with
the option that says otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ganprune.data.sizes import round_up
from ganprune.errors import UserError
from ganprune.models.architecture import input_channels, output_channels, reread
from ganprune.models.cyclegan import OTHER
from ganprune.models.infer import usual
from ganprune.models.layouts import Place
from ganprune.models.sizing import size_multiple

Networks = Mapping[Place, nn.Module]
Given = Mapping[Place, Mapping[str, Any]]  # the networks whose architecture was read off, and what a user says of it
READINGS = ("none", "instance")
SIDE, IMAGES = 64, 8  # of what is measured
FEW, CHANCE = 8, 8.0  # biases of a layer that count at least; deviations from chance


@dataclass(frozen=True)
class Evidence:
    """How networks act under one reading.

    Attributes:
        cycle: error of images that were translated forth and back, 1 for a flat image; None without a cycle.
        preference: how much more real discriminators find translations than what was translated, in deviations of
            their outputs; None without discriminators.
        alive: the least deviation, over its pixels, of a generator's images that are not saturated.
    """

    cycle: float | None
    preference: float | None
    alive: float


def settle(networks: dict[Place, nn.Module], read_off: Given) -> list[str]:
    """Decide what tensors leave open, and say what was taken for what.

    Args:
        networks: all of a checkpoint, as inferred; those that are decided otherwise are replaced.
        read_off: which of them were inferred, not made by a factory nor described by their file, with what the user
            says of each.

    Returns:
        Lines "what: value (option that says otherwise)".

    Raises:
        UserError: it can't be told whether there are norms.
    """
    how: dict[Place, str] = {}
    open_norms = [place for place, given in read_off.items() if _norm_is_open(networks[place], given)]
    bare = [place for place in open_norms if not _config(networks[place]).biased]
    if bare:
        how |= dict.fromkeys(bare, _settle_bare(networks, read_off, bare))
    biased = [place for place in open_norms if place not in bare and biases_count(networks[place])]
    if biased:
        how |= dict.fromkeys(biased, _settle_biased(networks, biased))
    return list(_lines(networks, read_off, how))


def _config(network: nn.Module) -> Any:
    return network.config


def _norm_is_open(network: nn.Module, given: Mapping[str, Any]) -> bool:
    """Whether a network has no norms, or norms without tensors, and nobody says which."""
    config = _config(network)
    return "norm" not in given and config.norm == "instance" and not config.affine


def _settle_bare(networks: dict[Place, nn.Module], read_off: Given, places: list[Place]) -> str:
    """Decide on networks without biases, all alike as public code has it; return how, in words."""
    said = {given["norm"] for given in read_off.values() if given.get("norm") in READINGS}
    if len(said) == 1:
        reading, how = said.pop(), "as you say of the others"
    else:
        evidence = {reading: measure(networks, places, reading) for reading in READINGS}
        reading, how = verdict(evidence)
    if reading is None:
        kind = _config(networks[places[0]]).kind
        option = f"--{places[0][1]} {kind}:norm="
        raise UserError(
            f"norms of the {places[0][1]}", f"tensors that networks without norms have too, and {how}",
            "norms without parameters, or none", f"Give {option}none, or {option}instance.",
        )  # fmt: skip
    _take(networks, places, reading)
    return how


def _settle_biased(networks: dict[Place, nn.Module], places: list[Place]) -> str:
    """Decide on networks with biases that look as if they counted; they have instance norms if it can't be told."""
    reading, how = verdict({reading: measure(networks, places, reading) for reading in READINGS})
    if reading is not None:
        _take(networks, places, reading)
        return how
    return f"although the biases before them look as if they counted, which they can't; {how}"


def _take(networks: dict[Place, nn.Module], places: list[Place], reading: str) -> None:
    for place in places:
        networks[place] = _as(networks[place], reading)


def _as(network: nn.Module, reading: str) -> nn.Module:
    return reread(network, _config(network).said(norm=reading))


def biases_count(network: nn.Module) -> bool:
    """Whether the biases before a network's instance norms look like ones that reach its output.

    A norm takes them off again, so that no gradient reaches them: they stay where they began, or walk about it by
    rounding errors, as often up as down. Their means over the filters of a layer are near 0 then.
    """
    squares, layers = 0.0, 0
    for parent in network.modules():
        children = list(parent.children()) if isinstance(parent, nn.Sequential) else []
        for layer, norm in itertools.pairwise(children):
            bias = getattr(layer, "bias", None)
            if isinstance(norm, nn.InstanceNorm2d) and isinstance(bias, torch.Tensor) and len(bias) >= FEW:
                deviation = bias.double().std()
                if deviation > 0:
                    squares += float(bias.double().mean() / deviation) ** 2 * len(bias)  # of chance 1, on average
                    layers += 1
    return layers > 0 and squares - layers > CHANCE * (2 * layers) ** 0.5


@torch.inference_mode()
def measure(networks: Networks, places: list[Place], reading: str) -> Evidence:
    """Return how a checkpoint's networks act on smooth images, those at ``places`` with norms as ``reading`` has it."""
    read = {place: _as(network, reading) if place in places else network.eval() for place, network in networks.items()}
    generators = {side: network for (side, part), network in read.items() if part == "generator"}
    side = round_up((SIDE, SIDE), size_multiple(generators.values()))[0]
    cycles, preferences, deviations = [], [], []
    for name, generator in generators.items():
        taken, painted = input_channels(generator), output_channels(generator)
        real = smooth_images(taken, side)
        fake = generator(real)
        deviations.append(fake.std((2, 3)).median())
        back = generators.get(OTHER[name])
        if back is not None and (input_channels(back), output_channels(back)) == (painted, taken):
            cycles.append((back(fake) - real).abs().mean() / (real - real.mean()).abs().mean())
        discriminator = read.get((name, "discriminator"))
        if discriminator is not None and input_channels(discriminator) == painted == taken:
            of_fake, of_real = discriminator(fake), discriminator(real)
            apart = torch.cat([of_fake, of_real]).std().clamp_min(1e-6)
            preferences.append((of_fake.mean() - of_real.mean()) / apart)
    return Evidence(_mean(cycles), _mean(preferences), float(torch.stack(deviations).min()))


def _mean(values: list[torch.Tensor]) -> float | None:
    return float(torch.stack(values).mean().nan_to_num(torch.inf)) if values else None


def smooth_images(channels: int, side: int) -> torch.Tensor:
    """Return images of soft colours, of much and of little contrast, bright and dark: (8, channels, side, side)."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(IMAGES, channels, 4, 4, generator=draw) * 2 - 1
    images = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False).clamp(-1, 1)
    contrast = torch.linspace(0.3, 1, IMAGES).view(-1, 1, 1, 1)
    light = torch.rand(IMAGES, 1, 1, 1, generator=draw) * 2 - 1
    return images * contrast + light * (1 - contrast)


def _lines(networks: Networks, read_off: Given, how: Mapping[Place, str]) -> Iterator[str]:
    """Yield what was inferred, once where it holds for all networks of a kind."""
    sides: dict[tuple[str, str, str], list[str]] = {}
    for (side, part), given in read_off.items():
        for what, value, option in usual(_config(networks[side, part]), given):
            told = f", {how[side, part]}" if what == "norms" and (side, part) in how else ""
            sides.setdefault((part, what, f"{value}{told} (--{part} {option})"), []).append(side)
    for (part, what, text), named in sides.items():
        everyone = len(named) == sum(other == part for _, other in networks)
        whose = f"the {part}s" if everyone and len(named) > 1 else f"{part} {', '.join(named)}"
        yield f"{what} of {whose}: {text}"
