"""The shipped classifier: nine kinds of things (faces, food, flags ...), told from 64x64 drawings in colour or in ink.

It is here for its pooled features: on them, distances between sets of drawings can be measured on machines without
Inception's weights. It knows these drawings and nothing else. ``scripts/train_classifier.py`` makes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ganprune.errors import UserError
from ganprune.models.weights import load_into, read_safetensors

FORMAT = 1
SIZE = 64
WIDTHS = (24, 48, 96)  # of the features at 32x32, 16x16 and 8x8


class Classifier(nn.Module):
    """Convolutions and an average over positions: (B, 3, 64, 64) in [-1, 1] -> (B, categories) scores.

    Args:
        categories: what it tells apart, in the order of its scores.
        widths: filters at half, a quarter and an eighth of the size; the last is the width of :meth:`features`.
    """

    def __init__(self, categories: Sequence[str], widths: Sequence[int] = WIDTHS):
        super().__init__()
        self.categories, self.widths = tuple(categories), tuple(widths)
        layers, before = [], 3
        for width in self.widths:
            layers += [_convolution(before, width, stride=2), _convolution(width, width)]
            before = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(before, len(self.categories))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, widths[-1]): the last layer's activations, 0 or more, averaged over positions."""
        return self.layers(images).mean((2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images))


def _convolution(before: int, width: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(True))


def load_classifier(folder: Path) -> Classifier:
    """Load a classifier, float32, in evaluation mode.

    Raises:
        UserError: a file is missing or damaged.
    """
    path = folder / "classifier.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ValueError(f"format {description['format']!r}")
        network = Classifier(description["categories"], description["widths"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError("classifier", f"{path} ({error})", "an undamaged file", "Install ganprune again.") from error
    weights = folder / "classifier.safetensors"
    state = {key: value.float() for key, value in read_safetensors(weights).items()}
    counters = {key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")}
    load_into(network, {**state, **counters}, weights)
    return network.eval().requires_grad_(False)  # type: ignore[no-any-return]
