"""What a file's tensors leave open about its networks, and how it is told apart: by measuring.

Instance norms without parameters leave no trace, and neither do norms that are not there. Public code has biases before
the former and none where there are no norms (``--norm none``), but other code has instance norms without biases, and no
norms with them. Trained networks work under one reading only: the cycle closes, and what the last layer makes of images
is not flat. What is decided so, or taken to be the usual, is listed with the option that says otherwise.
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
from ganprune.errors import UserError, reason
from ganprune.models.architecture import input_channels, output_channels, reread
from ganprune.models.cyclegan import OTHER
from ganprune.models.infer import usual
from ganprune.models.layouts import Place
from ganprune.models.sizing import size_multiple

Networks = Mapping[Place, nn.Module]
Given = Mapping[Place, Mapping[str, Any]]  # the networks whose architecture was read off, and what a user says of it
READINGS = ("none", "instance")
SIDE, IMAGES = 64, 8  # of what is measured
# Found on trained networks: under the right reading the cycle correlates by 0.37 and more, what the last layer makes
# deviates by 0.27 and more; under the wrong one the cycle by less than half of that, or the deviation is below 0.08.
CLOSED, HALF = 0.25, 0.5
LIVELY, FLAT = 0.2, 0.1
LOUD = 1.5  # of discriminators, whose right reading deviates by 0.7 at most; with norms that they never had, by 2.6
FEW, CHANCE = 8, 4.0  # biases of a layer that count at least; deviations from chance


@dataclass(frozen=True)
class Evidence:
    """How networks act under one reading.

    Attributes:
        signal: see :func:`signal`; of the network that has the least.
        correlation, error: see :func:`cycle`; None without a cycle.
        loud: whether a discriminator's outputs deviate far more than from 0, fake, to 1, real.
    """

    signal: float
    correlation: float | None = None
    error: float | None = None
    loud: bool = False

    def works(self) -> bool:
        """Whether trained networks may act like this."""
        return self.signal >= LIVELY and not self.loud and (self.correlation is None or self.correlation >= CLOSED)

    def fails(self, other: Evidence) -> bool:
        """Whether trained networks don't act like this, if they may act like ``other``."""
        if self.signal < FLAT:
            return True
        if self.correlation is None or other.correlation is None or self.error is None or other.error is None:
            return False
        return self.correlation <= HALF * other.correlation or other.error <= min(HALF, HALF * self.error)

    def __str__(self) -> str:
        deviation = f"deviation {self.signal:.2g}"
        if self.correlation is None:
            return deviation
        return f"{deviation}, cycle correlation {self.correlation:.2f}, cycle error {self.error:.2f}"


def verdict(evidence: Mapping[str, Evidence]) -> tuple[str | None, str]:
    """Return the reading under which trained networks work, None where that is not clear; and what was measured."""
    how = "measured: " + "; ".join(f"{reading}: {found}" for reading, found in evidence.items())
    for reading, other in (READINGS, READINGS[::-1]):
        if evidence[reading].works() and evidence[other].fails(evidence[reading]):
            return reading, how
    return None, how


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
    bare = [place for place in open_norms if not _config(networks[place]).biased and _is_used(networks, place)]
    if bare:
        how |= dict.fromkeys(bare, _settle_bare(networks, read_off, bare))
    biased = [place for place in open_norms if biases_count(networks[place])]
    if biased:
        how |= dict.fromkeys(biased, _settle_biased(networks, biased))
    return list(_lines(networks, read_off, how))


def _config(network: nn.Module) -> Any:
    return network.config


def _norm_is_open(network: nn.Module, given: Mapping[str, Any]) -> bool:
    """Whether a network has no norms, or norms without tensors, and nobody says which."""
    config = _config(network)
    return "norm" not in given and config.norm == "instance" and not config.affine


def _is_used(networks: Networks, place: Place) -> bool:
    """Whether a network is used: discriminators of pairs of images are left out."""
    side, part = place
    taken = input_channels(networks[place])
    return part == "generator" or taken == output_channels(networks[side, "generator"])


