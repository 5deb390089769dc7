"""What an exported generator says of itself: how images go in and come out. It travels in the file and beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.export import Dim

from ganprune import __version__
from ganprune.data.sizes import LEAST, Framing, Size, size_json, size_text
from ganprune.data.values import WHITE, Range, Values
from ganprune.models.architecture import input_channels, least_side, output_channels
from ganprune.models.cyclegan import SOURCE, TARGET

FORMAT = 1
KEY = "preprocessing"  # under which a file's metadata hold the facts, as JSON
INPUT, OUTPUT = "image", "translated"


@dataclass(frozen=True)
class Facts:
    """How to use one exported generator.

    Attributes:
        direction: "A2B" or "B2A".
        kind: "compact", or "original".
        size: (height, width) that it was made for.
        multiple: what height and width have to be multiples of; None where only ``size`` will do.
        channels: of the images that it is given.
        output_channels: of those that it gives.
        values, output_values: the file values that are black and white in images of more than 8 bits that it is given,
            and in those that it gives; None where files say that themselves.
        background: what transparent images are put on; None for white.
        least: side length of images, at least.
    """

    direction: str
    kind: str
    size: Size
    multiple: int | None
    channels: int
    output_channels: int = 3
    values: Range | None = None
    output_values: Range | None = None
    background: str | None = None
    least: int = LEAST

    @classmethod
    def of(
        cls,
        generator: nn.Module,
        direction: str,
        kind: str,
        size: Size,
        multiple: int | None,
        framing: Framing | None = None,
    ) -> Facts:
        """Return the facts of a generator, whose images are read as the framing says."""
        values = framing.values if framing and isinstance(framing.values, Values) else Values()
        return cls(
            direction, kind, size, multiple, input_channels(generator), output_channels(generator),
            values[SOURCE[direction]], values[TARGET[direction]], framing.background if framing else None,
            least_side(generator),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return the facts in words and numbers that need no ganprune to be understood."""
        ways = {"from_values": _from_values(self.values), "to_values": _to_values(self.output_values)}
        return {
            "format": FORMAT,
            "ganprune": __version__,
            "direction": self.direction,
            "kind": self.kind,
            "input": INPUT,
            "output": OUTPUT,
            "layout": "NCHW",
            "channel_order": _order(self.channels),
            "output_channel_order": _order(self.output_channels),
            "dtype": "float32",
            "value_range": [-1, 1],
            "from_bytes": "x / 127.5 - 1",
            "to_bytes": "round((y + 1) * 127.5), from 0 to 255",
            **{name: way for name, way in ways.items() if way},
            "background": self.background or WHITE,
            "resize": "bicubic, antialiased",
            "size": size_json(self.size),
            "size_multiple": self.multiple,
        }

    def text(self) -> str:
        """Return them as a file's metadata hold them."""
        return json.dumps(self.to_json())

    def dynamic_shapes(self) -> tuple[dict[int, Any]]:
        """Return the free dimensions of the one input, as ``torch.export`` takes them: the batch, perhaps H and W."""
        free: dict[int, Any] = {0: Dim("batch")}
        if (multiple := self.multiple) is not None:
            for dim, name in ((2, "height"), (3, "width")):
                one = Dim(name if multiple == 1 else f"{name}_{multiple}", min=-(-self.least // multiple))
                free[dim] = one if multiple == 1 else multiple * one
        return (free,)


def _from_values(values: Range | None) -> str | None:
    """Return how the values of files of more than 8 bits go in."""
    if values is None:
        return None
    low, width = _number(values[0]), _number(values[1] - values[0])
    return f"2 * (x - {low}) / {width} - 1, limited to -1 and 1"


def _to_values(values: Range | None) -> str | None:
    """Return how results become values as files of more than 8 bits hold them."""
    return values and f"{_number(values[0])} + (y + 1) / 2 * {_number(values[1] - values[0])}"


def _number(value: float) -> str:
    return f"({value:.10g})" if value < 0 else f"{value:.10g}"


def _values(facts: Sequence[Facts]) -> list[str]:
    """Return what there is to know of files of more than 8 bits, by direction, and of transparent ones."""
    lines = []
    for fact in facts:
        for about, way in (("From", _from_values(fact.values)), ("To", _to_values(fact.output_values))):
            if way:
                lines.append(f"- {about} values of more than 8 bits, {fact.direction}: `{way}`.")
    backgrounds = {fact.background for fact in facts} - {None, WHITE}
    return lines + [f"- Transparent images are put on {background}." for background in sorted(map(str, backgrounds))]


def _order(channels: int) -> str:
    return {3: "RGB", 1: "greyscale"}.get(channels, f"{channels} channels")


def _images(facts: Sequence[Facts]) -> list[str]:
    """Return what goes in and comes out, once if it is the same in all directions."""
    lines = {}
    for fact in facts:
        shape = f"(N, {fact.channels}, {fact.size[0]}, {fact.size[1]})"
        if fact.multiple is not None:
            shape = f"(N, {fact.channels}, H, W), H and W multiples of {fact.multiple}; made for {size_text(fact.size)}"
        lines[fact.direction] = (
            f"`{INPUT}`, float32, {shape}, {_order(fact.channels)}, values from -1 to 1.",
            f"`{OUTPUT}`, {_order(fact.output_channels)}, of the same size and range.",
        )
    if len(set(lines.values())) == 1:
        return ["- {}: {}".format(*pair) for pair in zip(("In", "Out"), lines[facts[0].direction], strict=True)]
    return [
        f"- {name} {way}: {text}" for name, both in lines.items() for way, text in zip(("in", "out"), both, strict=True)
    ]


def readme(facts: Sequence[Facts], files: Mapping[str, str], figures: Sequence[str]) -> str:
    """Return the README.md that lies beside exported files.

    Args:
        facts: one for each direction, alike but for that.
        files: name -> what it is and how it is used.
        figures: lines of measured figures.
    """
    directions = " and ".join(f"{fact.direction} ({fact.kind})" for fact in facts)
    lines = [
        f"# Image translation, {directions}", "",
        f"Exported by ganprune {__version__}.", "", "## Files", "",
        *(f"- `{name}`: {what}" for name, what in files.items()), "",
        "## Images", "",
        *_images(facts),
        "- From bytes: resize (bicubic, antialiased), then `x / 127.5 - 1`.",
        "- To bytes: `round((y + 1) * 127.5)`, limited to 0 and 255.",
        *_values(facts),
        f"- The files hold these facts too, as JSON under `{KEY}`; a `.pth` in the `.json` beside it.", "",
        "## Checked", "", *(f"- {line}" for line in figures), "",
    ]  # fmt: skip
    return "\n".join(lines)
