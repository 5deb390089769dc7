"""The ``ganprune`` command: parse, call, print. Heavy imports happen inside the commands, so that help is instant."""

from ganprune.cli.group import main

# Importing a module of commands puts them on ``main``.
from ganprune.cli import baselining, comparing, evolving, inspecting, measuring, picking, training  # noqa: F401  isort: skip

__all__ = ["main"]
