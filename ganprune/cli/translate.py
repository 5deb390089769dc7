"""The ``translate`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganprune.cli.group import main
from ganprune.cli.options import (
    FOLDER,
    SizeType,
    checkpoint_options,
    machine_options,
    setting_options,
    take_networks,
    values_options,
)
from ganprune.cli.progress import showing
from ganprune.settings.translate import TranslateSettings

translate_options = setting_options(TranslateSettings, "Options", defaults={})


@main.command()
@click.argument("run", type=FOLDER)
@click.argument("paths", nargs=-1, required=True)
@click.option("--direction", required=True, metavar="A2B|B2A", help="Which of the two generators.")
@click.option("--out", type=FOLDER, required=True, help="Folder for the results: NAME.png for each image.")
@click.option("--size", type=SizeType("size"), help="Translate at this size.  [default: the run's own]")
@values_options
@translate_options
@checkpoint_options
@machine_options
def translate(run: Path, paths: tuple[str, ...], direction: str, out: Path, **options: Any) -> None:
    """Translate images with a generator of RUN, of an export or of a checkpoint.

    PATHS are image files, folders of images and patterns such as 'photos/**/*.jpg'. Files that can't be read are
    skipped and told at the end; the exit status is 1 then.
    """
    from ganprune.commands.translate import translate_files

    machine = {name: options.pop(name) for name in ("device", "threads")}
    networks = take_networks(options)
    settings = TranslateSettings(**options)
    with showing(interrupted=f"What was translated so far is in {out}.") as reporter:
        result = translate_files(
            run, paths, out, settings, direction=direction, networks=networks, reporter=reporter, **machine
        )
    click.echo(f"{len(result.written)} image{'s' * (len(result.written) != 1)} written: {out}")
    if result.skipped:
        click.echo(f"Skipped {len(result.skipped)}:", err=True)
        for reason in result.skipped:
            click.echo(f"  {reason}", err=True)
        raise SystemExit(1)
