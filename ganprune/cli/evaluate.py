"""The ``evaluate`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganprune.cli.group import main
from ganprune.cli.options import (
    FOLDER,
    checkpoint_options,
    image_options,
    machine_options,
    setting_options,
    take_framing,
    take_networks,
)
from ganprune.cli.progress import print_summary, showing
from ganprune.settings.evolve import FEATURES_HELP
from ganprune.settings.export import SpeedSettings

WANTED = ("images", "features", "inception_weights", "features_cache", "segmenter", "labels", "segmented")


@main.command()
@click.argument("run", type=FOLDER)
@click.option("--data", type=FOLDER, help="Images, where RUN is a checkpoint.  [default: the run's own]")
@image_options
@click.option("--images", default="test", show_default=True, help="Measure on test or validation images.")
@click.option(
    "--features",
    help="Whose features distances are measured on: " + FEATURES_HELP + "  [default: the run's own, or none]",
)
@click.option("--inception-weights", type=FOLDER, help="File of torch-fidelity's weights.  [default: download them]")
@click.option("--features-cache", type=FOLDER, help="Folder to keep features of real images in.  [default: none]")
@click.option("--segmenter", help="Segments translations: a TorchScript file, or package.module:callable (imported).")
@click.option("--labels", type=FOLDER, help="Folder of true label maps, named like the images that are translated.")
@click.option("--segmented", default="B2A", show_default=True, help="The side whose output the segmenter knows.")
@setting_options(SpeedSettings, "Options", defaults={})
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@checkpoint_options
@machine_options
def evaluate(run: Path, speed: bool, repeats: int, as_json: bool, **options: Any) -> None:
    """Print the table of figures of RUN, or of a checkpoint's own generators.

    docs/metrics.md says what each figure means, and what it can't say.
    """
    import json

    from ganprune.commands.evaluate import evaluate_run
    from ganprune.metrics.measures import Wanted

    framing = take_framing(options)
    timing = SpeedSettings(speed=speed, repeats=repeats)
    with showing() as reporter:
        wanted = Wanted(**{name: options.pop(name) for name in WANTED})
        networks = take_networks(options)
        sides = evaluate_run(
            run, size=framing, wanted=wanted, networks=networks, timing=timing, reporter=reporter, **options
        )
    if as_json:
        click.echo(json.dumps(sides, indent=1))
    else:
        print_summary(sides)
