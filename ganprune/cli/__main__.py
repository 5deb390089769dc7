"""``python -m ganprune.cli``."""

from ganprune.cli import main

main()
