"""Reconstructed weights: the closed form that makes a pruned generator act like the original without training.

For a convolution with weight matrix W (out x d), let x be an input patch of the *original* network with a trailing 1
for the bias, and G = E[x x^T] over a few calibration images, computed once per layer. An individual that keeps inputs
S and outputs O gets the weights that minimise E|W[O] x - W' x_S|^2 + r |W' - W[O,S]|^2::

    W' = (W[O,:] G[:,S] + r W[O,S]) (G[S,S] + r I)^-1

Layer-wise least squares goes back to He et al. (ICCV 2017) and ThiNet (Luo et al., ICCV 2017); here one set of moments
serves every individual of a search. Transposed convolutions are convolutions of their zero-inserted input.

At ngf=64 with 9 blocks the moments of one generator take 0.51 GB in float32; at ngf=32 with 6 blocks 0.09 GB. Layers of
a U-Net with 512 inputs and 4x4 taps would take 0.25 to 1 GB each and minutes to solve: those are sliced.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ganprune.device import images_at_once, one_thread
from ganprune.filters.layers import Layer, channel_dims, convolutions, has_own_weight, hooks, layer_at
from ganprune.filters.recent import Recent
from ganprune.filters.slicing import Keep, slice_network
from ganprune.filters.space import FilterSpace

RIDGE = 1e-3  # r, relative to the mean diagonal of G
MAX_RIDGE_RAISES = 8
PATCH_BYTES = 64 * 2**20  # unfolded patches held at once
SOLVED_BYTES = 64 * 2**20  # solved layers that are kept
MAX_UNKNOWNS = 5000  # per output of a layer that is solved: G takes 100 MB then, and time grows with its cube
COLUMNS = 256  # of a block of G that is computed at once
ROWS_PER_COLUMN, MOST_ROWS = 8, 8192  # patches taken per unknown, and of a layer: more change the solution little


@dataclass(frozen=True)
class LayerMoments:
    """Second moments of one convolution's input patches in the original network.

    Attributes:
        gram: G = E[x x^T], (d, d), d = C_in * k * k (+ 1 if the layer has a bias).
        weight: W, (out, d), the bias as last column.
        product: W G, (out, d): computed once, indexed by every individual.
    """

    gram: torch.Tensor
    weight: torch.Tensor
    product: torch.Tensor


class Reconstruction:
    """Closed-form weights of any individual of a filter space.

    Args:
        generator: the original network, in evaluation mode.
        space: its filter space.
        images: calibration images, (N, C, H, W) in [-1, 1].
        ridge: r, relative to the mean diagonal of G; raised tenfold until the factorisation succeeds.
        moments: of each of :func:`solvable_layers`, where they have been taken already.
    """

    def __init__(
        self,
        generator: nn.Module,
        space: FilterSpace,
        images: torch.Tensor,
        *,
        ridge: float = RIDGE,
        moments: dict[str, LayerMoments] | None = None,
    ):
        self.generator, self.space, self.ridge = generator, space, ridge
        self.images, self.batch = images, images_at_once((images.shape[2], images.shape[3]), images.device)
        self.layers = solvable_layers(generator)
        self.has_batch_norm = any(isinstance(module, nn.BatchNorm2d) for module in generator.modules())
        self.moments = self._collect() if moments is None else moments
        # Relatives share layers: a crossover of whole groups leaves most of a parent's layers as they were.
        self.solved: Recent[torch.Tensor] = Recent(SOLVED_BYTES, attrgetter("nbytes"))

    def _collect(self) -> dict[str, LayerMoments]:
        """Run the calibration images through the original once, adding up each layer's moments as they stream by."""
        sums = MomentSums(self.layers, len(self.images))
        for part in self.images.split(self.batch):
            sums.add(self.generator, part)
        return sums.moments()

    @one_thread()  # in a search or after it, solved layers are the same to the last digit
    @torch.no_grad()
    def network(self, bits: Sequence[int]) -> nn.Module:
        """Return the compact network of ``bits`` with reconstructed weights.

        Layers that keep all their inputs are sliced, not solved. Batch norms get their statistics re-estimated.
        """
        kept = self.space.kept(bits)
        network = slice_network(self.generator, kept)
        for name, original in self.layers.items():
            outputs, inputs = kept_filters(original, name, kept)
            if len(inputs) < original.in_channels:
                layer, key = layer_at(network, name), (name, outputs.tobytes(), inputs.tobytes())
                solve = functools.partial(self._solve, name, layer, outputs, inputs)
                set_weight_matrix(layer, self.solved.get(key, solve))
        if self.has_batch_norm and not all(bits):
            restore_batch_statistics(network, self.images, self.batch)
        return network

    def _solve(self, name: str, layer: Layer, outputs: np.ndarray, inputs: np.ndarray) -> torch.Tensor:
        """Return the (out, s) weights of a layer that is sliced already."""
        moments = self.moments[name]
        columns = columns_kept(layer, inputs, moments.weight)
        rows = torch.as_tensor(outputs, device=moments.gram.device)
        gram = moments.gram.index_select(0, columns).index_select(1, columns)  # half the time of [columns][:, columns]
        cross = moments.product.index_select(0, rows).index_select(1, columns)
        return solve_ridge(gram, cross, weight_matrix(layer), self.ridge)


