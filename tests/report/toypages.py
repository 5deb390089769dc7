"""Pages of toy contents for the tests: two directions with pictures, a front, and generators of many architectures."""

from types import SimpleNamespace

import torch
from networks import toy_generator, toy_images

from ganprune.report.page.charts import front_chart, silhouette
from ganprune.report.page.contents import Case, Contents, Gallery, Run, Side
from ganprune.report.page.networks import as_data
from ganprune.report.page.pictures import data_uri

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&amp;{{ 7 * 7 }}"
ARCHITECTURES = {
    "plain": {},
    "batch norm, zero padding": {"norm": "batch", "padding": "zero", "dropout": True},
    "affine, replicated": {"affine": True, "padding": "replicate"},
    "nearest": {"upsampling": "nearest", "upsampling_padding": "reflect", "norm": "none"},
    "bilinear, three halvings": {"upsampling": "bilinear", "upsampling_padding": "replicate", "downsamplings": 3},
    "adds": {"residual": True, "upsampling_padding": "zero", "upsampling": "nearest"},
    "grey to colour": {"in_channels": 1},
}


def networks():
    """A generator of each architecture, and what the page holds of it."""
    generators, data = {}, []
    for number, (name, options) in enumerate(ARCHITECTURES.items()):
        generators[name] = generator = toy_generator(seed=number, **options)
        images = toy_images(2, dtype=torch.float32, channels=options.get("in_channels", 3))
        facts = {"name": name, "run": "toy", "direction": "A2B", "kind": "compact", "title": name, "size": [16, 16]}
        facts |= {"key": name, "background": "white", "gallery": None, "variant": 1}
        data.append({**as_data(generator, images), **facts})
    return generators, data


def gallery(side, count, seed, variants=2, hostile=""):
    """A gallery whose image number k is called k, changed by k levels and got nearer to the truth by -k."""
    images = [data_uri(image) for image in toy_images(count * (variants + 2), dtype=torch.float32, seed=seed)]
    cases = []
    for number in reversed(range(count)):
        source, truth, *made = images[number * (variants + 2) : (number + 1) * (variants + 2)]
        change, gain = [float(number)] * (variants - 1), [-float(number)] * (variants - 1)
        cases.append(Case(f"{number:02d}{hostile}", source, truth, made, change, gain))
    names = ["original", *(f"compact {number}" for number in range(1, variants))]
    return Gallery(side, side, names, (16, 16), count, count, cases)


def front():
    """A front of three points."""
    points = [
        {
            "size": 0.1 * n,
            "quality": 1 / n,
            "parameters": 100 * n,
            "macs_per_image": 1000 * n,
            "relative_quality": n / 3,
        }
        for n in (1, 2, 3)
    ]
    return SimpleNamespace(points=points, knee=1, best=2, original={"parameters": 1000, "macs_per_image": 10000})


def contents(generators=(), hostile="", count=15):
    """A whole page."""
    sides = [
        Side(side, side, [("8.0x", "fewer parameters")], "better", silhouette({"model.1": 8}, {"model.1": 3}))
        for side in ("A2B", "B2A")
    ]
    charts = {side: front_chart(side, side, front(), "size") for side in ("A2B", "B2A")}
    run = Run(
        f"run{hostile}", sides=sides, fronts=charts, pick=f"ganprune pick 'run{hostile}' --index {{A2B}} {{B2A}}",
        settings=[("gamma", f"10{hostile}", hostile)], facts=[("note", hostile)], command=f"ganprune evolve {hostile}",
    )  # fmt: skip
    galleries = [gallery("A2B", count, 1, hostile=hostile), gallery("B2A", 2, 2)]
    notes = [hostile] if hostile else []
    return Contents(f"run{hostile}", "0", "ganprune report run", [run], (), galleries, generators, "", notes=notes)
