"""The ``ganprune`` command: parse, call, print. Heavy imports happen inside the commands, so that help is instant."""

from ganprune.cli.group import main

# Importing a module of commands puts them on ``main``.
from ganprune.cli import (  # noqa: F401  isort: skip
    baseline, bench, compare, evaluate, evolve, export, finetune, inspect, pick, pretrain, report, translate,
)  # fmt: skip

__all__ = ["main"]
