"""The ``ganprune`` command: parse, call, print. Heavy imports happen inside the commands, so that help is instant."""

from ganprune.cli.group import main

# Importing a module of commands puts them on ``main``.
from ganprune.cli import (  # noqa: F401  isort: skip
    baselining, comparing, evolving, exporting, inspecting, measuring, picking, training, translating,
)  # fmt: skip

__all__ = ["main"]
