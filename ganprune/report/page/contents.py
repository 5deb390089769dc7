"""What a page shows, as plain data: ``page.html`` reads these fields, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganprune.report.page.charts import Chart, Silhouette


@dataclass(frozen=True)
class Case:
    """One test image.

    Attributes:
        name: of its file.
        source, truth: data URIs; None where there is no truth.
        variants: data URIs of its translations: by the original generator, then by each compact one.
        change: of each compact one: mean absolute difference from the original's translation, in grey levels of 255.
        gain: of each compact one: how many grey levels nearer to the truth than the original's; none without a truth.
    """

    name: str
    source: str
    truth: str | None
    variants: Sequence[str]
    change: Sequence[float]
    gain: Sequence[float]


@dataclass(frozen=True)
class Gallery:
    """Test images of one direction, as one or several runs translate them.

    Attributes:
        direction: "A2B" or "B2A".
        title: the same in words.
        variants: what made the translations: "original", then a name for each compact generator.
        size: (height, width) of the images.
        measured, total: images whose change is known, and all test images of the direction.
        cases: by falling change.
    """

    direction: str
    title: str
    variants: Sequence[str]
    size: tuple[int, int]
    measured: int
    total: int
    cases: Sequence[Case]


@dataclass(frozen=True)
class Row:
    """A line of a table of figures.

    Attributes:
        label: of the figure.
        meaning: a sentence on what it says.
        cells: of each side: original, compact, and what the difference is.
        verdicts: of each side: "better", "worse", "unclear" or "".
    """

    label: str
    meaning: str
    cells: Sequence[Sequence[str]]
    verdicts: Sequence[str] = ()


@dataclass(frozen=True)
class Side:
    """What there is to say of one direction of a run.

    Attributes:
        direction: "A2B" or "B2A".
        title: the same in words.
        headline: pairs of a number and what it counts: "8.1x", "fewer parameters".
        verdict: the picture error, and in what the compact generator is better, worse, or neither clearly.
        silhouette: the widths of its layers, if they are known.
    """

    direction: str
    title: str
    headline: Sequence[tuple[str, str]] = ()
    verdict: str = ""
    silhouette: Silhouette | None = None


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        label: its path, as it was given.
        state: what is missing of a run that is not finished; "" of a finished one.
        sides: those that it prunes.
        costs, quality: lines of the tables of figures.
        quality_note: on how many images, and what the intervals are.
        curve: of the search, if there was one.
        fronts: of NSGA-II, by direction.
        pick: how ``ganprune pick`` is called for the points chosen in the fronts, with ``{A2B}`` and ``{B2A}`` in it.
        settings: (name, value, help) of all settings.
        facts: (name, value): versions, seeds, counts.
        command: what makes the run again.
    """

    label: str
    state: str = ""
    sides: Sequence[Side] = ()
    costs: Sequence[Row] = ()
    quality: Sequence[Row] = ()
    quality_note: str = ""
    curve: Chart | None = None
    fronts: Mapping[str, Chart] = field(default_factory=dict)
    pick: str = ""
    settings: Sequence[tuple[str, str, str]] = ()
    facts: Sequence[tuple[str, str]] = ()
    command: str = ""


@dataclass(frozen=True)
class Comparison:
    """A comparison of searches.

    Attributes:
        label: its path, as it was given.
        state: what is missing of one that is not finished.
        columns, rows: its table.
        notes: what the columns mean, and what the tests say.
        curves: best reference fitness so far against cost.
        contenders: (name, settings) of each.
        facts: (name, value).
    """

    label: str
    state: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()
    curves: Chart | None = None
    contenders: Sequence[tuple[str, str]] = ()
    facts: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Contents:
    """A whole page.

    Attributes:
        title: of the page.
        version: of ganprune.
        command: what makes the page again.
        runs, comparisons: what it is about.
        galleries: test images, of all runs that share them.
        networks: generators that run in the page: what :func:`ganprune.report.page.networks.as_data` returns, with a
            "name", "run", "title", "kind" ("compact" or "original"), "size", "background", and, where it has made
            pictures of the page, "gallery" and "variant" each.
        draws: the direction that translates drawings, which comes first in the page then; "" if none does.
        overview: of several runs, a line for each figure, with each side of each run as a pair: figure, difference.
        notes: what is left out of the page, and why.
    """

    title: str
    version: str
    command: str
    runs: Sequence[Run] = ()
    comparisons: Sequence[Comparison] = ()
    galleries: Sequence[Gallery] = ()
    networks: Sequence[Mapping[str, Any]] = ()
    draws: str = ""
    overview: Sequence[Row] = ()
    notes: Sequence[str] = ()
