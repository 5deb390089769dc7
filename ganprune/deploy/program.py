"""``torch.export`` programs: a graph of PyTorch's operators that runs without the code that built the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ganprune.deploy.facts import KEY, Facts, inexpressible

NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "custom")
FACTS_FILE = f"{KEY}.json"


def write_program(form: nn.Module, example: torch.Tensor, path: Path, facts: Facts) -> None:
    """Write a generator with its facts to a ``.pt2`` file.

    Args:
        form: the generator, as :func:`ganprune.deploy.fast_form.inference_form` arranges it.
        example: (2, C, H, W); the batch is free, and so are H and W where the facts name a multiple.
        path: of the file.
        facts: of the generator.

    Raises:
        UserError: it can't be exported.
    """
    try:
        program = torch.export.export(form, (example,), dynamic_shapes=facts.dynamic_shapes())
    except Exception as error:  # anything can go wrong inside a network that we did not write
        raise inexpressible("pt2", facts, "a generator that can be exported", error) from error
    for node in program.graph.nodes:
        for note in NOTES:  # they hold paths and source lines of this machine
            node.meta.pop(note, None)
    torch.export.save(program, path, extra_files={FACTS_FILE: facts.text()})


def open_program(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the generator of a program that we have just written, as a function of (N, C, H, W) float32."""
    network = torch.export.load(path).module()

    @torch.inference_mode()
    def run(images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = network(images)
        return result

    return run