class MomentSums:
    """Adds up the moments of layers while images pass through their network.

    Args:
        layers: of the original network, by path.
        images: how many calibration images there are altogether, which decides how many patches each gives.
    """

    def __init__(self, layers: dict[str, Layer], images: int):
        self.layers = layers
        self.grams: dict[str, torch.Tensor] = {}  # the upper triangles
        self.samplers = {name: PatchSampler(layer, images) for name, layer in layers.items()}
        self.counts = dict.fromkeys(layers, 0)

    @torch.no_grad()
    def add(self, network: nn.Module, images: torch.Tensor) -> None:
        """Pass images, (B, C, H, W), through the layers' network."""
        with hooks(self.layers, self._add):
            network(images)

    def _add(self, name: str, layer: Layer, inputs: tuple[torch.Tensor, ...]) -> None:
        for patches in patch_matrices(layer, inputs[0], self.samplers[name]):  # (P, d)
            if name not in self.grams:
                self.grams[name] = patches.new_zeros(patches.shape[1], patches.shape[1])
            add_products(self.grams[name], patches)
            self.counts[name] += len(patches)

    @torch.no_grad()
    def moments(self) -> dict[str, LayerMoments]:
        """Return the moments of all images so far, once: the sums are used up."""
        moments = {}
        for name, layer in self.layers.items():
            gram, weight = self.grams[name].div_(self.counts[name]), weight_matrix(layer)
            gram = gram.triu_().add_(gram.triu(1).T)
            moments[name] = LayerMoments(gram, weight, weight @ gram)
        return moments


