"""The equivalence check: masked == compact, tried on each network before anything is built on it.

Whether filters can go is decided here, by numbers and not by the kinds of layers: a gate with f(0) != 0 may be harmless
and a function in somebody's ``forward`` may be not. Equality by accident (a layer that is dead for one image, values of
one magnitude) is met by several individuals, an image of many magnitudes, and a copy of the network with weights drawn
anew. float64 decides; where a pass takes its time, only if forms differ by more than rounding explains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ganprune.data.sizes import Size
from ganprune.errors import UserError, reason
from ganprune.filters.groups import FilterGroup, index_bits, kept_indices
from ganprune.filters.layers import MIXING, Convolution, Norm, has_own_weight, hooks, mixes
from ganprune.filters.slicing import silence_network, slice_network
from ganprune.models.copying import copied

SMALL = (16, 32)  # side lengths that are enough for most networks; passes of larger images take their time
MAGNITUDES = 0.1, 100.0  # of an image's first and last column, where weights are drawn
ROUNDING = {True: 1e-4, False: 1e-5}  # below it, float32 needs no second look; more where weights are drawn


def equivalent_groups(
    generator: nn.Module, groups: Sequence[FilterGroup], channels: int, size: Size
) -> tuple[list[FilterGroup], dict[str, str]]:
    """Return the groups whose filters can be removed: all together, the compact network equals the masked one.

    Args:
        generator: in evaluation mode.
        groups: of it, any of whose filters can be cut out.
        channels: of its images.
        size: their (height, width).

    Returns:
        Those groups, in their order, and by the names of the others why they can't.

    Raises:
        UserError: nothing can be compared, since the generator draws random numbers.
    """
    check = _Check(generator, groups, channels, size)
    sound = check.sound([], list(range(len(groups))))
    if groups and not sound:
        own = check.trials[0]
        if not _alike(_output(own.network, own.image)[0], _output(own.network, own.image)[0]):
            found = f"{type(generator).__name__}, which makes another image of the same one each time"
            remedy = "Leave out noise that it draws, or dropout that acts in evaluation too."
            raise UserError("generator", found, "a generator that makes the same one", remedy)
    return [groups[index] for index in sound], check.reasons


@dataclass(frozen=True)
class _Trial:
    """What an individual's two forms are compared on.

    Attributes:
        network: the whole one.
        image: (1, C, H, W), in its precision.
        bits: of all groups, True for what stays.
        drawn: whether the weights are drawn: a network that fails with those says nothing.
    """

    network: nn.Module
    image: torch.Tensor
    bits: np.ndarray
    drawn: bool


class _Forms(NamedTuple):
    """An individual's masked and compact network, and the image that they are compared on."""

    masked: nn.Module
    small: nn.Module
    image: torch.Tensor


class _Check:
    """Tries groups, alone and together.

    Args: as :func:`equivalent_groups` has them.

    Attributes:
        reasons: by the names of groups that failed, why.
    """

    def __init__(self, generator: nn.Module, groups: Sequence[FilterGroup], channels: int, size: Size):
        self.groups, self.reasons = groups, dict[str, str]()
        self.places, self.written = index_bits(generator, groups)
        self.owner = np.repeat(np.arange(len(groups)), [group.size for group in groups])
        self.trials = _trials(generator, groups, channels, size)

    def sound(self, sound: list[int], more: list[int]) -> list[int]:
        """Return those of the groups ``more`` that can be pruned together with the ``sound`` ones, by bisection."""
        failed = self._failed([*sound, *more])
        if failed is None:
            return more
        if len(more) == 1:
            self.reasons[self.groups[more[0]].name] = _explain(failed)
            return []
        half = len(more) // 2
        first = self.sound(sound, more[:half])
        return first + self.sound([*sound, *first], more[half:])

    def _failed(self, chosen: list[int]) -> _Forms | None:
        """Return forms that differ, of an individual in which only these groups are pruned."""
        for trial in self.trials:
            bits = trial.bits | ~np.isin(self.owner, chosen)
            if not bits.all():
                masked = silence_network(trial.network, kept_indices(self.places, bits, self.written))
                small = slice_network(trial.network, kept_indices(self.places, bits, self.places))
                forms = _Forms(masked.eval(), small.eval(), trial.image)
                if not _equal(forms, trial.drawn):
                    return forms
        return None


def _equal(forms: _Forms, drawn: bool) -> bool:
    """Return whether two forms give the same image; they are left in the precision that decided.

    Args:
        forms: of one individual.
        drawn: whether weights are; where the network fails with those, that says nothing.
    """
    masked, small, image = forms
    wanted, got = _output(masked, image)[0], _output(small, image)[0]
    if drawn and (wanted is None or not bool(wanted.isfinite().all())):
        return True
    if (drawn or _is_large(image)) and _alike(wanted, got, min(ROUNDING[drawn], _tolerance(image))):
        return True
    try:
        exact = _output(masked.double(), image.double())[0]
    except (TypeError, RuntimeError):  # some devices have no float64
        exact = None
    if exact is not None:
        return _alike(exact, _output(small.double(), image.double())[0])
    masked.to(image.dtype)
    return _alike(wanted, got)


def _is_large(image: torch.Tensor) -> bool:
    return min(image.shape[2:]) > SMALL[-1]


