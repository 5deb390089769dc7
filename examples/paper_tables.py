"""What ``reproduce_paper.py`` makes of finished runs: the paper's tables in Markdown, and its figures as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from ganprune.compare.statistics import bootstrap_mean
from ganprune.data.pixels import CHANNELS, to_pil
from ganprune.deploy.speed import speed_figures
from ganprune.evolution.individual import Individual, unpack_bits
from ganprune.filters.saving import read_description
from ganprune.filters.space import FilterSpace
from ganprune.metrics.evaluate import run as translate
from ganprune.metrics.segmentation import confusion_matrix, scores
from ganprune.pipeline.config import configured_task, read_config
from ganprune.pipeline.results import load_pair
from ganprune.pipeline.task import Task
from ganprune.report.figures import BACKGROUND, GAP, INK, TITLE_HEIGHT, save_grid, zoom_for
from ganprune.runs.directory import RunDirectory

SIDES = ("A2B", "B2A")
COLUMNS = 10  # images of a figure
TILE, FRAME, RED, TILES = 44, 3, (200, 30, 30), 16  # of a filter; how many of them stand beside each other
REPEATS = 31  # timed runs of each generator
# Tables 1 and 3 and the runtime paragraph of Shu et al., ICCV 2019.
PAPER_SIZES = {
    "horse2zebra": (10.16, 4.27, 13_448, 4.23), "zebra2horse": (10.00, 4.34, 13_060, 4.35),
    "summer2winter": (7.98, 5.44, 11_064, 5.14), "winter2summer": (7.61, 5.70, 10_994, 5.17),
    "cityscapes-A2B": (8.98, 4.84, 12_977, 4.38), "cityscapes-B2A": (12.26, 3.54, 16_445, 3.46),
}  # fmt: skip
PAPER_FCN = {"original": (0.538, 0.172, 0.121), "ThiNet": (0.218, 0.089, 0.054), "ours": (0.542, 0.212, 0.131)}
PAPER_FID = {
    "horse2zebra": (74.04, 189.28, 96.15), "zebra2horse": (148.81, 184.88, 157.90),
    "summer2winter": (79.12, 81.06, 78.58), "winter2summer": (73.31, 80.17, 79.16),
}  # fmt: skip
QUALITY = {
    "kid": "KID", "frechet": "Frechet", "l_disa": "L_DisA", "l_cyc": "L_cyc", "paired_l1": "paired L1", "ssim": "SSIM"
}  # fmt: skip


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Return mean and bootstrap interval, or the value where there is one."""
    mean = f"{sum(values) / len(values):.{digits}f}"
    if len(values) == 1:
        return mean
    low, high = bootstrap_mean(values)
    return f"{mean} [{low:.{digits}f}, {high:.{digits}f}]"


def figures_of(runs: Sequence[Any], side: str) -> list[dict[str, Any]]:
    return [run.summary["sides"][side] for run in runs]


def size_table(ours: Mapping[float, Sequence[Any]]) -> str:
    """Table 1's form: memory, r_c, MACs and r_s of both generators at each size, and the paper's own."""
    rows = []
    for ratio, runs in ours.items():
        for side in SIDES:
            sides = figures_of(runs, side)
            rows.append(
                [
                    f"{side} at {ratio:g}", spread([s["memory_mb"]["compact"] for s in sides], 3),
                    spread([s["parameters"]["ratio"] for s in sides], 2),
                    spread([s["macs"]["input_size"]["compact"] / 1e6 for s in sides], 1),
                    spread([s["macs"]["input_size"]["ratio"] for s in sides], 2),
                ]
            )  # fmt: skip
    head = ["generator", "memory, MB", "r_c", "MACs, 10^6", "r_s"]
    papers = [[n, f"{m:.2f}", f"{c:.2f}", f"{f:,}", f"{s:.2f}"] for n, (m, c, f, s) in PAPER_SIZES.items()]
    return f"{table(head, rows)}\n\nThe paper's (256x256, ngf=64, 9 blocks; 43.42 MB before):\n\n{table(head, papers)}"


