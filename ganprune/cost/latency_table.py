"""A latency table: a pruned generator's predicted milliseconds per image, and the file that keeps it.

For each distinct layer it holds times on a grid of kept input and output channels; between grid points they are
interpolated bilinearly, and a network's latency is the sum over its layers. An engine that computes channels in blocks
takes as long for part of a block as for the whole: there, numbers of channels count as whole blocks.
:mod:`ganprune.cost.latency` measures the times; two measurements differ, so a run keeps its table in ``latency.json``,
and goes on with that.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ganprune.data.sizes import Size, read_size, size_json
from ganprune.errors import UserError
from ganprune.filters.space import FilterSpace
from ganprune.runs.files import check_format

LATENCY = "latency.json"
FORMAT = 1
STEPS = 4  # of each axis of a grid, from the fewest channels to all

Axes = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Grid:
    """Milliseconds of one layer by kept channels.

    Attributes:
        inputs: input channels, increasing.
        outputs: output channels, increasing; for a depthwise convolution, which has as many as inputs, only all.
        ms: one row for each of ``inputs``, in it one number for each of ``outputs``; they fall along neither.
        block: what is computed at once: more channels than this take as long as the next multiple of it.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    ms: tuple[tuple[float, ...], ...]
    block: int = 1

    def __call__(self, inputs: int, outputs: int) -> float:
        """Return the milliseconds for that many channels."""
        row, down = _locate(self.inputs, _whole_blocks(inputs, self.block))
        column, along = _locate(self.outputs, _whole_blocks(outputs, self.block))
        upper, lower = (
            (1 - along) * values[column] + along * values[min(column + 1, len(values) - 1)]
            for values in (self.ms[row], self.ms[min(row + 1, len(self.ms) - 1)])
        )
        return (1 - down) * upper + down * lower


@dataclass(frozen=True)
class LatencyTable:
    """Predicts the latency of one generator's compact networks for one image, in milliseconds.

    Attributes:
        layers: convolution's path -> name of its layer shape.
        shapes: name of a layer shape -> its times.
        block: of the engine, which the grids' axes are made for; not all of its layers need be computed in blocks.
    """

    layers: Mapping[str, str]
    shapes: Mapping[str, Grid]
    block: int = 1

    def __call__(self, widths: Mapping[str, tuple[int, int]]) -> float:
        """Return the milliseconds of a network with these (input, output) channels of its convolutions."""
        return math.fsum(self.shapes[shape](*widths[path]) for path, shape in self.layers.items())


def grid_axes(space: FilterSpace, block: int = 1) -> dict[str, Axes]:
    """Return, by each convolution's path, the input and the output channels of its grid.

    Args:
        space: the generator's.
        block: channels that the engine computes at once; 1 where it computes any number.
    """
    least, most = space.widths(space.repair.least()), space.widths(space.full())
    axes = {}
    for path, full in most.items():
        ends = zip(least[path], full, strict=True)
        inputs, outputs = (
            _steps(*each, space.repair.multiple) if block == 1 else _doubled(*each, block) for each in ends
        )
        axes[path] = (inputs, outputs[-1:] if path in space.depthwise else outputs)
    return axes


def to_json(tables: Mapping[str, LatencyTable], **facts: Any) -> dict[str, Any]:
    """Return both sides' tables as JSON data, with facts about the measurement beside them."""
    shapes = {name: asdict(grid) for table in tables.values() for name, grid in table.shapes.items()}
    sides = {side: {"layers": dict(table.layers)} for side, table in tables.items()}
    block = max((table.block for table in tables.values()), default=1)
    return {"format": FORMAT, **facts, "block": block, "sides": sides, "shapes": shapes}


