"""What ``ganprune export`` is asked."""

from __future__ import annotations

from dataclasses import dataclass

from ganprune.data.sizes import Size
from ganprune.data.values import Values
from ganprune.errors import UserError, did_you_mean
from ganprune.settings.fields import Settings, setting

FORMATS = {"onnx": ("onnx",), "pt2": ("pt2",), "torch": ("json", "safetensors", "pth")}  # -> endings of its files


@dataclass(frozen=True, kw_only=True)
class SpeedSettings(Settings):
    """Whether and how often generators are timed.

    Attributes:
        speed: whether original and compact are timed.
        repeats: timed runs of each.
    """

    speed: bool = setting(True, "Time original and compact, in onnxruntime too if installed.")
    repeats: int = setting(15, "Timed runs of each.", low=1)


@dataclass(frozen=True, kw_only=True)
class ExportSettings(SpeedSettings):
    """What is exported, and how it is checked.

    Attributes:
        formats: any of "onnx", "pt2" and "torch".
        directions: of "A2B" and "B2A"; none for all there are.
        size: (height, width) of the images; None for that of the generators' own.
        values, background: what is black and white in images of more than 8 bits, and what transparent ones are put on;
            None for what the generators' own images had.
        original: the unpruned generators are exported.
        dynamic_size: height and width are free, but for what the generators need them to be multiples of.
        check_images: how many real images are compared.
        tolerance: the largest difference from PyTorch that is let through, on [-1, 1].
    """

    formats: tuple[str, ...] = ("onnx",)
    directions: tuple[str, ...] = ()
    size: Size | None = None
    values: Values | None = None
    background: str | None = None
    original: bool = setting(False, "Export the unpruned generators.")
    dynamic_size: bool = setting(False, "Leave height and width free (multiples of 4, for our generators).")
    check_images: int = setting(32, "How many real images to compare on.", low=1)
    tolerance: float = setting(1e-4, "Largest difference from PyTorch.", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.formats:
            if name not in FORMATS:
                raise UserError("format", name, ", ".join(FORMATS), did_you_mean(name, FORMATS))
