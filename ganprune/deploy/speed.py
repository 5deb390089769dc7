"""How much faster a compact generator really is: measured beside the original, in each engine that is installed.

The *quotient* is the measured speed-up over the ratio of multiply-accumulates: 1 where time shrinks as they do. The
paper realised 3.1 times of 4.23, 0.73 (its Section 4, "Runtime"). What does not shrink with them (normalisation,
padding, a layer's overhead, channels that do not fill a vector) keeps it below 1.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune.cost import profile
from ganprune.data.sizes import Size, size_json
from ganprune.deploy.facts import Facts
from ganprune.deploy.fast_form import exported_form
from ganprune.deploy.files import missing_packages, open_onnx, write_onnx
from ganprune.models.architecture import input_channels
from ganprune.models.options import SIDES

REPEATS, WARM_UP = 15, 3
ENGINES = ("eager", "onnxruntime")

Run = Callable[[torch.Tensor], Any]
Statistic = Callable[[Sequence[float]], float]


def speed_figures(
    original: nn.Module, compact: nn.Module, size: Size, macs_ratio: float, *, repeats: int = REPEATS,
    statistic: Statistic = statistics.median,
) -> dict[str, Any]:  # fmt: skip
    """Time both generators, one image at a time, warm and taking turns.

    Args:
        original, compact: the generators, on the device that counts.
        size: (height, width) of the image, which they take as it is.
        macs_ratio: how many times fewer multiply-accumulates the compact one takes.
        repeats: timed runs of each.
        statistic: what of these counts.

    Returns:
        ``macs_ratio``, ``threads``, ``size``, and by engine ("eager", and "onnxruntime" where it is installed and the
        generators are on the CPU) the milliseconds of "original" and "compact", "speedup" and "quotient".
    """
    weight = next(original.parameters())
    draw = torch.Generator().manual_seed(0)
    example = torch.rand(1, input_channels(original), *size, generator=draw).mul(2).sub(1).to(weight.device)
    networks: dict[str, nn.Module] = {"original": original, "compact": compact}
    engines: dict[str, Mapping[str, Run]] = {"eager": networks}
    if weight.device.type == "cpu" and not missing_packages():
        engines["onnxruntime"] = onnx_runs(networks, size)
    figures: dict[str, Any] = {"macs_ratio": macs_ratio, "threads": torch.get_num_threads(), "size": size_json(size)}
    for engine, runs in engines.items():
        times = profile.latency_ms(runs, example, repeats=repeats, warm_up=WARM_UP, statistic=statistic)
        speedup = times["original"] / times["compact"]
        figures[engine] = {**times, "speedup": speedup, "quotient": speedup / macs_ratio}
    return figures


def onnx_runs(networks: Mapping[str, nn.Module], size: Size) -> dict[str, Run]:
    """Return each network as onnxruntime runs what ``ganprune export`` writes of it, with PyTorch's threads."""
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, network in networks.items():
            facts, path = Facts.of(network, SIDES[0], name, size, None), Path(folder) / f"{name}.onnx"  # of any side
            write_onnx(*exported_form(network, facts, 1, onnx=True), path, facts)
            runs[name] = open_onnx(path)
    return runs


def speed_lines(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of text, one for each engine."""
    return [
        f"{engine}: {of['original']:.2f} ms -> {of['compact']:.2f} ms, {of['speedup']:.2f} times as fast with "
        f"{figures['macs_ratio']:.2f} times fewer MACs (quotient {of['quotient']:.2f})"
        for engine, of in figures.items()
        if engine in ENGINES
    ]
