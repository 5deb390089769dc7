"""Train the classifier whose features measure distances between sets of the shipped drawings.

It learns the category of each thing (Smileys & Emotion, Food & Drink ...) from the *training* images of both drawings
together. The categories are those of the Fluent Emoji package; ``labels.json`` holds them by the things' names, so the
package is only needed to make that file again::

    python scripts/train_classifier.py --out ganprune/assets/colour_ink/classifier
    python scripts/train_classifier.py --out ganprune/assets/colour_ink/classifier --report-only

    npm pack @iconify-json/fluent-emoji-flat
    python scripts/train_classifier.py --labels-from iconify-json-fluent-emoji-flat-*.tgz --out ...
"""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from ganprune.assets import classifier_folder, default_images
from ganprune.data.images import DOMAINS, ImageSet, UnpairedImages
from ganprune.device import set_threads
from ganprune.metrics.classifier import FORMAT, SIZE, Classifier, load_classifier
from ganprune.metrics.features import Shipped
from ganprune.metrics.fid import frechet_distance
from ganprune.metrics.kid import kernel_distance
from ganprune.training.augmentation import epoch_indices

BATCH, RATE, DECAY, SMOOTHING = 64, 4e-3, 0.05, 0.1
ANGLE, SCALE, SHIFT = 0.2, 0.15, 0.12  # radians; share; share of half the side: how far images are moved


def read_labels(archive: Path | None, names: list[str]) -> dict[str, str]:
    """Return name -> category, from the icon package or from the file that was made of it."""
    if archive is None:
        labels: dict[str, str] = json.loads((classifier_folder() / "labels.json").read_text(encoding="utf-8"))
        return labels
    with tarfile.open(archive) as tar:
        metadata = json.load(tar.extractfile("package/metadata.json"))  # type: ignore[arg-type]
    categories = {name: category for category, members in metadata["categories"].items() for name in members}
    return {name: categories[name] for name in sorted(names)}


