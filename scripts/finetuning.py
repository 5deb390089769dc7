"""Which fine-tune keeps the most quality in the same time? The measurement behind the default of ``evolve``.

Takes the elites of a finished run (bits only), reconstructs their weights anew and fine-tunes both sides under each
objective for the same number of seconds, as steps times the median time of a step, measured beforehand in turns.
Figures are on the *validation* images; test images are not looked at. Results are appended to one file, step times too,
so that an interrupted measurement goes on where it was::

    python scripts/finetuning.py measure runs/evolve-001 --seconds 40 --out runs/finetuning.jsonl
    python scripts/finetuning.py measure runs/evolve-001 --steps 400 --only "distil*" --out runs/finetuning.jsonl
    python scripts/finetuning.py report runs/finetuning.jsonl

A variant of one's own: ``--variant "NAME: distil=10,lam=5,learning_rate=1e-3,batch=4"``, the fields of
``ganprune.settings.training.TrainingSettings``.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import statistics
import time
from collections.abc import Mapping, Sequence
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
from ganprune.metrics.rows import METRICS, Metric, compute_figures
from ganprune.pipeline.config import configured_task, open_finished, read_config
from ganprune.pipeline.task import Task
from ganprune.settings.evolve import EvolveSettings
from ganprune.settings.terms import IMAGENET, TERMS
from ganprune.settings.training import OBJECTIVES, TrainingSettings
from ganprune.training import CycleGANTrainer
from ganprune.training.finetune import finetune

DEFAULT = {**OBJECTIVES["distil"], "batch": EvolveSettings().finetune.batch}
# Each with about the gradient that pixel L1 has at its weight of 10, at the start of a fine-tune at 8 times fewer
# parameters: python scripts/finetuning.py weights RUN
WEIGHTS: dict[str, float] = {
    "distil": 10, "disa": 1.3, "feature_matching": 5, "features": 16, "ssim": 6.3, "ssim_scales": 3.7, "low": 10,
    "high": 27, "variation": 16, "style": 7, "channels": 250, "moments": 400, "data_moments": 110, "attention": 260,
    "imagenet": 3.4, "imagenet_style": 2.2, "imagenet_moments": 8,
}  # fmt: skip
OTHERS = {term: weight for term, weight in WEIGHTS.items() if term != "distil"}
COMMON = {"augment": 1.0, "identity": 0.0, "batch": 8, "learning_rate": 5e-4}
COMBINED: dict[str, tuple[str, ...]] = {
    "OMGD": ("ssim", "style", "feature_matching", "variation"),
    "ssim + feature_matching": ("ssim", "feature_matching"),
    "low + feature_matching": ("low", "feature_matching"),
    "low + style + data_moments": ("low", "style", "data_moments"),
    "feature_matching + data_moments": ("feature_matching", "data_moments"),
    "L1 + ssim + feature_matching": ("distil", "ssim", "feature_matching"),
    "L1 + feature_matching + channels + data_moments": ("distil", "feature_matching", "channels", "data_moments"),
}


def _weighed(*terms: str) -> dict[str, float]:
    """Return weights of terms that share what one has alone; without pixel L1, unless it is one of them."""
    return {"distil": 0.0, **{term: WEIGHTS[term] / len(terms) for term in terms}}


VARIANTS: dict[str, dict[str, Any]] = {
    "distil (the default)": DEFAULT,
    **{f"distil + {term}": {**DEFAULT, term: weight} for term, weight in OTHERS.items()},
    **{f"{term} for L1": {**DEFAULT, "distil": 0.0, term: weight} for term, weight in OTHERS.items()},
    **{name: {**DEFAULT, **_weighed(*terms)} for name, terms in COMBINED.items()},
    "distil, average 0.99": {**DEFAULT, "average": 0.99},
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
PACKAGE = "efficientnet_lite_pytorch"


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
        self.filters = {name: self.builders[name].space.kept(bits) for name, bits in self.bits.items()}

    def networks(self) -> dict[str, nn.Module]:
        return {name: self.builders[name].final(bits).requires_grad_(True) for name, bits in self.bits.items()}

    def training(self, variant: Mapping[str, Any], steps: int, seed: int) -> TrainingSettings:
        fields = {**COMMON, "precision": self.settings.precision, **variant}
        return TrainingSettings(steps=steps // 2, decay_steps=steps - steps // 2, seed=seed, **fields)

    def trainer(self, settings: TrainingSettings) -> CycleGANTrainer:
        teacher, images = self.task.cyclegan, self.task.images.whole_training()
        pair = teacher.with_generators(self.networks())
        return CycleGANTrainer(pair, images, settings, teacher=teacher, filters=self.filters)

    def finetune(self, settings: TrainingSettings) -> tuple[dict[str, nn.Module], dict[str, int]]:
        """Return fine-tuned networks and, if that diverged, where."""
        networks = self.networks()
        return networks, finetune(self.task.cyclegan, self.task.images, networks, settings, filters=self.filters)

    def step_seconds(self, variants: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """Return the median seconds of a training step of each variant, taking turns."""
        trainers = {name: self.trainer(self.training(variant, 1000, 1)) for name, variant in variants.items()}
        times: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(TIMED_STEPS):
            for name, trainer in trainers.items():
                trainer.step = 0  # the same batch: the original's answers are known then, as later in a training
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
@click.option("--only", multiple=True, metavar="PATTERN", help='Names of ours, such as "distil + *".')
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def measure(
    run: Path, out: Path, seconds: float, steps: int | None, given: tuple[str, ...], only: tuple[str, ...], seed: int,
    threads: int, device: str,
) -> None:  # fmt: skip
    """Fine-tune the elites of RUN under every objective for equally long, or for equally many steps."""
    torch.set_num_threads(threads)
    variants = dict(map(parse, given)) or chosen(only)
    known = [line for line in read(out) if line["run"] == str(run)]
    subject, seconds = Subject(run, device), 0.0 if steps else seconds
    if not any(line.get("variant") == "none" for line in known):
        rest = {"run": str(run), "seed": 0, "seconds": 0, "steps": 0, "step": 0.0}
        write(out, {**rest, "variant": "original", "figures": subject.original()})
        write(out, {**rest, "variant": "none", "figures": subject.figures(subject.networks())})
    done = [(*(line.get(name) for name in ("variant", "seed", "fields")), line.get("seconds") or line.get("steps"))
            for line in known]  # fmt: skip
    todo = {n: v for n, v in variants.items() if (n, seed, json.loads(json.dumps(v)), seconds or steps) not in done}
    step = dict.fromkeys(todo, 0.0) if steps else timed(subject, todo, known, out, run)
    for name, variant in todo.items():
        count, began = steps or max(2, round(seconds / step[name])), time.perf_counter()
        networks, diverged = subject.finetune(subject.training(variant, count, seed))
        line = {
            "run": str(run), "variant": name, "seed": seed, "seconds": seconds, "steps": count, "step": step[name],
            "took": time.perf_counter() - began, "fields": variant, "figures": subject.figures(networks), **diverged,
        }  # fmt: skip
        write(out, line)


def chosen(patterns: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return our variants whose names fit one of the patterns; all where there are none.

    Those that take the ImageNet network are left out, with a word, where it is not installed.

    Raises:
        click.BadParameter: a pattern that fits no name.
    """
    for pattern in patterns:
        if not fnmatch.filter(VARIANTS, pattern):
            raise click.BadParameter(f"{pattern!r}; ours are {', '.join(VARIANTS)}", param_hint="--only")
    names = [n for n in VARIANTS if not patterns or any(fnmatch.fnmatchcase(n, pattern) for pattern in patterns)]
    if importlib.util.find_spec(PACKAGE) is None:
        beyond = [n for n in names if any(TERMS[term].view == IMAGENET for term in TERMS.keys() & VARIANTS[n].keys())]
        names = [n for n in names if n not in beyond]
        if beyond:
            click.echo(f"Left out without the package {PACKAGE}: {', '.join(beyond)}", err=True)
    return {name: VARIANTS[name] for name in names}


