"""What ``ganprune pretrain`` does: train a CycleGAN from scratch, with logbook, samples and checkpoints on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from ganprune import __version__
from ganprune.data import UnpairedImages
from ganprune.errors import UserError
from ganprune.evolution.interruption import Interruption
from ganprune.models.checkpoint import CycleGAN, check_size, new_cyclegan, save_cyclegan
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.report.figures import save_grid
from ganprune.runs import CONFIG, LOGBOOK, RunDirectory
from ganprune.training import TENSORS_NAME, CycleGANTrainer, TrainingSettings

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
        Interrupted: Ctrl-C; the last whole step is saved.
    """
    for field, value in (("steps", settings.total), ("save every", save_every)):
        if value < 1:
            raise UserError(field, value, "1 or more", f"Correct --{field.replace(' ', '-')}.")
    found = _open(path) if resume else None
    cyclegan = new_cyclegan(generator, discriminator, settings.seed).to(device)
    for network in cyclegan.networks().values():
        network.eval()
    check_size(cyclegan, images.size)
    images.read_all()
    run = found or RunDirectory.create(path)
    trainer = CycleGANTrainer(cyclegan, images, settings)
    if run.exists(TENSORS_NAME) and resume:
        trainer.load(run.directory)
        log = [line for line in run.read_jsonl(LOGBOOK) if line["step"] <= trainer.step]
        run.write_jsonl(LOGBOOK, log)  # later lines belong to steps that are taken again
    elif not resume:
        architecture = {"generator": generator.to_json(), "discriminator": discriminator.to_json()}
        data = {"root": str(images.root), "size": images.size, "images": images.counts()}
        config = {"command": "pretrain", "ganprune": __version__, "data": data, **architecture}
        run.write_json(CONFIG, {**config, "settings": asdict(settings)})
    recent: list[dict[str, float]] = []
    with Interruption() as interruption:
        for losses in trainer.train():
            recent.append(losses)
            if report:
                report(trainer.step, settings.total, losses)
            if trainer.step % LOG_EVERY == 0 or trainer.step == settings.total:
                run.append_jsonl(LOGBOOK, {"step": trainer.step, **_mean(recent)})
                recent = []
            if trainer.step % save_every == 0 or trainer.step == settings.total or interruption.requested:
                trainer.save(run.directory)
                save_cyclegan(cyclegan, run.directory)
                draw_samples(cyclegan, images, run.directory / f"samples-{trainer.step:06d}.png")
            interruption.check()
    return cyclegan


def _open(path: str | Path) -> RunDirectory:
    run = RunDirectory.open(path)
    command = run.read_json(CONFIG).get("command")
    if command != "pretrain":
        raise UserError("resume", f"{path} ({command})", "a run of ganprune pretrain", "Check the path.")
    return run


def _mean(entries: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(entry[name] for entry in entries) / len(entries) for name in entries[0]}


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
            sections[f"{name} (validation)"] = {"input": real, "output": fake, "back": partner(fake)}
    for network, mode in modes.items():
        network.train(mode)
    save_grid(path, sections, zoom=max(1, 96 // images.size))
