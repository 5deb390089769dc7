"""What ``ganprune translate`` is asked."""

from __future__ import annotations

from dataclasses import dataclass

from ganprune.data.sizes import Size, size_text
from ganprune.data.values import Values
from ganprune.errors import UserError
from ganprune.settings.fields import Settings, setting


@dataclass(frozen=True, kw_only=True)
class TranslateSettings(Settings):
    """How images are translated.

    Attributes:
        size: (height, width) that images are resized to; None for that of the generators' own images.
        native: images are translated at their own size instead.
        original_size: results are resized to the size that their images have.
        original: the unpruned generator translates.
        strips: each result is a strip: source, original's translation where there is one, and ours.
        batch: images at once.
        values, background: what is black and white in images of more than 8 bits, and what transparent ones are put on;
            None for what the generators' own images had.
        overwrite: whether files in the way are replaced; inputs never are.
    """

    size: Size | None = None
    values: Values | None = None
    background: str | None = None
    native: bool = setting(False, "Translate each image at its own size.")
    original_size: bool = setting(False, "Resize each result to its image's own size.")
    original: bool = setting(False, "Use the unpruned generator.")
    strips: bool = setting(False, "Write source, original's translation and compact's side by side.")
    batch: int = setting(16, "Images at once, where they are of one size.", low=1)
    overwrite: bool = setting(False, "Replace results that are there already; inputs never are.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size is not None and self.native:
            raise UserError("--native", f"given with --size {size_text(self.size)}", "one of the two", "Leave one out.")
