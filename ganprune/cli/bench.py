"""The ``bench`` command."""

from __future__ import annotations

from typing import Any

import click

from ganprune.cli.group import main
from ganprune.errors import UserError


@main.command()
@click.option("--repeats", type=int, default=9, show_default=True, help="Timed repeats of each measurement.")
@click.option("--images", type=int, default=32, show_default=True, help="Validation images per evaluation.")
@click.option("--paper/--no-paper", default=True, show_default=True, help="Also the paper's networks at 256x256.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--threads", type=int, help="CPU threads.  [default: PyTorch's choice]")
def bench(repeats: int, images: int, paper: bool, as_json: bool, threads: int | None) -> None:
    """Time evaluations on this machine against the published procedure."""
    import json

    from ganprune.bench import bench as run_bench
    from ganprune.device import set_threads
    from ganprune.pipeline.task import load_task

    for name, value in (("repeats", repeats), ("images", images)):
        if value < 1:
            raise UserError(name, value, "1 or more", f"Correct --{name}.")
    set_threads(threads)
    task = load_task(None, None, device="cpu")
    result = run_bench(task.images, task.cyclegan, repeats=repeats, scored=images, paper=paper)
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        print_bench(result)


def print_bench(result: dict[str, Any]) -> None:
    """Print the benchmark's figures, one line each."""
    for section, figures in result.items():
        if not isinstance(figures, dict):
            click.echo(f"{section}: {figures}")
            continue
        click.echo(f"\n{section}")
        for name, value in figures.items():
            shown = value if not isinstance(value, dict) else value["evaluations_per_second"]
            unit = " evaluations/s" if isinstance(value, dict) else ""
            click.echo(f"  {name.replace('_', ' ')}: {shown:.4g}{unit}")
