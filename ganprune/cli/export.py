"""The ``export`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganprune.cli.group import main
from ganprune.cli.options import (
    FOLDER,
    SizeType,
    checkpoint_options,
    setting_options,
    take_networks,
    values_options,
)
from ganprune.cli.progress import showing
from ganprune.settings.export import ExportSettings

export_options = setting_options(ExportSettings, "Options", defaults={})


@main.command()
@click.argument("run", type=FOLDER)
@click.option(
    "--format",
    "formats",
    multiple=True,
    default=["onnx"],
    show_default=True,
    metavar="onnx|pt2|torch",
    help="ONNX, a torch.export program, or a state dict with JSON; may be repeated.",
)
@click.option("--direction", "directions", multiple=True, metavar="A2B|B2A", help="Which generator.  [default: both]")
@click.option("--out", type=FOLDER, required=True, help="Folder for the files; none is ever overwritten.")
@click.option("--size", type=SizeType("size"), help="Size of the images.  [default: the run's own]")
@click.option(
    "--images",
    multiple=True,
    metavar="PATH",
    help="Real images to compare on: files, folders or patterns.  [default: the run's test images]",
)
@values_options
@export_options
@checkpoint_options
@click.option("--threads", type=int, help="CPU threads.  [default: PyTorch's choice]")
def export(run: Path, out: Path, images: tuple[str, ...], threads: int | None, **options: Any) -> None:
    """Export the generators of RUN, or of a checkpoint, and prove that they compute the same.

    What is written is read back, run on real images and compared with PyTorch. It says itself how images go in and come
    out, and so does the README.md beside it.
    """
    from ganprune.commands.export import export_run
    from ganprune.deploy.speed import speed_lines

    networks = take_networks(options)
    with showing() as reporter:
        result = export_run(
            run, out, ExportSettings(**options), images=images, networks=networks, threads=threads, reporter=reporter
        )
    for (direction, name), difference in result.differences.items():
        click.echo(f"{direction} {name}: differs from PyTorch by at most {difference:.1e}")
    for direction, figures in result.speed.items():
        for line in speed_lines(figures):
            click.echo(f"{direction} {line}")
    click.echo(f"Exported: {', '.join(str(path) for path in result.files)}")