def timed(
    subject: Subject,
    variants: Mapping[str, Mapping[str, Any]],
    known: Sequence[Mapping[str, Any]],
    out: Path,
    run: Path,
) -> dict[str, float]:
    """Return the seconds of a step of each variant: as an interrupted measurement had them, else measured and kept."""
    kept = {name: seconds for line in known for name, seconds in line.get("timed", {}).items()}
    if missing := {name: variant for name, variant in variants.items() if name not in kept}:
        new = subject.step_seconds(missing)
        append(out, {"run": str(run), "timed": new})
        kept |= new
    return {name: kept[name] for name in variants}


@main.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--images", type=int, default=16, show_default=True, help="Training images that are looked at.")
@click.option("--without", multiple=True, metavar="PATTERN", help='Terms to leave out, such as "imagenet*".')
def weights(run: Path, images: int, without: tuple[str, ...]) -> None:
    """Print for each term the weight at which its gradient in the weights of RUN's elites, before any fine-tune, is as
    large as pixel L1's at 10: both sides, and their geometric mean."""
    terms = [name for name in TERMS if not any(fnmatch.fnmatchcase(name, pattern) for pattern in without)]
    sizes = gradients(Subject(run, "cpu"), terms, images)
    for name, found in sizes.items():
        ratios = [10 * wanted / size for wanted, size in zip(sizes["distil"], found, strict=True)]
        click.echo(f"{name:18} {' / '.join(f'{r:.3g}' for r in ratios):20} {statistics.geometric_mean(ratios):.3g}")


