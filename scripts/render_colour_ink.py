"""Render the shipped image set, "colour and ink", from the Fluent Emoji icon packages.

The same things are drawn twice: flat colour (domain A) and black ink on white (domain B). What this script made is
committed under ``ganprune/assets/colour_ink``; users never need it. To make it again::

    npm pack @iconify-json/fluent-emoji-flat @iconify-json/fluent-emoji-high-contrast
    pip install resvg-py
    python scripts/render_colour_ink.py *.tgz --out ganprune/assets/colour_ink
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tarfile
from pathlib import Path

import resvg_py
from PIL import Image

SIZE = 64
TEST, VALIDATION = 200, 100
SPLIT_SEED = 2019


def read_icons(archive: Path) -> dict[str, str]:
    """Return name -> SVG body of one icon package (an ``npm pack`` archive)."""
    with tarfile.open(archive) as tar:
        icons = json.load(tar.extractfile("package/icons.json"))  # type: ignore[arg-type]
    return {name: icon["body"] for name, icon in icons["icons"].items()}


def render(body: str, mode: str) -> Image.Image:
    """Draw one 32x32 icon body on white at 64x64; ``mode`` is "RGB" (colour) or "L" (ink)."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 32 32" width="32" height="32" color="#000">{body}</svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE, background="#ffffff")
    return Image.open(io.BytesIO(bytes(png))).convert(mode)


def split(names: list[str]) -> dict[str, list[str]]:
    """Assign names to folders: shared test and validation names, disjoint training halves (unpaired)."""
    names = sorted(names)
    random.Random(SPLIT_SEED).shuffle(names)
    test, names = names[:TEST], names[TEST:]
    validation, names = names[:VALIDATION], names[VALIDATION:]
    half = len(names) // 2
    return {
        "trainA": names[:half], "trainB": names[half:],
        "valA": validation, "valB": validation,
        "testA": test, "testB": test,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("archives", nargs=2, type=Path, help="the flat and the high-contrast package")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    flat = next(path for path in options.archives if "flat" in path.name)
    contrast = next(path for path in options.archives if "high-contrast" in path.name)
    bodies = {"A": read_icons(flat), "B": read_icons(contrast)}
    for folder, names in split(sorted(bodies["A"].keys() & bodies["B"].keys())).items():
        target = options.out / folder
        target.mkdir(parents=True, exist_ok=True)
        domain = folder[-1]
        for name in names:
            render(bodies[domain][name], "RGB" if domain == "A" else "L").save(target / f"{name}.png", optimize=True)
        print(f"{folder}: {len(names)} images")


if __name__ == "__main__":
    main()
