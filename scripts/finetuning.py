"""Which fine-tune keeps the most quality in the same time? The measurement behind the default of ``evolve``.

Takes the elites of a finished run (bits only), reconstructs their weights anew and fine-tunes both sides under each
objective for the same number of seconds, as steps times the median time of a step, measured beforehand in turns.
Figures are on the *validation* images; test images are not looked at. Results are appended to one file, so that an
interrupted measurement goes on where it was::

    python scripts/finetuning.py measure runs/evolve-001 --seconds 40 --out runs/finetuning.jsonl
    python scripts/finetuning.py report runs/finetuning.jsonl

A variant of one's own: ``--variant "NAME: distil=10,lam=5,learning_rate=1e-3,batch=4"``, the fields of
``ganprune.settings.training.TrainingSettings``.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from ganprune.errors import UserError
from ganprune.evolution.individual import Individual, unpack_bits
from ganprune.filters.builder import make_builders
from ganprune.filters.saving import read_description
from ganprune.metrics.evaluate import against, translations
from ganprune.metrics.measures import Wanted
from ganprune.metrics.rows import compute_figures
from ganprune.pipeline.config import configured_task, open_finished, read_config
from ganprune.pipeline.task import Task
from ganprune.settings.evolve import EvolveSettings
from ganprune.settings.training import OBJECTIVES, TrainingSettings
from ganprune.training import CycleGANTrainer
from ganprune.training.finetune import finetune

COMMON = {"augment": 1.0, "identity": 0.0, "batch": 8, "learning_rate": 5e-4}
VARIANTS: dict[str, dict[str, Any]] = {
    "distil (the default)": {**OBJECTIVES["distil"], "batch": EvolveSettings().finetune.batch},
    "cyclegan (paper)": {
        "lam": 10.0, "identity": 0.5, "adversarial": 1.0, "augment": 286 / 256, "learning_rate": 2e-4
    },
    "images": {"distil": 10.0, "lam": 1.0, "adversarial": 0.1},
    "images + features": {"distil": 10.0, "lam": 1.0, "adversarial": 0.1, "features": 1.0},
    "images, lam 5": {"distil": 10.0, "lam": 5.0, "adversarial": 0.1},
    "images + L_DisA, lam 5": {"distil": 10.0, "lam": 5.0, "adversarial": 0.0, "disa": 1.0},
    "images + L_DisA + adversarial, lam 5": {"distil": 10.0, "lam": 5.0, "adversarial": 0.1, "disa": 1.0},
    "images + L_DisA + features, lam 5": {"distil": 10.0, "lam": 5.0, "adversarial": 0.0, "disa": 1.0, "features": 1.0},
}  # fmt: skip
TIMED_STEPS = 6


class Subject:
    """The elites of a run, to be fine-tuned from reconstructed weights again and again.

    Args:
        run: a finished run of ``ganprune evolve``.
        device: where.
    """

    def __init__(self, run: Path, device: str):
        directory = open_finished(run)
        config, self.settings = read_config(directory)
        self.task: Task = configured_task(config, device)
        self.bits = {
            n: Individual(unpack_bits(read_description(directory.path(n))["bits"])) for n in self.task.cyclegan
        }
        self.builders = make_builders(self.task.cyclegan, self.task.images, encoding=self.settings.scoring.encoding)

    def networks(self) -> dict[str, nn.Module]:
        return {name: self.builders[name].final(bits).requires_grad_(True) for name, bits in self.bits.items()}

    def training(self, variant: Mapping[str, Any], steps: int, seed: int) -> TrainingSettings:
        fields = {**COMMON, "precision": self.settings.precision, **variant}
        return TrainingSettings(steps=steps // 2, decay_steps=steps - steps // 2, seed=seed, **fields)

    def step_seconds(self, variants: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """Return the median seconds of a training step of each variant, taking turns."""
        teacher, images = self.task.cyclegan, self.task.images.whole_training()
        trainers = {
            name: CycleGANTrainer(
                teacher.with_generators(self.networks()), images, self.training(variant, 1000, 1), teacher=teacher
            )
            for name, variant in variants.items()
        }
        times: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(TIMED_STEPS):
            for name, trainer in trainers.items():
                began = time.perf_counter()
                trainer.train_step()
                times[name].append(time.perf_counter() - began)
        return {name: statistics.median(values[1:]) for name, values in times.items()}

    @torch.inference_mode()
    def figures(self, networks: Mapping[str, nn.Module]) -> dict[str, dict[str, float]]:
        """Return the validation figures of both sides."""
        originals = {name: side.generator for name, side in self.task.cyclegan.items()}
        measures = Wanted(images="validation").measures(self.task.images, self.task.device)
        before, after = (translations(self.task.cyclegan, pair, measures) for pair in (originals, networks))
        return {name: compute_figures(against(after[name], before[name])) for name in networks}

    def original(self) -> dict[str, dict[str, float]]:
        """Return the original generators' own validation figures."""
        return self.figures({name: side.generator for name, side in self.task.cyclegan.items()})