def gradients(subject: Subject, terms: Sequence[str], images: int) -> dict[str, list[float]]:
    """Return the length of each term's gradient in the weights of each side's compact generator."""
    settings = TrainingSettings(
        steps=1, batch=images, lam=0.0, identity=0.0, adversarial=0.0, augment=1.0, seed=1, **dict.fromkeys(terms, 1.0)
    )
    found: dict[str, list[float]] = {name: [] for name in terms}
    trainer = subject.trainer(settings)
    for one in trainer.sides.values():
        assert one.taught is not None
        real, parameters = trainer.batch(one.side.source), list(one.side.generator.parameters())
        fake, inside = one.taught.teacher.inside.run(one.side.generator, real.images, original=False)
        for name, value in one.taught(real, fake, inside).items():
            parts = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
            found[name].append(float(torch.cat([part.flatten() for part in parts if part is not None]).norm()))
    return found


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


def read(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def append(out: Path, line: Mapping[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def write(out: Path, line: Mapping[str, Any]) -> None:
    append(out, line)
    click.echo(row(line, figures_in([line])))


def figures_in(lines: Sequence[Mapping[str, Any]]) -> list[Metric]:
    """Return the figures that any of the lines has, those that a table shows."""
    there = {name for line in lines for figures in line["figures"].values() for name in figures}
    return [metric for metric in METRICS if metric.label and metric.name in there]


def row(line: Mapping[str, Any], metrics: Sequence[Metric]) -> str:
    """Return a line of the table: both sides' figures, A2B / B2A."""

    def cell(metric: Metric) -> str:
        values = [line["figures"][side].get(metric.name) for side in line["figures"]]
        return " / ".join("" if value is None else f"{value:.{metric.digits}f}" for value in values)

    steps = f"{line['steps']}, diverged" if "diverged_at" in line else str(line["steps"])
    facts = [line["variant"], str(line["seed"] or ""), steps, f"{line.get('took', 0):.0f}"]
    return " | ".join(["", *facts, *map(cell, metrics), ""]).strip()


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
def report(out: Path) -> None:
    """Print what was measured as a table, A2B / B2A."""
    lines = [line for line in read(out) if "figures" in line]
    metrics = figures_in(lines)
    heads = ["fine-tune", "seed", "steps", "seconds", *(metric.name for metric in metrics)]
    click.echo(" | ".join(["", *heads, ""]).strip())
    click.echo("|" + " --- |" * len(heads))
    for line in lines:
        click.echo(row(line, metrics))


if __name__ == "__main__":
    main()