def _settle_bare(networks: dict[Place, nn.Module], read_off: Given, places: list[Place]) -> str:
    """Decide on networks without biases, all alike as public code has it; return how, in words."""
    said = {given["norm"] for given in read_off.values() if given.get("norm") in READINGS}
    if len(said) == 1:
        reading, how = said.pop(), "as you say of the others"
    else:
        reading, how = _told(networks, places)
    if reading is None:
        part, kind = places[0][1], _config(networks[places[0]]).kind
        found = f"tensors of instance norms without biases, or of no norms; which is not clear ({how})"
        remedy = f"Give --{part} {kind}:norm=none, or --{part} {kind}:norm=instance,bias=false."
        raise UserError(f"{part} norms", found, "to be told which", remedy)
    _take(networks, places, reading)
    return how


def _settle_biased(networks: dict[Place, nn.Module], places: list[Place]) -> str:
    """Decide on networks with biases that look as if they counted; they have instance norms if it can't be told."""
    reading, how = _told(networks, places)
    if reading is not None:
        _take(networks, places, reading)
        return how
    return f"although the biases before them look as if they counted, which they can't; {how}"


def _told(networks: Networks, places: list[Place]) -> tuple[str | None, str]:
    """Return the :func:`verdict` on the networks at ``places``, which have one reading."""
    try:
        return verdict({reading: measure(networks, places, reading) for reading in READINGS})
    except Exception as error:  # a network that a factory made may fail as it likes
        return None, f"it can't be measured: {reason(error, 120)}"


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
                values = bias.detach().double()
                if values.std() > 0:
                    squares += float(values.mean() / values.std()) ** 2 * len(values)  # of chance 1, on average
                    layers += 1
    return layers > 0 and squares - layers > CHANCE * (2 * layers) ** 0.5


@torch.inference_mode()
def measure(networks: Networks, places: list[Place], reading: str) -> Evidence:
    """Return how a checkpoint's networks act on smooth images, those at ``places`` with norms as ``reading`` has it."""
    read = {place: _as(network, reading) if place in places else network.eval() for place, network in networks.items()}
    generators = {name: network for (name, part), network in read.items() if part == "generator"}
    least = max(SIDE, *(4 << getattr(_config(read[place]), "layers", 0) for place in places))  # for discriminators
    side = round_up((least, least), size_multiple(generators.values()))[0]
    real = {name: smooth_images(input_channels(network), side) for name, network in generators.items()}
    fakes, signals = {}, {}
    for name, network in generators.items():
        fakes[name], signals[name] = signal(network, real[name])
    if painting := [name for name, part in places if part == "generator"]:
        return Evidence(min(signals[name] for name in painting), *cycle(generators, real, fakes))
    said = [signal(read[place], fakes[place[0]])[1] for place in places]
    return Evidence(min(said), loud=max(said) > LOUD)


def signal(network: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return a network's output, and the standard deviation of what its last convolution gives, not saturated yet."""
    layers = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))]
    given: list[torch.Tensor] = []
    handle = layers[-1].register_forward_hook(lambda layer, inputs, output: given.append(output.clone()))
    try:
        output = network(images)
    finally:
        handle.remove()
    return output, float(given[0].std((0, 2, 3)).mean().nan_to_num(0.0))


def cycle(
    generators: Mapping[str, nn.Module], real: Mapping[str, torch.Tensor], fakes: Mapping[str, torch.Tensor]
) -> tuple[float, float] | tuple[None, None]:
    """Return how well images that are translated forth and back are those that they were; None without a cycle.

    Args:
        generators: by side.
        real: what each is given, (N, C, H, W).
        fakes: what each makes of that.

    Returns:
        The correlation of their pixels, from -1 to 1, with every channel's mean over an image taken off; and the mean
        error, of which a flat grey has 1. Means over the sides. Instance norms may leave shapes as they are, but not
        light and contrast, so that their error is not small.
    """
    correlations, errors = [], []
    for name, images in real.items():
        back, fake = generators.get(OTHER[name]), fakes[name]
        if back is None or (input_channels(back), output_channels(back)) != (fake.shape[1], images.shape[1]):
            continue
        again = back(fake).nan_to_num()
        one, other = (each - each.mean((2, 3), keepdim=True) for each in (images, again))
        correlations.append(float((one * other).sum() / (one.norm() * other.norm()).clamp_min(1e-12)))
        errors.append(float((again - images).abs().mean() / (images - images.mean()).abs().mean()))
    if not errors:
        return None, None
    return sum(correlations) / len(correlations), sum(errors) / len(errors)


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