def labelled(images: ImageSet, labels: dict[str, str], categories: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (N, 3, 64, 64) in [-1, 1] and the indices of their categories (N)."""
    return images.tensor(), torch.tensor([categories.index(labels[path.stem]) for path in images.paths])


def move(images: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Turn, scale, shift and mirror each image a little, on white."""
    count = len(images)

    def uniform(most: float) -> torch.Tensor:
        return (torch.rand(count, generator=draw) * 2 - 1) * most

    angle, scale = uniform(ANGLE), 1 + uniform(SCALE)
    mirror = torch.where(torch.rand(count, generator=draw) < 0.5, -1.0, 1.0)
    rows = [
        torch.stack([mirror * angle.cos() / scale, -angle.sin() / scale, uniform(SHIFT)], 1),
        torch.stack([mirror * angle.sin() / scale, angle.cos() / scale, uniform(SHIFT)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return 1 - F.grid_sample(1 - images, grid, align_corners=False)  # what comes in from outside is 0, here white


def train(images: torch.Tensor, labels: torch.Tensor, categories: list[str], epochs: int, seed: int) -> Classifier:
    """Train on (N, 3, 64, 64) images and their (N) labels; the same seed and threads give the same weights."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    network = Classifier(categories)
    steps = epochs * len(images) // BATCH
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=0.2)
    begun = time.monotonic()
    for step in range(steps):
        chosen = epoch_indices(len(images), BATCH, step, seed)
        loss = F.cross_entropy(network(move(images[chosen], draw)), labels[chosen], label_smoothing=SMOOTHING)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % (steps // 10 or 1) == 0:
            click.echo(f"step {step}/{steps}  loss {loss.item():.3f}  {time.monotonic() - begun:.0f} s")
    return network.eval().requires_grad_(False)  # type: ignore[no-any-return]


def degradations(draw: torch.Generator) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Return what generators do wrong, by name: functions of (N, 3, H, W) images in [-1, 1]."""

    def blur(x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(F.pad(x, (1,) * 4, mode="reflect"), 3, 1)

    def specks(x: torch.Tensor) -> torch.Tensor:
        return torch.where(torch.rand(len(x), 1, *x.shape[2:], generator=draw) < 0.005, -x, x)

    return {
        "unchanged": lambda x: x,
        "blurred (3x3 mean)": blur,
        "one pixel in 200 inverted": specks,
        "noise, deviation 0.05": lambda x: (x + 0.1 * torch.randn(x.shape, generator=draw)).clamp(-1, 1),
        "contrast 80 %": lambda x: 0.8 * x + 0.2,
        "half as colourful": lambda x: (x + x.mean(1, keepdim=True)) / 2,
        "channels exchanged": lambda x: x.roll(1, 1),
        "every second image lost": lambda x: x[::2].repeat_interleave(2, 0),
    }


def report(network: Classifier, images: UnpairedImages, labels: dict[str, str]) -> None:
    """Print accuracy on validation images, and what the features notice, as Markdown."""
    extractor = Shipped(network)
    categories = list(network.categories)
    for domain in DOMAINS:
        real, truth = labelled(images[domain].validation, labels, categories)
        right = (network(real).argmax(1) == truth).float().mean()
        click.echo(f"accuracy on the {len(real)} validation images of {domain}: {right:.3f}")
    click.echo("\n| real images against training images | A: KID | A: Frechet | B: KID | B: Frechet |")
    click.echo("| --- | --- | --- | --- | --- |")
    trained = {domain: extractor(images[domain].train.tensor()) for domain in DOMAINS}

    def row(name: str, shown: dict[str, torch.Tensor]) -> None:
        cells = []
        for domain in DOMAINS:
            features = extractor(shown[domain])
            mean, deviation = kernel_distance(features, trained[domain])
            cells += [f"{mean:.4f} ± {deviation:.4f}", f"{frechet_distance(features, trained[domain]):.2f}"]
        click.echo(f"| {name} | " + " | ".join(cells) + " |")

    row("test", {domain: images[domain].test.tensor() for domain in DOMAINS})
    row("validation, of the other drawing", dict(zip("AB", (images[d].validation.tensor() for d in "BA"), strict=True)))
    for name, change in degradations(torch.Generator().manual_seed(0)).items():
        row(f"validation, {name}", {domain: change(images[domain].validation.tensor()) for domain in DOMAINS})


def save_classifier(network: Classifier, folder: Path) -> None:
    """Write ``classifier.safetensors`` (float16) and ``classifier.json`` into a folder."""
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    save_file({key: value.half().cpu().contiguous() for key, value in state.items()}, folder / "classifier.safetensors")
    description = {"format": FORMAT, "categories": network.categories, "widths": network.widths}
    (folder / "classifier.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--labels-from", type=click.Path(path_type=Path, exists=True), help="The flat package, from npm pack.")
@click.option("--epochs", type=int, default=80, show_default=True, help="Passes over the training images.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--report-only", is_flag=True, help="Train nothing; report on what is there.")
def main(out: Path, labels_from: Path | None, epochs: int, seed: int, report_only: bool) -> None:
    """Train, write and report."""
    set_threads(1)  # more would add in another order, and give other weights
    images = UnpairedImages(default_images(), SIZE)
    splits = [split for domain in DOMAINS for split in (images[domain].train, images[domain].validation)]
    splits += [images[domain].test for domain in DOMAINS]
    labels = read_labels(labels_from, [path.stem for split in splits for path in split.paths])
    if report_only:
        return report(load_classifier(out), images, labels)
    categories = sorted(set(labels.values()))
    both = [labelled(images[domain].train, labels, categories) for domain in DOMAINS]
    network = train(torch.cat([b[0] for b in both]), torch.cat([b[1] for b in both]), categories, epochs, seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / "labels.json").write_text(json.dumps(labels, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    save_classifier(network, out)
    report(load_classifier(out), images, labels)


if __name__ == "__main__":
    main()
