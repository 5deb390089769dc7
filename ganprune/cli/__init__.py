"""The ``ganprune`` command: parse, call, print. Heavy imports happen inside the commands, so that help is instant."""

from ganprune.cli.group import main

# Importing a module of commands puts them on ``main``.
# isort: off
from ganprune.cli import baselining, comparing, evolving, exporting, measuring, picking, training, translating  # noqa: F401
# isort: on

__all__ = ["main"]
