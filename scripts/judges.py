"""Which judge of pictures can be trusted? The measurements behind docs/metrics.md.

(a) known damage in rising doses, (b) real images as the floor, (c) agreement with the truth over many generators, (d)
the noise of resampling, and so the smallest difference between two generators that a judge can see::

    python scripts/judges.py damage runs/judges/damage.jsonl
    python scripts/judges.py generators runs/judges/generators
    python scripts/judges.py agreement runs/judges/generators runs/judges/agreement.jsonl
    python scripts/judges.py report runs/judges/damage.jsonl runs/judges/agreement.jsonl

Distances are to the *training* images of a domain; what is judged are its 200 test images, damaged, or translations of
the other domain's. Squared distances are shown as their roots, so that twice the damage is about twice the figure.
Measured lines are skipped, so that an interrupted measurement goes on where it was.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from damage import DAMAGES, LEVELS
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr

from ganprune.assets import default_checkpoint, default_images
from ganprune.baselines.choose import allocate
from ganprune.data.images import UnpairedImages
from ganprune.data.pixels import to_float, to_uint8
from ganprune.filters.builder import NetworkBuilder, make_builders
from ganprune.metrics.evaluate import run
from ganprune.metrics.kid import polynomial_mmd2
from ganprune.metrics.paired import paired_l1, rms_error, ssim
from ganprune.metrics.patches import PatchDistance, patches_of
from ganprune.metrics.picture import picture_error
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.cyclegan import SOURCE, TARGET
from ganprune.models.imagenet import load_efficientnet
from ganprune.settings.training import FinetuneSettings
from ganprune.training import CycleGANTrainer

Images = torch.Tensor
Pairs = list[tuple[Images, Images]]
Described = list[torch.Tensor]  # (N, ...) each: what a judge knows of every image


@dataclass(frozen=True)
class Judge:
    """Says how bad images are.

    Attributes:
        describe: of (N, 3, 64, 64) images in [-1, 1].
        compare: those of the images and of the truth -> the worse the higher.
        paired: whether the truth is looked at.
    """

    describe: Callable[[Images], Described]
    compare: Callable[[Described, Described], float]
    paired: bool = False

    def both(self, images: Images, truth: Images) -> list[Described]:
        return [self.describe(images), self.describe(truth) if self.paired else []]

    def __call__(self, images: Images, truth: Images) -> float:
        return self.compare(*self.both(images, truth))


def paired(function: Callable[[Images, Images], float]) -> Callable[[Images], Judge]:
    return lambda real: Judge(lambda images: [images], lambda images, truth: function(images[0], truth[0]), True)


def patch_distance(real: Images) -> Judge:
    distance = PatchDistance(real)
    return Judge(patches_of, lambda images, truth: distance.of_patches(images))


def whole(real: Images) -> Judge:
    distance = PatchDistance(real)
    return Judge(
        lambda images: [images, *patches_of(images)],
        lambda images, truth: picture_error(distance.of_patches(images[1:]), images[0], truth[0]),
        True,
    )


def kernel(real: Images, features: Callable[[Images], Images]) -> Judge:
    """The root of the kernel distance of features, each in units of the real ones' deviation."""
    known = features(real)
    mean, deviation = known.mean(0), known.std(0)
    deviation += 0.01 * deviation.max()

    def compare(images: Described, truth: Described) -> float:
        return max(0.0, polynomial_mmd2((images[0] - mean) / deviation, (known - mean) / deviation)) ** 0.5

    return Judge(lambda images: [features(images)], compare)


def efficientnet(size: int, stages: slice) -> Callable[[Images], Judge]:
    """Means and deviations over places of some stages' features, images enlarged to ``size``."""

    def make(real: Images) -> Judge:
        network = load_efficientnet("lite0")

        @torch.inference_mode()
        def features(images: Images) -> Images:
            found = []
            for part in images.split(50):
                maps = network(torch.nn.functional.interpolate(part, (size, size), mode="bilinear"))[stages]
                moments = [torch.cat([m.mean((2, 3)), m.var((2, 3), unbiased=False).sqrt()], 1) for m in maps]
                found.append(torch.cat(moments, 1))
            return torch.cat(found)

        return kernel(real, features)

    return make


JUDGES: dict[str, Callable[[Images], Judge]] = {
    "picture error": whole,
    "patch distance": patch_distance,
    "RMS error": paired(rms_error),
    "L1": paired(paired_l1),
    "1 - SSIM": paired(lambda images, truth: 1 - ssim(images, truth)),
    "EfficientNet, all stages": efficientnet(64, slice(None)),
    "EfficientNet, last stage": efficientnet(128, slice(-1, None)),
}
DRAWS = 5  # of damage that is random
RESAMPLINGS = 10
RATIOS, STAGES = (2, 4, 8, 16, 30, 60), (0, 20, 80, 300)
FLOOR, FEWER, OTHER_DOMAIN = "real", "fewer images", "real images of the other domain"
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
PAIRED = ("RMS error", "L1", "1 - SSIM")