def quality_table(
    ours: Mapping[float, Sequence[Any]],
    lean: Mapping[float, Sequence[Any]],
    baselines: Mapping[float, Mapping[tuple[str, str], Sequence[Any]]],
) -> str:
    """Table 3's form, one table for each side and size: every method's quality after the same fine-tune.

    Args:
        ours: size -> our runs.
        lean: size -> ours with no more multiply-accumulates than uniform width takes, if there are any.
        baselines: size -> (method, weights) -> runs.
    """
    parts = []
    for side in SIDES:
        for ratio, runs in ours.items():
            original = figures_of(runs, side)[0]["metrics"]["original"]
            known = [name for name in QUALITY if name in figures_of(runs, side)[0]["metrics"]["compact"]]
            first = ["original", "", "1.00", "1.00", *(f"{original[n]:.4f}" if n in original else "0" for n in known)]
            rows = [first, quality_row("ours", "reconstructed", runs, side, known)]
            if lean.get(ratio):
                rows.append(quality_row("ours, MACs bounded", "reconstructed", lean[ratio], side, known))
            methods = baselines[ratio].items()
            rows += [quality_row(name, weights, those, side, known) for (name, weights), those in methods]
            head = ["method", "weights", "r_c", "r_s", *(QUALITY[name] for name in known)]
            parts.append(f"**{side}, {ratio:g} times fewer parameters**\n\n{table(head, rows)}")
    rows = [[name, *(f"{value:.2f}" for value in values)] for name, values in PAPER_FID.items()]
    parts.append("The paper's FID:\n\n" + table(["task", "original", "ThiNet", "ours"], rows))
    return "\n\n".join(parts)


def quality_row(name: str, weights: str, runs: Sequence[Any], side: str, known: Sequence[str]) -> list[str]:
    sides = figures_of(runs, side)
    ratios = [[f["parameters"]["ratio"] for f in sides], [f["macs"]["input_size"]["ratio"] for f in sides]]
    cells = [spread([figures["metrics"]["compact"][metric] for figures in sides]) for metric in known]
    return [name, weights, *(f"{sum(values) / len(values):.2f}" for values in ratios), *cells]