class PatchSampler:
    """Chooses patch positions of a layer, the same ones as every other sampler of it.

    Positions are random rather than a grid, since those of a transposed convolution alternate between kinds.

    Args:
        layer: the original convolution; its unknowns per output decide how many patches are wanted.
        images: number of calibration images.
    """

    def __init__(self, layer: Layer, images: int):
        unknowns = weight_matrix(layer).shape[1]
        self.per_image = max(64, -(-min(ROWS_PER_COLUMN * unknowns, MOST_ROWS) // images))
        self.draw = torch.Generator().manual_seed(0)

    def __call__(self, length: int) -> torch.Tensor:
        """Return ``per_image`` of the next image's ``length`` positions; all, where there are fewer."""
        return torch.randperm(length, generator=self.draw)[: self.per_image]


def add_products(gram: torch.Tensor, rows: torch.Tensor) -> None:
    """Add rows^T rows to the upper triangle of a (d, d) matrix; what comes below it is undefined.

    Block by block: half of the work of the whole product.
    """
    for start in range(0, len(gram), COLUMNS):
        gram[start : start + COLUMNS, start:].addmm_(rows[:, start : start + COLUMNS].T, rows[:, start:])


def solvable_layers(network: nn.Module) -> dict[str, Layer]:
    """Return the convolutions that are reconstructed, by path.

    All but depthwise, grouped and very wide ones, and those whose weight is computed: their filters all stay.
    """
    return {
        name: layer
        for name, layer in convolutions(network).items()
        if layer.groups == 1 and has_own_weight(layer) and layer.in_channels * _taps(layer) < MAX_UNKNOWNS
    }


def kept_filters(original: Layer, name: str, kept: Keep) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the kept output and input channels of a layer."""
    inputs, outputs = (
        kept.get((name, "weight", dim), np.arange(original.weight.shape[dim])) for dim in channel_dims(original)
    )
    return outputs, inputs


def columns_of(layer: Layer, inputs: np.ndarray) -> np.ndarray:
    """Return the columns of a layer's (out, d) weight matrix that belong to these input channels."""
    taps = _taps(layer)
    columns: np.ndarray = (inputs[:, None] * taps + np.arange(taps)).ravel()
    return columns


def columns_kept(layer: Layer, inputs: np.ndarray, weight: torch.Tensor) -> torch.Tensor:
    """Return the columns of the original's (out, d) ``weight`` matrix that these inputs have, and the bias."""
    columns = columns_of(layer, inputs)
    if layer.bias is not None:
        columns = np.append(columns, weight.shape[1] - 1)
    return torch.as_tensor(columns, device=weight.device)


def _taps(layer: Layer) -> int:
    return layer.kernel_size[0] * layer.kernel_size[1]


def solve_ridge(gram: torch.Tensor, cross: torch.Tensor, prior: torch.Tensor, ridge: float) -> torch.Tensor:
    """Return W' = (cross + r prior) (gram + r I)^-1 by Cholesky; r is raised tenfold until it succeeds.

    Args:
        gram: (s, s), positive semidefinite; its diagonal is changed.
        cross, prior: (out, s).
        ridge: r relative to the mean diagonal of ``gram``.

    Returns:
        (out, s), always finite: the prior itself (the sliced weights) if nothing else is.
    """
    diagonal = gram.diagonal()
    bare = diagonal.clone()
    scale = bare.mean().clamp_min(torch.finfo(gram.dtype).tiny)
    for attempt in range(MAX_RIDGE_RAISES):
        r = ridge * 10**attempt * scale
        torch.add(bare, r, out=diagonal)
        factor, failed = torch.linalg.cholesky_ex(gram)
        if int(failed):
            continue
        half = torch.linalg.solve_triangular(factor, torch.addcmul(cross, prior, r).T, upper=False)
        solution = torch.linalg.solve_triangular(factor.T, half, upper=True).T  # faster than cholesky_solve
        if torch.isfinite(solution.sum()):  # any NaN or Inf shows in the sum
            return solution
    return prior


def weight_matrix(layer: Layer) -> torch.Tensor:
    """Return a layer's weights as (out, C_in * k * k [+ 1]) in the order of :func:`patch_matrices`."""
    weight = layer.weight.detach()
    if isinstance(layer, nn.ConvTranspose2d):
        weight = weight.transpose(0, 1).flip(2, 3)
    matrix = weight.flatten(1)
    if layer.bias is not None:
        matrix = torch.cat([matrix, layer.bias.detach()[:, None]], 1)
    return matrix


def set_weight_matrix(layer: Layer, matrix: torch.Tensor) -> None:
    """Write (out, d) weights back into a layer, the inverse of :func:`weight_matrix`."""
    taps = matrix if layer.bias is None else matrix[:, :-1]
    if isinstance(layer, nn.ConvTranspose2d):
        inputs, outputs, *kernel = layer.weight.shape
        layer.weight.data.copy_(taps.reshape(outputs, inputs, *kernel).flip(2, 3).transpose(0, 1))
    else:
        layer.weight.data.copy_(taps.reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.data.copy_(matrix[:, -1])


def patch_matrices(layer: Layer, inputs: torch.Tensor, sampler: PatchSampler | None = None) -> Iterator[torch.Tensor]:
    """Yield a layer's input patches as (P, d) matrices of bounded size, one row per output position.

    Args:
        layer: a convolution or transposed convolution.
        inputs: (B, C_in, H, W), what the layer is given.
        sampler: takes some of each image's positions; all of them without it.
    """
    padded, kernel, stride, dilation = _as_convolution(layer, inputs)
    height, width = (
        (side - reach * (taps - 1) - 1) // step + 1
        for side, taps, step, reach in zip(padded.shape[2:], kernel, stride, dilation, strict=True)
    )
    bytes_of_image = padded.shape[1] * kernel[0] * kernel[1] * height * width * padded.element_size()
    if sampler is None or sampler.per_image >= height * width:
        parts = padded.split(max(1, PATCH_BYTES // bytes_of_image))
        found = (
            F.unfold(part, kernel, dilation=dilation, stride=stride).transpose(1, 2).flatten(0, 1) for part in parts
        )
    else:
        parts = padded.split(max(1, PATCH_BYTES * height * width // (bytes_of_image * sampler.per_image)))
        found = (
            torch.cat([_patches_at(image, sampler(height * width), width, kernel, stride, dilation) for image in part])
            for part in parts
        )
    for rows in found:
        yield rows if layer.bias is None else torch.cat([rows, rows.new_ones(len(rows), 1)], 1)


def _patches_at(
    image: torch.Tensor,
    positions: torch.Tensor,
    width: int,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> torch.Tensor:
    """Return a padded (C, H, W) image's patches at these positions of an output of that width: (P, C * kh * kw)."""
    row = image.shape[-1]
    first = positions // width * stride[0] * row + positions % width * stride[1]  # the place of a patch's first value
    down, along = (torch.arange(taps) * step for taps, step in zip(kernel, dilation, strict=True))
    places = (down[:, None] * row + along).reshape(-1, 1) + first  # (taps, P)
    values = image.flatten(1).index_select(1, places.flatten().to(image.device))
    return values.view(-1, len(positions)).T


def _as_convolution(
    layer: Layer, inputs: torch.Tensor
) -> tuple[torch.Tensor, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return padded (transposed: zero-inserted) input, kernel, stride and dilation of an unpadded convolution."""
    if isinstance(layer, nn.ConvTranspose2d):
        batch, channels, height, width = inputs.shape
        (sh, sw), (oh, ow) = layer.stride, layer.output_padding
        ph, pw = cast(tuple[int, int], layer.padding)
        reach_h, reach_w = (d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True))
        spread = inputs.new_zeros(batch, channels, (height - 1) * sh + 1, (width - 1) * sw + 1)
        spread[:, :, ::sh, ::sw] = inputs
        left, top = reach_w - pw, reach_h - ph
        return F.pad(spread, (left, left + ow, top, top + oh)), layer.kernel_size, (1, 1), layer.dilation
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    inputs = F.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)
    return inputs, layer.kernel_size, layer.stride, layer.dilation


def restore_batch_statistics(network: nn.Module, images: torch.Tensor, batch: int) -> None:
    """Re-estimate, in place, the running statistics of batch norms on these images."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()
    with torch.no_grad():
        for part in images.split(batch):
            network(part)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