def from_json(data: Any, spaces: Mapping[str, FilterSpace], size: int | Size) -> dict[str, LatencyTable]:
    """Return both sides' tables from what :func:`to_json` gave.

    Args:
        data: the content of the file.
        spaces: both sides' filter spaces, whose layers the tables have to be of.
        size: (height, width) of the images that they have to be for, or one number.

    Raises:
        UserError: another format, image size or generator, or numbers that are no times.
    """
    try:
        check_format(data, FORMAT, LATENCY)
        wanted = size_json(read_size(size))
        if data["size"] != wanted:
            raise _damaged(f"times at image size {data['size']!r}", f"size {wanted}")
        return {side: _table(data, side, space) for side, space in spaces.items()}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        reason = f"no entry {error}" if isinstance(error, KeyError) else str(error)
        raise _damaged(reason, "a latency table as a run writes it") from error


def _table(data: Mapping[str, Any], side: str, space: FilterSpace) -> LatencyTable:
    block = data.get("block", 1)  # tables of the time before engines with blocks lack it
    if type(block) is not int or block < 1:
        raise _damaged(f"blocks of {block!r} channels", "a whole number of 1 or more")
    layers, axes = dict(data["sides"][side]["layers"]), grid_axes(space, block)
    for path in sorted(axes.keys() ^ layers.keys()):
        expected = "only layers of the generator" if path in layers else "every layer of the generator"
        raise _damaged(f"layer {path} of {side}, {'unknown' if path in layers else 'missing'}", expected)
    shapes = {}
    for path, shape in layers.items():
        grid = data["shapes"][shape]
        inputs, outputs, ms = (tuple(grid[name]) for name in ("inputs", "outputs", "ms"))
        if (inputs, outputs) != axes[path]:
            raise _damaged(f"layer {path} of {side} with channels {inputs} x {outputs}", "{} x {}".format(*axes[path]))
        rows = tuple(tuple(row) for row in ms)
        if len(rows) != len(inputs) or any(len(row) != len(outputs) for row in rows):
            raise _damaged(f"shape {shape} without a time for each channel count", f"{len(inputs)} x {len(outputs)}")
        _check_times(f"shape {shape}", rows)
        if (own := grid.get("block", 1)) not in (1, block):
            raise _damaged(f"blocks of {own!r} channels in shape {shape}", f"1 or {block}")
        shapes[shape] = Grid(inputs, outputs, rows, own)
    return LatencyTable(layers, shapes, block)


def _check_times(what: str, rows: Sequence[Sequence[Any]]) -> None:
    for value in itertools.chain(*rows):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and value > 0):
            raise _damaged(f"{value!r} in {what}", "finite numbers above 0")
    for values in (*rows, *zip(*rows, strict=True)):
        if any(later < earlier for earlier, later in itertools.pairwise(values)):
            raise _damaged(f"times in {what} that fall as channels are added", "times that rise, or stay")


def _damaged(found: str, expected: str) -> UserError:
    return UserError(LATENCY, found, expected, "Restore the file, or begin a new run.")


def _steps(low: int, high: int, multiple: int) -> tuple[int, ...]:
    """Return numbers of channels from low to high, in between such as can be, where they are multiples."""
    unit = multiple if low % multiple == 0 else 1
    between = (round((low + (high - low) * step / STEPS) / unit) * unit for step in range(1, STEPS))
    return tuple(sorted({low, high, *between}))


def _doubled(low: int, high: int, block: int) -> tuple[int, ...]:
    """Return numbers of channels from low to high; in between one block, two, four and so on.

    A convolution's time is bilinear in its numbers of blocks, so that few grid points do.
    """
    between = (block << step for step in range(high.bit_length()))
    return tuple(sorted({low, high, *(count for count in between if low < count < high)}))


def _whole_blocks(count: int, block: int) -> int:
    """Return the next multiple of a block; what fits into one stays what it is."""
    return count if count <= block else -(-count // block) * block


def _locate(axis: Sequence[int], value: int) -> tuple[int, float]:
    """Return the index of the grid point at or below a value, and how far it lies towards the next, in [0, 1)."""
    index = bisect_right(axis, value) - 1
    if index < 0 or index == len(axis) - 1:
        return max(index, 0), 0.0
    return index, (value - axis[index]) / (axis[index + 1] - axis[index])
