"""The importance order of each group's filters, where weights are reconstructed.

Reconstruction makes a layer's kept inputs stand in for the lost ones, so a filter is worth what the others can't
express, not its own strength. Filters are chosen greedily: first the one that alone lets the layers it feeds come
closest to their original outputs, then the one that adds most to it, and so on. From a layer's moments G and weights W,
the squared error that a block of columns c still removes is

    | W R[:,c] R[c,c]^(-1/2) |^2,        R = G - G[:,S] G[S,S]^-1 G[S,:]  given the columns S chosen so far

This is orthogonal least squares (Chen, Billings and Luo, 1989) on blocks; ThiNet (Luo et al., ICCV 2017) drops channels
greedily by a like error. A group that feeds several layers adds up their errors, each relative to its output's energy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ganprune.filters.layers import channel_dims
from ganprune.filters.reconstruction import Reconstruction, columns_of

PATIENCE = 8  # filters after which they are chosen two at a time, then three ...: many times as fast, and no worse
JITTER = 1e-6  # relative to the mean diagonal, so that blocks which nothing is left of can be factorised


def importance_order(reconstruction: Reconstruction) -> list[int]:
    """Return, per bit of the filter space, its place in its group: 0 is kept first.

    A group that feeds no layer which can be reconstructed keeps the order of its saliency.

    Args:
        reconstruction: with the moments of the original generator's layers.
    """
    space = reconstruction.space
    order: list[int] = []
    for start, end in zip(space.offsets[:-1], space.offsets[1:], strict=True):
        fed = fed_layers(reconstruction, range(start, end))
        best = ranked(reconstruction, fed) if fed else np.argsort(-np.asarray(space.saliency[start:end]))
        order += np.argsort(best).tolist()  # from the filter at each place to the place of each filter
    return order


class _Consumer:
    """What a layer's outputs still lack, given the filters chosen so far.

    R is never written out: of the d rows that a choice would change, the next one needs its own b only. Those are made
    of G and of U, a Cholesky factor of what the chosen ones express: R = G - U^T U.

    Args:
        gram: (d, d) moments of its inputs.
        product: (out, d), its weights times ``gram``.
        blocks: (n, b): the columns of each of the group's n filters.
        energy: of its outputs.
    """

    def __init__(self, gram: torch.Tensor, product: torch.Tensor, blocks: torch.Tensor, energy: float):
        self.count, self.width = blocks.shape
        columns = blocks.flatten()
        others = torch.ones(len(gram), dtype=torch.bool, device=gram.device)
        others[columns] = False
        jitter = JITTER * gram.diagonal().mean()
        self.gram, wanted = gram[columns][:, columns], product[:, columns] / energy**0.5
        if others.any():  # other groups' inputs and the bias stay: what they express is no filter's merit
            fixed = gram[others][:, others]
            fixed.diagonal().add_(jitter)
            shared = torch.linalg.solve(fixed, gram[others][:, columns])
            self.gram -= gram[columns][:, others] @ shared
            wanted -= product[:, others] / energy**0.5 @ shared
        self.jitter = jitter
        self.wanted = wanted.T.contiguous()  # (n * b, out): (W R)^T
        view = self.gram.view(self.count, self.width, self.count, self.width)
        self.own = view.diagonal(dim1=0, dim2=2).permute(2, 0, 1).contiguous()  # (n, b, b): R[c, c]
        self.chosen = torch.empty_like(self.gram)  # U, as many rows of it as are known
        self.rows = 0

    def gains(self) -> torch.Tensor:
        """Return (n,): the squared error that each filter would remove."""
        eye = torch.eye(self.width, device=self.own.device)
        factors, _ = torch.linalg.cholesky_ex(self.own + self.jitter * eye)
        inverses = torch.linalg.solve_triangular(factors, eye, upper=False)
        wanted = self.wanted.view(self.count, self.width, -1)
        return (inverses @ wanted).square().sum((1, 2)).nan_to_num(0.0)

    def choose(self, filters: Sequence[int]) -> None:
        """Let a few filters express what they can of all others."""
        own = (torch.as_tensor(filters)[:, None] * self.width + torch.arange(self.width)).flatten().to(self.gram.device)
        known, new = self.chosen[: self.rows], self.chosen[self.rows : self.rows + len(own)]
        rows = self.gram[own] - known[:, own].T @ known  # R[c, :]
        square = rows[:, own]
        square.diagonal().add_(self.jitter)
        factor, failed = torch.linalg.cholesky_ex(square)
        if int(failed) and len(filters) > 1:  # they are much alike
            for index in filters:
                self.choose([index])
            return
        new.copy_(torch.linalg.solve_triangular(factor, rows, upper=False))
        explained = torch.linalg.solve_triangular(factor, self.wanted[own], upper=False)
        self.wanted.addmm_(new.T, explained, alpha=-1)
        parts = new.view(len(own), self.count, self.width).transpose(0, 1)
        self.own.baddbmm_(parts.transpose(1, 2), parts, alpha=-1)
        self.rows += len(own)


def fed_layers(reconstruction: Reconstruction, bits: range) -> dict[str, np.ndarray]:
    """Return which layers can say what a group's filters are worth: those that they feed, each as many inputs.

    Args:
        reconstruction: of the generator.
        bits: the group's.

    Returns:
        Path -> (n, b), the columns of the layer's moments that belong to each of the n filters.
    """
    fed = {}
    for name, layer in reconstruction.layers.items():
        controller = reconstruction.space.controller(name, channel_dims(layer)[0])
        if controller is None or bits.start not in controller:
            continue
        channels = [np.flatnonzero(controller == bit) for bit in bits]
        if len({len(own) for own in channels}) == 1:
            fed[name] = np.array([columns_of(layer, own) for own in channels])
    return fed


def ranked(reconstruction: Reconstruction, fed: Mapping[str, np.ndarray]) -> list[int]:
    """Return the filters of a group, the one to be kept first at the beginning, by what these layers lose.

    Args:
        reconstruction: with the moments of the layers.
        fed: one or more of :func:`fed_layers`.
    """
    consumers = []
    for name, columns in fed.items():
        moments = reconstruction.moments[name]
        energy = max(float((moments.product * moments.weight).sum()), 1e-30)
        blocks = torch.as_tensor(columns, device=moments.gram.device)
        consumers.append(_Consumer(moments.gram, moments.product, blocks, energy))
    return _greedy(consumers, len(next(iter(fed.values()))))


@torch.no_grad()
def _greedy(consumers: list[_Consumer], count: int) -> list[int]:
    order: list[int] = []
    while len(order) < count:
        gains = torch.stack([consumer.gains() for consumer in consumers]).sum(0)
        gains[order] = -1.0
        several = min(1 + len(order) // PATIENCE, count - len(order))
        best = gains.argsort(descending=True, stable=True)[:several].tolist()
        order += best
        for consumer in consumers:
            consumer.choose(best)
    return order
