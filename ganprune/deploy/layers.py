"""Layers as onnxruntime runs them in an exported generator: the engine of a latency table of such generators.

All layers go through the exporter as one model, since each call of it takes seconds, and are then cut apart. They have
the form that ``ganprune export`` gives them (:mod:`ganprune.deploy.fast_form`), but for the silent channels that fill
groups up, since widths are rounded up to whole blocks anyway.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune.cost.latency import IDLE, Engine, Layer
from ganprune.cost.profile import one_thread_clock
from ganprune.deploy.fast_form import inference_form
from ganprune.deploy.files import open_session, require_packages, session_options, to_onnx
from ganprune.errors import UserError, reason


def onnxruntime_engine(threads: int = 1) -> Engine:
    """Return onnxruntime on this machine's CPU.

    Args:
        threads: that one generator is run with.

    Raises:
        UserError: a package is missing.
    """
    require_packages("target onnxruntime")
    clock = one_thread_clock() if threads == 1 else time.perf_counter
    return Engine(functools.partial(_calls, threads=threads), channel_block(), clock=clock)


def channel_block() -> int:
    """Return how many output channels onnxruntime's convolutions compute at once on this CPU; 1 where any number.

    With AVX-512 they are 16, with AVX2 8: its optimiser fills a convolution's weights up to them, which tells.
    """
    import onnx

    options = session_options(1)
    options.log_severity_level = 3  # a warning that the optimised model is for this machine only
    layer, image = nn.Conv2d(64, 65, 3), torch.zeros(1, 64, 8, 8)
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        open_session(to_onnx(layer, (image,), ["in"], ["out"]).SerializeToString(), options)
        tensors = onnx.load(options.optimized_model_filepath).graph.initializer
    outputs = next(tensor.dims[0] for tensor in tensors if len(tensor.dims) == 4)
    return int(outputs - 64) if outputs > 65 else 1


def _calls(layers: Mapping[Any, Layer], threads: int) -> dict[Any, Callable[[], Any]]:
    """Return calls that run each layer by itself in onnxruntime, and one of a model that does next to nothing."""
    from onnx.utils import Extractor

    parts = [(_form(layer), layer.image.cpu()) for layer in layers.values()]
    parts.append((nn.ReLU(), torch.zeros(1, 1, 1, 1)))
    inputs, outputs = ([f"{end}{index}" for index in range(len(parts))] for end in ("in", "out"))
    apart = _Apart([form for form, _ in parts]).eval()
    try:
        cut = Extractor(to_onnx(apart, tuple(image for _, image in parts), inputs, outputs))
    except Exception as error:  # anything can go wrong inside a network that we did not write
        remedy = "Use --target pytorch."
        raise UserError("target onnxruntime", reason(error), "layers that ONNX can express", remedy) from error
    calls: dict[Any, Callable[[], Any]] = {}
    for key, (_, image), given, made in zip((*layers, IDLE), parts, inputs, outputs, strict=True):
        model = cut.extract_model([given], [made]).SerializeToString()
        session = open_session(model, session_options(threads))
        calls[key] = functools.partial(session.run, None, {given: image.numpy()})
    return calls


def _form(layer: Layer) -> nn.Module:
    image = layer.image.cpu()
    return inference_form(
        layer.module.cpu(), image, onnx=True, blocks=layer.last, align=False, centre=layer.first
    )  # fmt: skip


class _Apart(nn.Module):
    """Layers side by side: one input and one output each."""

    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, *images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(layer(image) for layer, image in zip(self.layers, images, strict=True))