@click.group()
def main() -> None:
    """Measure fine-tunes at equal wall time."""


@main.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="JSON lines; measured ones are skipped.")
@click.option("--seconds", type=float, default=40.0, show_default=True, help="Of every fine-tune.")
@click.option("--steps", type=click.IntRange(2), help="Of every fine-tune, in place of --seconds.")
@click.option("--variant", "given", multiple=True, metavar='"NAME: field=value,..."', help="In place of ours.")
@click.option("--only", multiple=True, help="Names of ours.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def measure(
    run: Path, out: Path, seconds: float, steps: int | None, given: tuple[str, ...], only: tuple[str, ...], seed: int,
    threads: int, device: str,
) -> None:  # fmt: skip
    """Fine-tune the elites of RUN under every objective for equally long, or for equally many steps."""
    torch.set_num_threads(threads)
    variants = dict(map(parse, given)) or {n: v for n, v in VARIANTS.items() if not only or n in only}
    known = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    seconds = 0.0 if steps else seconds
    done = {(line["run"], line["variant"], line["seed"], line["seconds"] or line["steps"]) for line in known}
    subject = Subject(run, device)
    step = {name: 0.0 for name in variants} if steps else subject.step_seconds(variants)
    if not any(line["run"] == str(run) and line["variant"] == "none" for line in known):
        write(out, {"run": str(run), "variant": "original", "seed": 0, "seconds": 0, "steps": 0, "step": 0.0,
                    "figures": subject.original()})  # fmt: skip
        write(out, {"run": str(run), "variant": "none", "seed": 0, "seconds": 0, "steps": 0, "step": 0.0,
                    "figures": subject.figures(subject.networks())})  # fmt: skip
    for name, variant in variants.items():
        if (str(run), name, seed, seconds or steps) in done:
            continue
        count, networks = steps or max(2, round(seconds / step[name])), subject.networks()
        began = time.perf_counter()
        finetune(subject.task.cyclegan, subject.task.images, networks, subject.training(variant, count, seed))
        line = {
            "run": str(run), "variant": name, "seed": seed, "seconds": seconds, "steps": count, "step": step[name],
            "took": time.perf_counter() - began, "fields": variant, "figures": subject.figures(networks),
        }  # fmt: skip
        write(out, line)


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Return name and fields of ``"NAME: field=value,field=value"``; a slash separates the values of a pair.

    Raises:
        click.BadParameter: it is none, or its fields are none of ``TrainingSettings``.
    """
    name, _, rest = text.partition(":")
    pairs = (part.partition("=") for part in rest.split(",") if part.strip())
    try:
        variant = {field.strip(): value_of(value) for field, _, value in pairs}
        TrainingSettings(**{"steps": 1, **variant}).to_json()
    except (TypeError, ValueError, UserError) as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint="--variant") from error
    return name.strip(), variant


def value_of(text: str) -> Any:
    return tuple(map(json.loads, text.split("/"))) if "/" in text else json.loads(text)


def write(out: Path, line: Mapping[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    click.echo(row(line))


def row(line: Mapping[str, Any]) -> str:
    """Return a line of the table: both sides' figures, A2B / B2A."""
    names = [name for name in ("l_cyc", "l_disa", "l_gena", "paired_l1", "kid") if name in line["figures"]["A2B"]]
    cells = [" / ".join(f"{line['figures'][side][name]:.4f}" for side in ("A2B", "B2A")) for name in names]
    return " | ".join(["", line["variant"], str(line["steps"]), f"{line.get('took', 0):.0f}", *cells, ""]).strip()


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
def report(out: Path) -> None:
    """Print what was measured as a table, A2B / B2A."""
    for line in map(json.loads, out.read_text().splitlines()):
        click.echo(row(line))


if __name__ == "__main__":
    main()
