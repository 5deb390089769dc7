"""The ``finetune`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganprune.cli.group import main
from ganprune.cli.options import FOLDER, dry_run_option, factory_options, machine_options, take_factories, typed
from ganprune.cli.progress import print_run, showing
from ganprune.errors import UserError

OBJECTIVE_HELP = "distil, features, or cyclegan (the paper's); weights as in distil:ssim=1."


@main.command()
@click.argument("run", type=FOLDER, required=False)
@click.option("--out", type=FOLDER, help="New run directory for the result.")
@click.option("--resume", type=FOLDER, help="Go on with an interrupted one's --out; RUN and options are its own.")
@click.option("--objective", default="distil", show_default=True, help=OBJECTIVE_HELP)
@click.option("--steps", type=int, default=1000, show_default=True, help="Training steps; the rate decays over half.")
@click.option("--batch", type=int, default=4, show_default=True, help="Images of each domain per step.")
@click.option("--average", type=float, default=0.0, show_default=True, help="Decay of averaged weights; 0 for none.")
@click.option("--seed", type=int, default=1, show_default=True)
@factory_options
@machine_options
@dry_run_option
def finetune(run: Path | None, out: Path | None, resume: Path | None, **options: Any) -> None:
    """Fine-tune the compact generators of RUN further; the result goes to a new run directory."""
    from ganprune.commands.finetune import finetune_run, resume_finetune

    factories = take_factories(options)
    if resume and (run or out):
        raise UserError("--resume", f"{resume} with {run or out}", "--resume alone", "It knows its run and directory.")
    with showing("ganprune finetune --resume {}") as reporter:
        if resume:
            again, device = typed("resume", "device", "dry_run", *factories), typed().get("device")
            result = resume_finetune(resume, options=again, factories=factories, device=device, reporter=reporter)
        elif run and out:
            result = finetune_run(run, out, factories=factories, reporter=reporter, **options)
        else:
            raise click.UsageError("Missing option '--out'." if run else "Missing argument 'RUN'.")
    print_run(result)
