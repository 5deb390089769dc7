"""Distillation of intermediate features: inside the generators, and inside the discriminator of their images.

Between a compact layer's output and the original's stands a 1x1 convolution, the *adapter*, since they have different
numbers of channels (FitNets: Romero et al., ICLR 2015; for GANs: Li et al., GAN Compression, CVPR 2020). Adapters begin
as the least-squares solution on the first batch, are trained beside the generator, and are thrown away afterwards.

*Feature matching* compares what the original discriminator sees in both generators' images, layer by layer (Wang et
al., pix2pixHD, CVPR 2018, who compare with real images): L_DisA (Eq. 5) compares its last output only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from ganprune.errors import UserError
from ganprune.filters.layers import Convolution, Norm, hooks
from ganprune.models.scores import judged

LAYERS = 4  # where features are compared
RIDGE = 1e-3  # relative, of the adapters' first solution


class FeatureDistillation(nn.Module):
    """Relative squared error between adapted compact features and the original's, averaged over a few layers.

    Args:
        student: the compact generator; its layers have the original's paths.
        teacher: the original.
        example: one batch of source images, (B, C, H, W) in [-1, 1], that the adapters begin with.
        count: number of layers, evenly spaced over the depth: normalised outputs where there are norms, since a scale
            that a norm takes out again should not count; else the convolutions'.

    Raises:
        UserError: the two have no such layer in common.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, example: torch.Tensor, *, count: int = LAYERS):
        super().__init__()
        self.paths = common_layers(student, teacher, count)
        with torch.no_grad():
            theirs, ours = (tapped(network, self.paths, example)[1] for network in (teacher, student))
        pairs = zip(ours, theirs, strict=True)
        self.adapters = nn.ModuleList(least_squares_adapter(mine, wanted) for mine, wanted in pairs)

    def forward(self, ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the mean over layers of |adapter(f) - f_original|^2 / |f_original|^2; 0 is equal, 1 as bad as zeros.

        Args:
            ours, theirs: each layer's features, (B, C', h, w) and (B, C, h, w), as :func:`tapped` gives them.
        """
        errors = [
            F.mse_loss(adapter(mine.float()), wanted.float()) / wanted.float().square().mean().clamp_min(1e-12)
            for adapter, mine, wanted in zip(self.adapters, ours, theirs, strict=True)
        ]
        return torch.stack(errors).mean()


def common_layers(student: nn.Module, teacher: nn.Module, count: int) -> list[str]:
    """Return the paths of ``count`` layers of one kind that both networks have, evenly spaced over the depth.

    The last convolution is left out: its output is the image, which is compared anyway.
    """
    known = {name for name, _ in student.named_modules()}
    for kinds in ((*Norm, nn.GroupNorm), Convolution):
        names = [name for name, module in teacher.named_modules() if isinstance(module, kinds) and name in known]
        names = names[:-1] if kinds is Convolution else names
        if names:
            count = min(count, len(names))
            return [names[(index + 1) * len(names) // count - 1] for index in range(count)]
    found = type(teacher).__name__
    raise UserError("feature distillation", found, "a network with layers inside", "Fine-tune with distil instead.")


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
    layers = [(name, module) for name, module in discriminator.named_modules() if isinstance(module, nn.Conv2d)]
    with hooks(dict(layers[1:]), lambda name, module, inputs: taken.append(inputs[0])):
        output = judged(discriminator, images)
    return output, taken


def feature_matching(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean over layers of |f - f_original|_1 / |f_original|_1 of what :func:`seen_by` returns; 0 is equal.

    Args:
        ours, theirs: the features of the compact and of the original generator's images, (B, C, h, w) of each layer.
    """
    errors = [
        F.l1_loss(mine.float(), wanted.float()) / wanted.float().abs().mean().clamp_min(1e-6)
        for mine, wanted in zip(ours, theirs, strict=True)
    ]
    return torch.stack(errors).mean()


def least_squares_adapter(ours: torch.Tensor, theirs: torch.Tensor) -> nn.Conv2d:
    """Return the 1x1 convolution that maps (B, C', h, w) features to (B, C, h, w) ones with the least squared error."""
    x = ours.detach().float().transpose(0, 1).flatten(1)
    x = torch.cat([x, x.new_ones(1, x.shape[1])])
    y = theirs.detach().float().transpose(0, 1).flatten(1)
    gram = x @ x.T
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    solution = torch.linalg.solve(gram, x @ y.T).T  # (C, C' + 1)
    adapter = nn.Conv2d(ours.shape[1], theirs.shape[1], 1, device=ours.device)
    with torch.no_grad():
        adapter.weight.copy_(solution[:, :-1, None, None])
        adapter.bias.copy_(solution[:, -1])  # type: ignore[union-attr]
    return adapter
