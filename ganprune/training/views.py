"""What terms compare: images, what networks see in them, and features inside the generators.

A view (:mod:`ganprune.settings.terms`) is a list of tensors whose first dimension is the batch's. All views of a batch
take one pass of a generator, one of the discriminator and one of the ImageNet network, whatever the number of terms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from ganprune.errors import UserError
from ganprune.filters.layers import Convolution, Norm, channel_dims, convolutions, hooks
from ganprune.filters.slicing import Keep
from ganprune.models.scores import judged
from ganprune.settings.terms import IMAGE, IMAGENET, INSIDE, KEPT, SCORES, SIGHT

LAYERS = 4  # where features inside generators are compared

Views = dict[str, list[torch.Tensor]]


@dataclass(frozen=True)
class Onlookers:
    """Networks that look at images, and do not change.

    Attributes:
        discriminator: the original's, for the views "scores" and "sight".
        imagenet: what :func:`ganprune.models.imagenet.load_efficientnet` returns, for "imagenet".
    """

    discriminator: nn.Module | None = None
    imagenet: nn.Module | None = None

    @property
    def blind(self) -> set[str]:
        """The views that the discriminator can't give: there is none, or it has no layers on the way."""
        if self.discriminator is None:
            return {SCORES, SIGHT}
        return set() if len(_layers(self.discriminator)) > 1 else {SIGHT}

    def look(self, images: torch.Tensor, views: Iterable[str]) -> Views:
        """Return those of the views that take no more than images, (B, C, H, W) in [-1, 1]."""
        found, views = {IMAGE: [images]}, set(views)
        if views & {SCORES, SIGHT} and self.discriminator is not None:
            scores, found[SIGHT] = seen_by(self.discriminator, images)
            found[SCORES] = [scores]
        if IMAGENET in views and self.imagenet is not None:
            found[IMAGENET] = self.imagenet(images)
        return {view: tensors for view, tensors in found.items() if view in views}


@dataclass(frozen=True)
class Inside:
    """Which features inside the generators are compared.

    Attributes:
        layers: paths of layers whose outputs are, for the view "inside".
        kept: paths of convolutions whose inputs are, for the view "kept": the channels of the original's input that the
            compact generator has, too; None for all.
    """

    layers: Sequence[str] = ()
    kept: Mapping[str, torch.Tensor | None] = field(default_factory=dict)

    @classmethod
    def of(cls, student: nn.Module, teacher: nn.Module, views: Iterable[str], keep: Keep | None) -> Inside:
        """Choose layers for the views that are wanted, evenly spaced over the depth.

        Args:
            student: the compact generator; its layers have the original's paths.
            teacher: the original.
            views: those that are wanted.
            keep: which filters of the original the compact generator has kept; needed for "kept".

        Raises:
            UserError: there are no such layers, or it is not known what was kept.
        """
        views = set(views)
        layers = common_layers(student, teacher, LAYERS) if INSIDE in views else []
        kept = kept_inputs(teacher, keep, LAYERS) if KEPT in views else {}
        return cls(layers, kept)

    def run(self, network: nn.Module, images: torch.Tensor, *, original: bool) -> tuple[torch.Tensor, Views]:
        """Run a generator and return its images and the views.

        Args:
            network: the compact generator, or the original.
            images: source images, (B, C, H, W).
            original: which of them it is.
        """
        means: dict[str, torch.Tensor] = {}

        def note(path: str, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            channels = self.kept[path] if original else None
            taken = inputs[0] if channels is None else inputs[0].index_select(1, channels)
            means[path] = taken.float().abs().mean((2, 3))  # (B, C'): of signed ones a norm has made nothing

        with hooks({path: network.get_submodule(path) for path in self.kept}, note):
            output, features = tapped(network, self.layers, images)
        found = {INSIDE: features, KEPT: [means[path] for path in self.kept]}
        return output, {view: tensors for view, tensors in found.items() if tensors}


def common_layers(student: nn.Module, teacher: nn.Module, count: int) -> list[str]:
    """Return the paths of ``count`` layers of one kind that both networks have, evenly spaced over the depth.

    Norms, where there are some, since a scale that a norm takes out again should not count; else convolutions, but the
    last: its output is the image, which is compared anyway.

    Raises:
        UserError: there are none.
    """
    known = {name for name, _ in student.named_modules()}
    for kinds in ((*Norm, nn.GroupNorm), Convolution):
        names = [name for name, module in teacher.named_modules() if isinstance(module, kinds) and name in known]
        names = names[:-1] if kinds is Convolution else names
        if names:
            return spread(names, count)
    found = type(teacher).__name__
    raise UserError("feature distillation", found, "a network with layers inside", "Fine-tune with distil instead.")


def kept_inputs(teacher: nn.Module, keep: Keep | None, count: int) -> dict[str, torch.Tensor | None]:
    """Return which channels stay of what ``count`` of the convolutions are given, by their paths; None for all.

    The image is no feature, so the first convolution does not count, nor do convolutions in parts.

    Raises:
        UserError: it is not known what was kept, or there are no such convolutions.
    """
    if keep is None:
        raise UserError("attention", "unknown filters", "which filters were kept", "Leave the term out.")
    layers = [(path, layer) for path, layer in list(convolutions(teacher).items())[1:] if layer.groups == 1]
    if not layers:
        found = type(teacher).__name__
        raise UserError("attention", found, "a network with several convolutions", "Leave the term out.")
    device = next(teacher.parameters()).device
    keys = {path: (path, "weight", channel_dims(layer)[0]) for path, layer in layers}
    indices = {path: keep.get(keys[path]) for path in spread(list(keys), count)}
    return {path: None if kept is None else torch.as_tensor(kept, device=device) for path, kept in indices.items()}


def spread(names: Sequence[str], count: int) -> list[str]:
    """Return so many of the names, or all, evenly spaced, the last among them."""
    count = min(count, len(names))
    return [names[(index + 1) * len(names) // count - 1] for index in range(count)]


def tapped(network: nn.Module, paths: Sequence[str], images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Run a network and return its output and the outputs of the layers at ``paths``, in that order."""
    caught: dict[str, torch.Tensor] = {}

    def keep(path: str, module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        caught[path] = output.clone()  # the activation behind a norm often overwrites its input

    with hooks({path: network.get_submodule(path) for path in paths}, keep, after=True):
        output = network(images)
    return output, [caught[path] for path in paths]


def seen_by(discriminator: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Run a discriminator and return its scores and what each of its convolutions but the first takes in.

    Args:
        discriminator: any network with convolutions, whatever normalises and activates between them.
        images: (B, C, H, W) in [-1, 1].
    """
    taken: list[torch.Tensor] = []
    with hooks(dict(_layers(discriminator)[1:]), lambda name, module, inputs: taken.append(inputs[0])):
        output = judged(discriminator, images)
    return output, taken


def _layers(discriminator: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in discriminator.named_modules() if isinstance(module, nn.Conv2d)]