def ablation_table(variants: Mapping[str, Sequence[Any]]) -> str:
    """Every variant of the search: the elites' reference fitness, and the quality after the fine-tune."""
    parts = []
    for side in SIDES:
        known = [n for n in QUALITY if n in figures_of(variants["ours"], side)[0]["metrics"]["compact"]]
        rows = []
        for name, runs in variants.items():
            row = quality_row(name, "", runs, side, known)
            reference = spread([figures["search"]["reference_fitness"] for figures in figures_of(runs, side)])
            seconds = [run.summary["seconds_search"] for run in runs]
            rows.append([row[0], *row[2:4], reference, *row[4:], f"{sum(seconds) / len(seconds):.0f}"])
        head = ["variant", "r_c", "r_s", "reference fitness", *(QUALITY[n] for n in known), "search, s"]
        parts.append(f"**{side}**\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def runtime_table(runs: Mapping[float, Any]) -> str:
    """The runtime paragraph: theoretical and measured speed-up and their quotient, timed now, in each engine."""
    rows = []
    for ratio, run in runs.items():
        directory, task = opened(run)
        compact = load_pair(directory, "cpu")
        for side, figures in run.summary["sides"].items():
            macs = figures["macs"]["input_size"]["ratio"]
            timed = speed_figures(task.cyclegan[side].generator, compact[side], task.images.size, macs, repeats=REPEATS)
            for engine in (name for name in ("eager", "onnxruntime") if name in timed):
                t = timed[engine]
                milliseconds = [f"{t[name]:.2f}" for name in ("original", "compact")]
                measured = [f"{t['speedup']:.2f}", f"{macs:.2f}", f"{t['quotient']:.2f}"]
                rows.append([f"{side} at {ratio:g}", engine, *milliseconds, *measured])
    rows.append(["paper, horse2zebra", "", "2260", "730", "3.1", "4.23", "0.73"])
    head = ["generator", "engine", "original, ms", "compact, ms", "measured", "by MACs", "quotient"]
    return table(head, rows)


def opened(run: Any) -> tuple[RunDirectory, Task]:
    """Return a run's directory and the task that it was made for."""
    directory = RunDirectory.open(run.path)
    return directory, configured_task(read_config(directory)[0], "cpu")


def ink_maps(images: torch.Tensor) -> torch.Tensor:
    """Return 1 where (N, 3, H, W) images in [-1, 1] are darker than mid-grey, else 0: (N, H, W)."""
    return (images.mean(1) < 0).long()


@torch.inference_mode()
def segmentation_table(ours: Mapping[float, Sequence[Any]], thinet: Mapping[tuple[float, str], Sequence[Any]]) -> str:
    """Table 2's form: ink against paper in the drawings of A2B, measured against the true drawings.

    The segmenter is a threshold at mid-grey, so that truth and translation are segmented alike.
    """
    first = next(iter(ours.values()))[0]
    _, task = opened(first)
    pairs = task.images.pairs("test")
    if not pairs:
        return "No test images have a known truth: Table 2 does not apply."
    real = task.images["A"].test.tensor([a for a, _ in pairs])
    truth = ink_maps(task.images["B"].test.tensor([b for _, b in pairs]))

    def measured(network: torch.nn.Module) -> dict[str, float]:
        return scores(confusion_matrix(truth, ink_maps(translate(network, real, task.device))))

    def row(name: str, weights: str, runs: Sequence[Any]) -> list[str]:
        found = [measured(load_pair(opened(run)[0], "cpu")["A2B"]) for run in runs]
        memory = [run.summary["sides"]["A2B"]["memory_mb"]["compact"] for run in runs]
        return [name, weights, spread(memory, 2), *(spread([f[key] for f in found], 3) for key in found[0])]

    original = measured(task.cyclegan["A2B"].generator)
    memory = first.summary["sides"]["A2B"]["memory_mb"]["original"]
    rows = [["original", "", f"{memory:.2f}", *(f"{value:.3f}" for value in original.values())]]
    for ratio, runs in ours.items():
        rows += [row("ThiNet", weights, thinet[ratio, weights]) for r, weights in thinet if r == ratio]
        rows.append(row("ours", "reconstructed", runs))
    head = ["method", "weights", "memory, MB", "pixel accuracy", "class accuracy", "mean IoU"]
    papers = [[name, *(f"{value:.3f}" for value in values)] for name, values in PAPER_FCN.items()]
    return f"{table(head, rows)}\n\nThe paper's (cityscapes):\n\n{table([head[0], *head[3:]], papers)}"


def figure2(runs: Mapping[float, Any], path: Path) -> str:
    """Draw translations over gamma and return their sizes as a table."""
    save_rows(path, {f"gamma {gamma:g}": run for gamma, run in runs.items()})
    rows = []
    for gamma, run in runs.items():
        sides = [run.summary["sides"][side] for side in SIDES]
        sizes = [f"{s['memory_mb']['compact']:.2f} ({s['parameters']['ratio']:.2f})" for s in sides]
        rows.append([f"{gamma:g}", *sizes])
    return table(["gamma", *(f"{side}: MB (times fewer parameters)" for side in SIDES)], rows)


def figure3(runs: Mapping[str, Any], path: Path) -> str:
    """Draw translations over methods and return their sizes as a table."""
    save_rows(path, runs)
    rows = []
    for name, run in runs.items():
        sizes = [f"{run.summary['sides'][side]['parameters']['ratio']:.2f}" for side in SIDES]
        rows.append([name, *sizes])
    return table(["images", *(f"{side}: times fewer parameters" for side in SIDES)], rows)


@torch.inference_mode()
def save_rows(path: Path, runs: Mapping[str, Any]) -> None:
    """Draw test images of both directions: input, original, and a row for each run, its size in the label."""
    _, task = opened(next(iter(runs.values())))
    networks = {name: load_pair(opened(run)[0], "cpu") for name, run in runs.items()}
    sections: dict[str, dict[str, torch.Tensor]] = {}
    pairs = task.images.pairs("test")[:COLUMNS]
    for side, part in task.cyclegan.items():
        source, target = task.images[part.source].test, task.images[part.target].test
        known = pairs if side == "A2B" else [(b, a) for a, b in pairs]
        real = source.tensor([index for index, _ in known] or range(min(COLUMNS, len(source))))
        rows = {"input": real, "original": translate(part.generator, real, task.device)}
        for name, run in runs.items():
            megabytes = run.summary["sides"][side]["memory_mb"]["compact"]
            rows[f"{name}, {megabytes:.2f} MB"] = translate(networks[name][side], real, task.device)
        if known:
            rows["truth"] = target.tensor([index for _, index in known])
        sections[f"{side} (test images)"] = {label: task.images.cut(images) for label, images in rows.items()}
    save_grid(path, sections, zoom=zoom_for(task.images.frame))


def figure4(ours: Any, thinet: Any, path: Path) -> str:
    """Draw A2B's first-layer filters with the kept ones framed, and return the norms of kept and dropped ones."""
    directory, task = opened(ours)
    generator = task.cyclegan["A2B"].generator
    space = FilterSpace(generator, size=task.images.size)
    layer = next(name for name, module in generator.named_modules() if isinstance(module, torch.nn.Conv2d))
    kept = {name: kept_filters(space, run, layer) for name, run in (("ours", ours), ("ThiNet", thinet))}
    original = generator.get_submodule(layer).weight.detach()
    tuned = torch.zeros_like(original)
    tuned[kept["ours"]] = load_pair(directory, "cpu")["A2B"].get_submodule(layer).weight.detach()
    rows = [
        ("original, ours framed", original, kept["ours"]),
        ("ours, fine-tuned", tuned, kept["ours"]),
        ("original, ThiNet framed", original, kept["ThiNet"]),
    ]
    draw_filters(path, rows)
    return norm_table(original, kept)


def draw_filters(path: str | Path, rows: Sequence[tuple[str, torch.Tensor, Sequence[int]]]) -> None:
    """Write a PNG file with one titled block of filters for each row.

    Args:
        path: of the picture.
        rows: title, weights (out, C, k, k) with C = 1 or 3 (of other layers the mean over inputs is drawn), and the
            indices of the filters that get a red frame. Each block is scaled by its own largest absolute value, with
            mid-grey for 0.
    """
    cell = TILE + 2 * FRAME + GAP
    heights = [TITLE_HEIGHT + -(-len(weight) // TILES) * cell + GAP for _, weight, _ in rows]
    page = Image.new("RGB", (TILES * cell + GAP, sum(heights)), BACKGROUND)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for number, (title, weight, framed) in enumerate(rows):
        top = sum(heights[:number])
        draw.text((GAP, top + 1), title, fill=INK, font=font)
        weight = weight.detach().float().cpu()
        weight = weight if weight.shape[1] in CHANNELS else weight.mean(1, keepdim=True)
        for index, tile in enumerate(weight / weight.abs().max().clamp_min(1e-12)):
            left, upper = GAP + index % TILES * cell, top + TITLE_HEIGHT + index // TILES * cell
            if index in framed:
                page.paste(RED, (left, upper, left + cell - GAP, upper + cell - GAP))
            page.paste(to_pil(tile).resize((TILE, TILE), Image.Resampling.NEAREST), (left + FRAME, upper + FRAME))
    page.save(path, format="PNG")


def kept_filters(space: FilterSpace, run: Any, layer: str) -> list[int]:
    """Return which filters of a layer a run's A2B generator keeps."""
    bits = Individual(unpack_bits(read_description(run.path / "A2B")["bits"]))
    return [int(index) for index in space.kept(bits)[layer, "weight", 0]]


def norm_table(weight: torch.Tensor, kept: Mapping[str, Sequence[int]]) -> str:
    """Return how large the kept and the dropped filters' L1 norms are, as ranks and in the mean."""
    norms = weight.abs().flatten(1).sum(1)
    ranks = norms.argsort().argsort().float()
    rows = []
    for name, those in kept.items():
        rest = [index for index in range(len(weight)) if index not in set(those)]
        cells: list[Callable[[Sequence[int]], float]] = [
            lambda chosen: float(norms[list(chosen)].mean()) if chosen else float("nan"),
            lambda chosen: float(ranks[list(chosen)].mean()) if chosen else float("nan"),
        ]
        rows.append([name, str(len(those)), *(f"{cell(part):.2f}" for cell in cells for part in (those, rest))])
    head = ["choice", "kept", "mean L1 norm, kept", "dropped", "mean rank of the norm, kept", "dropped"]
    return table(head, rows)