class Lines:
    """A file of measured lines, one JSON object each, which goes on where it ended."""

    def __init__(self, path: Path, keys: Iterable[str]):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.keys = path, tuple(keys)
        lines = path.read_text().splitlines() if path.exists() else []
        self.known = {self._key(json.loads(line)) for line in lines}

    def _key(self, line: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(line[key] for key in self.keys)

    def __contains__(self, line: Mapping[str, Any]) -> bool:
        return self._key(line) in self.known

    def add(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def shipped_images() -> UnpairedImages:
    return UnpairedImages(default_images(), 64)


@click.group()
def main() -> None:
    """Judge the judges."""


@main.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--judge", "names", multiple=True, type=click.Choice(list(JUDGES)), help="In place of all.")
def damage(out: Path, names: tuple[str, ...]) -> None:
    """Ask every judge about every dose, and about real images."""
    lines, images = Lines(out, ("judge", "domain", "damage", "dose")), shipped_images()
    for name in names or JUDGES:
        for domain in "AB":
            judge = None
            for kind, dose, draws in cases(images, domain):
                line = {"judge": name, "domain": domain, "damage": kind, "dose": dose}
                if line in lines or (name in PAIRED and kind in (FLOOR, FEWER)):
                    continue
                judge = judge or JUDGES[name](images[domain].train.tensor())
                values = [judge(*drawn) for drawn in draws()]
                lines.add({**line, "value": float(np.mean(values)), "deviation": float(np.std(values))})


def cases(images: UnpairedImages, domain: str) -> Iterator[tuple[str, float, Callable[[], Pairs]]]:
    """Yield what is judged: kind of damage, dose, and the images with their truth, each time that they are drawn."""
    real, others = images[domain].test.tensor(), images["AB".replace(domain, "")].test.tensor()
    yield FLOOR, 0.0, lambda: [(each, each) for each in (real, images[domain].validation.tensor())]
    for kind, each in DAMAGES.items():
        for dose in each.doses if domain in each.domains else ():
            yield kind, dose, functools.partial(damaged, kind, dose, real)
    for share in SHARES:
        count = round(share * len(real))
        yield OTHER_DOMAIN, share, lambda count=count: [(torch.cat([others[:count], real[count:]]), real)]


def damaged(kind: str, dose: float, real: Images) -> Pairs:
    """Return damaged images with their truth, several times where chance decides what is seen."""
    draws = DRAWS if kind == FEWER else 1
    found = [DAMAGES[kind].apply(real, dose, np.random.default_rng(seed)) for seed in range(draws)]
    # Too few different images are a fault of the set; that each is of the wrong thing is not what is asked here.
    return [(images, images if kind == FEWER else real) for images in found]


@main.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--threads", type=int, default=2, show_default=True)
def generators(out: Path, threads: int) -> None:
    """Write test translations of the original and of compact pairs of many sizes, early and late in their tuning."""
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    images, cyclegan = shipped_images(), load_cyclegan(default_checkpoint())
    translate(out / "original.safetensors", {n: side.generator for n, side in cyclegan.items()}, images)
    builders = make_builders(cyclegan, images)
    for seed, ratio in enumerate(RATIOS):
        if (out / f"{ratio}x-{STAGES[-1]}.safetensors").exists():
            continue
        pair = {n: b.final(uneven(b, ratio, seed)).requires_grad_(True) for n, b in builders.items()}
        settings = FinetuneSettings(steps=STAGES[-1]).training(lam=10.0, precision="bfloat16", seed=seed)
        trainer = CycleGANTrainer(cyclegan.with_generators(pair), images.whole_training(), settings, teacher=cyclegan)
        for stage in STAGES:
            for _ in trainer.train(stage):
                pass
            translate(out / f"{ratio}x-{stage}.safetensors", pair, images)


def uneven(builder: NetworkBuilder, ratio: float, seed: int) -> list[int]:
    """Return bits for so many times fewer parameters: filters by importance, more of some groups than of others."""
    space, draw = builder.space, np.random.default_rng(seed)
    sizes, order = np.asarray(space.group_sizes), np.asarray(space.repair.order)
    tilt = np.repeat(draw.uniform(0.5, 1.5, len(sizes)), sizes)
    shares = (order + 0.5) / np.repeat(sizes, sizes) / tilt
    first = [int(index) for index in np.lexsort((shares, order > 0))]
    return allocate(space, first, int(space.parameter_count(space.full()) / ratio))


def translate(path: Path, pair: Mapping[str, torch.nn.Module], images: UnpairedImages) -> None:
    with torch.inference_mode():
        sides = {n: run(g, images[SOURCE[n]].test.tensor(), torch.device("cpu")) for n, g in pair.items()}
    save_file({name: to_uint8(translated) for name, translated in sides.items()}, path)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--judge", "names", multiple=True, type=click.Choice(list(JUDGES)), help="In place of all.")
@click.option("--resamplings", default=RESAMPLINGS, show_default=True, help="Of the test images.")
def agreement(folder: Path, out: Path, names: tuple[str, ...], resamplings: int) -> None:
    """Ask every judge about every generator of FOLDER, on all test images and on resamplings of them."""
    lines, images = Lines(out, ("judge", "side", "generator")), shipped_images()
    draw = np.random.default_rng(0)
    chosen = [draw.integers(0, 200, 200) for _ in range(resamplings)]
    for name in names or JUDGES:
        for side, target in TARGET.items():
            judge, truth = None, images[target].test.tensor()
            for path in sorted(folder.glob("*.safetensors")):
                line = {"judge": name, "side": side, "generator": path.stem}
                if line in lines:
                    continue
                judge = judge or JUDGES[name](images[target].train.tensor())
                both = judge.both(to_float(load_file(path)[side]), truth)
                again = [judge.compare(*([part[some] for part in each] for each in both)) for some in chosen]
                lines.add({**line, "value": judge.compare(*both), "again": again})


@main.command()
@click.argument("damaged", type=click.Path(path_type=Path, exists=True))
@click.argument("agreed", type=click.Path(path_type=Path, exists=True), required=False)
def report(damaged: Path, agreed: Path | None) -> None:
    """Print the tables."""
    lines = [json.loads(line) for line in damaged.read_text().splitlines()]
    for name in dict.fromkeys(line["judge"] for line in lines):
        click.echo("\n".join(damage_table(name, [line for line in lines if line["judge"] == name])) + "\n")
    if agreed:
        click.echo("\n".join(agreement_table([json.loads(line) for line in agreed.read_text().splitlines()])))


def damage_table(name: str, lines: list[dict[str, Any]]) -> list[str]:
    """Return a judge's table: every dose, whether they are ranked right, and what equally bad ones cost."""
    values: dict[tuple[str, str], dict[float, float]] = defaultdict(dict)
    for line in lines:
        values[line["damage"], line["domain"]][line["dose"]] = line["value"]
    rows, looks = [], defaultdict(list)
    for (kind, domain), doses in values.items():
        if kind == FLOOR:
            rows.append(f"| {FLOOR} | {domain} | {next(iter(doses.values())):.3f} | | |")
            continue
        ranks = float(spearmanr(list(doses), list(doses.values())).statistic)
        seen = [doses[dose] for dose in DAMAGES[kind].looks] if kind in DAMAGES else []
        for level, value in zip(LEVELS, seen, strict=False):
            looks[level].append((kind, value))
        cells = " ".join(f"{value:.3f}" for value in doses.values()), " / ".join(f"{value:.2f}" for value in seen)
        rows.append(f"| {kind} | {domain} | {cells[0]} | {ranks:.2f} | {cells[1]} |")
    head = [
        f"**{name}**",
        "",
        f"| damage | domain | rising doses | Spearman | {' / '.join(LEVELS)} |",
        "|" + " --- |" * 5,
    ]
    spread = []
    for level, found in looks.items():
        kinds = defaultdict(list)
        for kind, value in found:
            kinds[kind].append(value)
        means = [float(np.mean(each)) for each in kinds.values()]
        spread.append(f"{level} {max(means) / max(min(means), 1e-9):.1f}")
    return [*head, *rows, "", "Most over least, over kinds: " + ", ".join(spread)]


def agreement_table(lines: list[dict[str, Any]]) -> list[str]:
    """Return, per judge and side: agreement with the truth, and the smallest difference that it can see."""
    table: dict[str, dict[str, dict[str, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines:
        table[line["judge"]][line["side"]][line["generator"]] = line
    rows = [
        "| judge | side | generators | rank correlation with RMS error | with 1 - SSIM | range | smallest difference |"
    ]
    rows.append("|" + " --- |" * 7)
    for name, sides in table.items():
        for side, found in sides.items():
            names = sorted(found)
            values = [found[each]["value"] for each in names]
            cells = []
            for paired in ("RMS error", "1 - SSIM"):
                truth = [table[paired][side][each]["value"] for each in names]
                cells.append(f"{spearmanr(values, truth).statistic:.2f}")
            cells += [f"{min(values):.3f} to {max(values):.3f}", f"{smallest(found):.3f}"]
            rows.append(f"| {' | '.join([name, side, str(len(names)), *cells])} |")
    return rows


def smallest(found: Mapping[str, Mapping[str, Any]]) -> float:
    """Return twice the median deviation of the difference of two neighbouring generators on the same resamplings."""
    ordered = sorted(found.values(), key=lambda line: line["value"])
    pairs = itertools.pairwise(ordered)
    return 2 * float(np.median([np.std(np.subtract(one["again"], two["again"])) for one, two in pairs]))


if __name__ == "__main__":
    main()
