"""Network slimming: train a gate for every filter, with an L1 penalty, and keep the filters whose gates stay open.

Liu et al., *Learning efficient convolutional networks through network slimming*, ICCV 2017. There the scales of batch
norms are the gates, trained with the network. The usual generators have instance norms without scales, and they are
trained already; so every filter (bit) gets a gate where the next layers read it, weights stay as they are, and the
gates learn to give the original's images (Eq. 4) at a low sum:

    L_GenA(gates) + penalty * mean of |gate| over all channels that layers read

A coupled filter's gate is in that mean once for each layer that reads it: counted once, a trunk that seven layers read
would be the last to go. A norm behind the next layer would undo any shrinking that a group's gates have in common, and
the penalty would be met for nothing: instance norms therefore keep the statistics that the original has on the same
images, as batch norms in evaluation mode do. The trained gates rank the filters and are dropped then.
"""

from __future__ import annotations

import copy
import functools

import torch
from torch import nn

from ganprune.baselines.subject import Ranking, Subject
from ganprune.losses import generator_aware
from ganprune.training.augmentation import epoch_indices

STEPS = 100
BATCH = 8
RATE = 0.02  # of Adam: a gate that nothing holds is closed after 50 steps
PENALTY = 1.0


@torch.enable_grad()
def slimming(
    subject: Subject, seed: int = 0, *, steps: int = STEPS, penalty: float = PENALTY, batch: int = BATCH
) -> Ranking:
    """Rank filters by their gates after training.

    Args:
        subject: the generator, and the images it is trained on.
        seed: of the images' order.
        steps: of Adam.
        penalty: weight of the gates' mean.
        batch: images per step.
    """
    gated = GatedGenerator(subject)
    optimiser = torch.optim.Adam([gated.gates], lr=RATE)
    for step in range(steps):
        chosen = epoch_indices(len(subject.train), batch, step, f"{seed}:{subject.side}")
        real = subject.train.tensor(chosen).to(gated.gates)
        wanted = gated.original(real)
        loss = generator_aware(gated(real), wanted) + penalty * gated.mean_gate()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        gated.gates.data.clamp_(min=0)
    return Ranking(gated.gates.detach().double().cpu().numpy())


class GatedGenerator:
    """A copy of a generator in which gates weigh what layers read of each filter.

    Args:
        subject: the generator and its filter space.

    Attributes:
        gates: (len(space),), all 1 at first.
    """

    def __init__(self, subject: Subject):
        weight = next(subject.generator.parameters())
        self.gates = torch.ones(len(subject.space), dtype=weight.dtype, device=weight.device, requires_grad=True)
        self.network = copy.deepcopy(subject.generator).eval().requires_grad_(False)
        self.measuring = False  # the original, without gates
        for parent in list(self.network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.InstanceNorm2d) and not child.track_running_stats:
                    setattr(parent, name, _HeldNorm(child, self))
        self.bits = []  # for each layer that reads filters: the bit of each input channel, -1 for none
        for layer, dim in subject.space.channels(produces=False).items():
            self.bits.append(torch.as_tensor(subject.space.controller(layer, dim), device=weight.device))
            weigh = functools.partial(self._weigh, self.bits[-1])
            self.network.get_submodule(layer).register_forward_pre_hook(weigh)

    def _weigh(self, bits: torch.Tensor, layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor | None:
        if self.measuring:
            return None
        # Index -1 takes the 1 behind the gates.
        return inputs[0] * torch.cat([self.gates, self.gates.new_ones(1)])[bits].view(1, -1, 1, 1)

    def mean_gate(self) -> torch.Tensor:
        """Return the mean of the gates over all channels that layers read."""
        bits = torch.cat(self.bits)
        return self.gates[bits[bits >= 0]].abs().mean()

    @torch.no_grad()
    def original(self, images: torch.Tensor) -> torch.Tensor:
        """Return the original's (B, C, H, W) images, and hold the statistics of its instance norms on them."""
        self.measuring = True
        wanted: torch.Tensor = self.network(images)
        self.measuring = False
        return wanted

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the gated network's images; :meth:`original` comes before, with the same ones."""
        fake: torch.Tensor = self.network(images)
        return fake


class _HeldNorm(nn.Module):
    """An instance norm that goes on using the statistics of what it was given while the original was measured."""

    def __init__(self, norm: nn.InstanceNorm2d, gated: GatedGenerator):
        super().__init__()
        self.norm, self.gated = norm, gated
        self.mean = self.scale = torch.ones(())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.gated.measuring:
            variance, self.mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
            self.scale = (variance + self.norm.eps).rsqrt()
        normed = (x - self.mean) * self.scale
        if not self.norm.affine:
            return normed
        return normed * self.norm.weight.view(1, -1, 1, 1) + self.norm.bias.view(1, -1, 1, 1)
