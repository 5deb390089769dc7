"""Files of generators for other programs, written and read back: ONNX, and ``torch.export`` programs.

ONNX is written by PyTorch's current exporter, checked, and run in onnxruntime. A program is a graph of PyTorch's
operators that runs without the code that built the network.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganprune.deploy.facts import INPUT, KEY, OUTPUT, Facts
from ganprune.errors import UserError, reason

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18  # what the exporter's operators are written for
FILE_FORMAT = 8  # the ONNX file format ("IR version") of that opset: older engines refuse files of later ones
NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "custom")  # of a program's nodes


def missing_packages() -> list[str]:
    """Return which of the packages that ONNX needs are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def require_packages(field: str = "format onnx") -> None:
    """Check that the packages that ONNX needs are installed.

    Args:
        field: what needs them.

    Raises:
        UserError: one is missing.
    """
    if missing := missing_packages():
        remedy = "Install them: pip install 'ganprune[onnx]'."
        raise UserError(field, f"no package {', '.join(missing)}", ", ".join(PACKAGES), remedy)


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

    with _expressing("onnx", facts, "a generator that ONNX can express"):
        model = to_onnx(form, (example,), [INPUT], [OUTPUT], facts.dynamic_shapes())
        _forget_where_it_was_made(model)
        model.ir_version = FILE_FORMAT
        onnx.helper.set_model_props(model, {KEY: facts.text()})
        onnx.save(model, str(path))
        onnx.checker.check_model(str(path), full_check=True)


def to_onnx(
    form: nn.Module,
    examples: tuple[torch.Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_shapes: Any = None,
) -> Any:
    """Return a network as an ONNX model.

    Args:
        form: takes the examples, and returns one tensor or a tuple.
        examples: one for each input.
        inputs, outputs: names of what goes in and comes out.
        dynamic_shapes: as ``torch.onnx.export`` takes them; None for the examples' own.
    """
    with _quiet():
        program = torch.onnx.export(
            form, examples, dynamo=True, verbose=False, opset_version=OPSET, input_names=inputs, output_names=outputs,
            dynamic_shapes=dynamic_shapes,
        )  # fmt: skip
    assert program is not None
    return program.model_proto


def write_program(form: nn.Module, example: torch.Tensor, path: Path, facts: Facts) -> None:
    """Write a generator with its facts to a ``.pt2`` file; arguments and errors as :func:`write_onnx`."""
    with _expressing("pt2", facts, "a generator that can be exported"):
        program = torch.export.export(form, (example,), dynamic_shapes=facts.dynamic_shapes())
    for node in program.graph.nodes:
        for note in NOTES:  # they hold paths and source lines of this machine
            node.meta.pop(note, None)
    torch.export.save(program, path, extra_files={f"{KEY}.json": facts.text()})


@contextmanager
def _expressing(form: str, facts: Facts, expected: str) -> Iterator[None]:
    """Say in one message what an exporter failed on: anything can go wrong inside a network that we did not write."""
    try:
        yield
    except Exception as error:
        remedy = "Export without --dynamic-size, or as --format torch."
        raise UserError(f"{form} of {facts.direction}", reason(error), expected, remedy) from error


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


def open_onnx(path: Path, threads: int | None = None) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return an ONNX file's generator, run by onnxruntime on the CPU, as a function of (N, C, H, W) float32.

    Args:
        path: of the file.
        threads: None for as many as PyTorch has.
    """
    session = open_session(str(path), session_options(threads))

    def run(images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {INPUT: images.numpy()})[0])

    return run


def session_options(threads: int | None = None) -> Any:
    """Return the options that onnxruntime times generators with; ``threads`` as for :func:`open_onnx`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    # Else its threads go on spinning for a while after each run, and slow down whatever takes its turn next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def open_session(model: str | bytes, options: Any) -> Any:
    """Return onnxruntime's session on the CPU of a file, by its path, or of a serialised model."""
    import onnxruntime

    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def open_program(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the generator of a program that we have just written, as a function of (N, C, H, W) float32."""
    return torch.inference_mode()(torch.export.load(path).module())  # type: ignore[no-any-return]
