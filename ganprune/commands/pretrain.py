"""What ``ganprune pretrain`` does: train a CycleGAN from scratch, with logbook, samples and checkpoints on the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ganprune import __version__
from ganprune.data.images import UnpairedImages
from ganprune.data.sizes import round_up, size_text
from ganprune.errors import UserError
from ganprune.models.checkpoint import save_cyclegan
from ganprune.models.cyclegan import CycleGAN, new_cyclegan
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.models.sizing import check_size, size_multiple
from ganprune.report.figures import save_grid, zoom_for
from ganprune.runs.directory import CONFIG, LOGBOOK, RunDirectory, refuse_changes
from ganprune.runs.files import check_format
from ganprune.runs.interruption import Interruption
from ganprune.settings.training import TrainingSettings
from ganprune.training import TENSORS_NAME, CycleGANTrainer

FORMAT = 1  # of config.json
SAMPLES = 16
LOG_EVERY = 50

Report = Callable[[int, int, dict[str, float]], None]


def pretrain(
    images: UnpairedImages,
    path: str | Path,
    settings: TrainingSettings,
    *,
    generator: GeneratorConfig,
    discriminator: DiscriminatorConfig,
    device: str = "cpu",
    resume: bool = False,
    save_every: int = 500,
    report: Report | None = None,
) -> CycleGAN:
    """Train both sides from ``settings.seed`` and write checkpoint, logbook and sample grids into a run directory.

    Args:
        images: the two domains; validation images are drawn in the sample grids.
        path: the run directory; new, unless ``resume``.
        settings: objective and schedule.
        generator, discriminator: architectures, alike for both sides.
        device: "cpu" or "cuda".
        resume: go on from the last saved step in ``path``.
        save_every: steps between checkpoints and sample grids.
        report: called as ``report(step, total, losses)`` after each step.

    Returns:
        The trained CycleGAN, in evaluation mode.

    Raises:
        UserError: something given can't be used; nothing has been written then.
        Interrupted: Ctrl-C or SIGTERM; the last whole step is saved.
    """
    for field, value in (("steps", settings.total), ("save every", save_every)):
        if value < 1:
            raise UserError(field, value, "1 or more", f"Correct --{field.replace(' ', '-')}.")
    run = RunDirectory.open(path) if resume else None
    cyclegan = new_cyclegan(generator, discriminator, settings.seed).to(device)
    for network in cyclegan.networks().values():
        network.eval()
    multiple = size_multiple(cyclegan.generators())
    if images.size != round_up(images.size, multiple):
        remedy = f"Give UnpairedImages(..., multiple={multiple})."
        raise UserError("size", size_text(images.size), f"multiples of {multiple} for these generators", remedy)
    check_size(cyclegan, images.size)
    images.read_all()
    config = {
        "format": FORMAT, "command": "pretrain", "ganprune": __version__,
        "data": {"root": str(images.root.resolve()), **images.framing.to_json(), "images": images.counts()},
        "data_sha256": images.digest(), "generator": generator.to_json(),
        "discriminator": discriminator.to_json(), "settings": settings.to_json(),
    }  # fmt: skip
    run = run or RunDirectory.create(path)
    with run.locked():
        if resume:
            _check_same(run, config)
        else:
            run.check_free(CONFIG)
            run.write_json(CONFIG, config)
        trainer = CycleGANTrainer(cyclegan, images, settings)
        recent = trainer.load(run.directory)[0].get("recent", []) if run.exists(TENSORS_NAME) else []
        log = [line for line in run.read_jsonl(LOGBOOK) if line["step"] <= trainer.step]
        run.write_jsonl(LOGBOOK, log)  # later lines belong to steps that are taken again
        _train(trainer, images, run, recent, save_every, report)
    return trainer.result()


def _check_same(run: RunDirectory, config: dict[str, Any]) -> None:
    saved = run.read_json(CONFIG)
    command = saved.get("command") if isinstance(saved, dict) else None
    if command != "pretrain":
        raise UserError("resume", f"{run.directory} ({command})", "a run of ganprune pretrain", "Check the path.")
    check_format(saved, FORMAT, run.path(CONFIG))
    if isinstance(saved.get("settings"), dict):
        saved["settings"] = {**TrainingSettings().to_json(), **saved["settings"]}  # earlier versions had fewer
    fixed = ("data_sha256", "generator", "discriminator", "settings")
    asked = {name: config[name] for name in fixed if name in saved}  # a folder may have moved
    refuse_changes(saved, asked, "the interrupted run", "Resume with equal settings.")


def _train(
    trainer: CycleGANTrainer,
    images: UnpairedImages,
    run: RunDirectory,
    recent: list[dict[str, float]],
    save_every: int,
    report: Report | None,
) -> None:
    """Take the remaining steps; ``recent`` are the losses of those since the last line of the logbook."""
    total = trainer.settings.total
    with Interruption() as interruption:
        for losses in trainer.train():
            recent.append(losses)
            _check_losses(losses, trainer.step, run)
            if report:
                report(trainer.step, total, losses)
            if trainer.step % LOG_EVERY == 0 or trainer.step == total:
                means = {name: sum(entry[name] for entry in recent) / len(recent) for name in losses}
                run.append_jsonl(LOGBOOK, {"step": trainer.step, **means})
                recent = []
            requested = interruption.requested is not None
            if trainer.step % save_every == 0 or trainer.step == total or requested:
                run.flush(LOGBOOK)
                result = trainer.result()
                save_cyclegan(result, run.directory)
                draw_samples(result, images, run.directory / f"samples-{trainer.step:06d}.png")
                trainer.save(run.directory, facts={"recent": recent})  # last: what it counts is there
            interruption.check()


def _check_losses(losses: dict[str, float], step: int, run: RunDirectory) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise UserError(
                f"{name.replace('_', ' ')} loss at step {step}", value, "a finite number",
                f"The training diverged; {run.directory} holds the last good checkpoint. Lower --learning-rate.",
            )  # fmt: skip


def draw_samples(cyclegan: CycleGAN, images: UnpairedImages, path: Path) -> None:
    """Write a grid of validation images: source, translation and translation back, for both sides."""
    device = cyclegan.device
    sections = {}
    modes = {network: network.training for network in cyclegan.networks().values()}
    for network in modes:
        network.eval()
    for name, side in cyclegan.items():
        validation = images[side.source].validation
        real = validation.tensor(range(min(SAMPLES, len(validation)))).to(device)
        partner = cyclegan.partner(name).generator
        with torch.inference_mode():
            fake = side.generator(real)
            rows = {"input": real, "output": fake, "back": partner(fake)}
        sections[f"{name} (validation)"] = {label: images.cut(row) for label, row in rows.items()}
    for network, mode in modes.items():
        network.train(mode)
    save_grid(path, sections, zoom=zoom_for(images.frame))