def _trials(generator: nn.Module, groups: Sequence[FilterGroup], channels: int, size: Size) -> list[_Trial]:
    """Return trials of all groups with the generator's own weights, of every second one, and of all with drawn ones."""
    draw = np.random.default_rng(0)
    weight = next(generator.parameters())
    image = torch.from_numpy(draw.uniform(-1, 1, (1, channels, *size))).to(weight.device, weight.dtype)
    parts = (image[..., :side, :side] for side in SMALL)
    small = next((part for part in parts if part.numel() < image.numel() and _keeps_size(generator, part)), None)
    image = image if small is None else small
    ramp = torch.from_numpy(np.geomspace(*MAGNITUDES, image.shape[-1])).to(image)
    first, *others = (
        _individual(draw, groups, [index % step == begin for index in range(len(groups))])
        for step, begin in ((1, 0), (1, 0), (2, 0), (2, 1))
    )
    if _is_large(image):
        others = others[:1]
    own, drawn = _Trial(generator, image, first, False), _drawn(generator)
    return [own, *(_Trial(drawn, image * ramp, bits, True) for bits in others)]


def _individual(draw: np.random.Generator, groups: Sequence[FilterGroup], pruned: Sequence[bool]) -> np.ndarray:
    """Return bits with some filters, but not all, off in each of the ``pruned`` groups: a few, or most of them."""
    bits = []
    for group, some in zip(groups, pruned, strict=True):
        off = draw.permutation(group.size) < (draw.integers(1, group.size) if group.size > 1 else 0)
        bits.append(~off if some else np.ones(group.size, dtype=bool))
    return np.concatenate([np.ones(0, dtype=bool), *bits])


def _drawn(network: nn.Module) -> nn.Module:
    """Return a copy of a network with weights, biases and statistics drawn so that its layers are alive.

    What belongs to no layer that is known stays: nobody can say what it may be.
    """
    drawn, source = copied(network), torch.Generator().manual_seed(0)

    def normal(tensor: torch.Tensor | None, scale: float) -> None:
        if tensor is not None:
            tensor.copy_(torch.randn(tensor.shape, generator=source) * scale)

    def uniform(tensor: torch.Tensor | None) -> None:
        if tensor is not None:
            tensor.copy_(torch.rand(tensor.shape, generator=source) + 0.5)

    with torch.no_grad():
        for module in drawn.modules():
            if isinstance(module, (*Convolution, nn.Linear)) and has_own_weight(module):
                normal(module.weight, 1 / math.sqrt(module.weight[0].numel()))
                normal(module.bias, 0.3)
            elif isinstance(module, Norm):
                for tensor in (module.weight, module.running_var):
                    uniform(tensor)
                for tensor in (module.bias, module.running_mean):
                    normal(tensor, 0.3)
    return drawn


def _keeps_size(network: nn.Module, image: torch.Tensor) -> bool:
    """Return whether a network takes this image and returns one of its size."""
    output, _ = _output(network, image)
    return output is not None and output.shape[2:] == image.shape[2:]


def _output(network: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor | None, str]:
    """Return what a network makes of an image, or None and why it fails: one that we did not write may, anyhow."""
    try:
        with torch.inference_mode():
            return network(image), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {reason(error)}"


def _alike(wanted: torch.Tensor | None, got: torch.Tensor | None, tolerance: float | None = None) -> bool:
    if wanted is None or got is None or got.shape != wanted.shape:
        return False
    tolerance = _tolerance(wanted) if tolerance is None else tolerance
    return torch.allclose(wanted, got, atol=tolerance, rtol=tolerance)


def _tolerance(tensor: torch.Tensor) -> float:
    """Return what may differ, absolutely and relatively: little in float64, more where nothing better can be had."""
    return 1e-8 if tensor.dtype == torch.float64 else 2e-3


class _Step(NamedTuple):
    """A layer that ran: what it was given and what it gave, with its channels, of which silent ones are 0, added up."""

    name: str
    layer: nn.Module
    given: torch.Tensor
    gave: torch.Tensor


def _explain(forms: _Forms) -> str:
    """Return in words where two forms of a network begin to differ."""
    masked, small, image = forms
    image = image.to(next(masked.parameters()).dtype)
    wanted, _ = _steps(masked, image)
    got, failed = _steps(small, image)
    for one, other in zip(wanted, got, strict=False):
        if not _alike(one.given, other.given):
            return f"the masked and compact forms differ from what layer {one.name} is given on"
        if not _alike(one.gave, other.gave):
            return _fault(one)
    return f"the compact form fails ({failed})" if failed else "the masked and compact forms differ at the end"


def _steps(network: nn.Module, image: torch.Tensor) -> tuple[list[_Step], str]:
    """Return the innermost modules in the order in which they run, and why the network fails, or ""."""
    steps: list[_Step] = []

    def record(name: str, layer: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        given = inputs[0] if inputs else None
        if all(isinstance(tensor, torch.Tensor) and tensor.ndim > 1 for tensor in (given, output)):
            steps.append(_Step(name, layer, _added(given), _added(output)))  # type: ignore[arg-type]

    for module in network.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010  # lest it overwrite what it was given
    inner = {
        name: module for name, module in network.named_modules()
        if isinstance(module, Convolution) or not list(module.children())
    }  # fmt: skip
    with hooks(inner, record, after=True):
        return steps, _output(network, image)[1]


def _added(tensor: torch.Tensor) -> torch.Tensor:
    """Return a sum over channels to which zeros add nothing; of squares too, since a softmax's channels sum to 1."""
    return (tensor + tensor.square()).sum(1)


def _fault(step: _Step) -> str:
    """Return why a layer may make more of silent filters than of removed ones."""
    if isinstance(step.layer, MIXING):
        return mixes(step.name, step.layer)
    name = f"{step.name} ({type(step.layer).__name__})"
    zeros, _ = _output(step.layer, step.given.new_zeros(1, 4, 4, 4))
    if zeros is not None and bool((zeros != 0).any()):
        return f"{name} makes something of zeros: f(0) != 0"
    return f"the masked and compact forms differ from layer {name} on"
