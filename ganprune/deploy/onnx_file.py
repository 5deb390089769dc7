"""ONNX files: written by PyTorch's current exporter, checked, and run in onnxruntime."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune.deploy.facts import INPUT, KEY, OUTPUT, Facts, inexpressible
from ganprune.errors import UserError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18  # what the exporter's operators are written for


def missing_packages() -> list[str]:
    """Return which of the packages that ONNX needs are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def require_packages() -> None:
    """Check that the packages that ONNX needs are installed.

    Raises:
        UserError: one is missing.
    """
    if missing := missing_packages():
        remedy = "Install them: pip install 'ganprune[onnx]'."
        raise UserError("format onnx", f"no package {', '.join(missing)}", ", ".join(PACKAGES), remedy)


def write_onnx(form: nn.Module, example: torch.Tensor, path: Path, facts: Facts) -> None:
    """Write a generator with its facts to an ONNX file, and let the ONNX checker check it.

    Args:
        form: the generator, as :func:`ganprune.deploy.fast_form.inference_form` arranges it.
        example: (2, C, H, W); the batch is free, and so are H and W where the facts name a multiple.
        path: of the file.
        facts: of the generator.

    Raises:
        UserError: the exporter can't express it, or the checker refuses the result.
    """
    import onnx

    try:
        with _quiet():
            program = torch.onnx.export(
                form, (example,), dynamo=True, verbose=False, opset_version=OPSET, input_names=[INPUT],
                output_names=[OUTPUT], dynamic_shapes=facts.dynamic_shapes(),
            )  # fmt: skip
        assert program is not None
        model = program.model_proto
        _forget_where_it_was_made(model)
        onnx.helper.set_model_props(model, {KEY: facts.text()})
        onnx.save(model, str(path))
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # anything can go wrong inside a network that we did not write
        raise inexpressible("onnx", facts, "a generator that ONNX can express", error) from error


def _forget_where_it_was_made(model: Any) -> None:
    """Drop the exporter's notes on each operator: they hold paths and source lines of this machine."""
    graph = model.graph
    for part in (*graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output, graph):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes to its own developers from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def open_onnx(path: Path, threads: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return an ONNX file's generator, run by onnxruntime on the CPU, as a function of (N, C, H, W) float32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Else its threads go on spinning for a while after each run, and slow down whatever takes its turn next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {INPUT: images.numpy()})[0])

    return run
