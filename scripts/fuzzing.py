"""Mutated inputs for every loader, and a watch on what the loaders do: what ``reliability.py fuzz`` runs.

A loader may return, or raise ``UserError``; it must not raise anything else, take long, run a program, or write outside
of what it is documented to write.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_inputs import load_wrapped, read_images, read_output, wrapping, write_images, write_output
from PIL import Image

from ganprune.commands.evolve import compress
from ganprune.cost.latency_table import LATENCY
from ganprune.cost.latency_table import from_json as latency_from_json
from ganprune.data.images import UnpairedImages, read_image
from ganprune.errors import UserError
from ganprune.evolution import Genetic, Score, coevolve, make_toolbox
from ganprune.filters.saving import load_generator
from ganprune.models.checkpoint import load_cyclegan, save_cyclegan
from ganprune.models.cyclegan import PARTS, new_cyclegan
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.models.names import FAMILIES
from ganprune.pipeline.config import read_config
from ganprune.pipeline.front import read_fronts
from ganprune.pipeline.search import prepare
from ganprune.pipeline.task import Task
from ganprune.runs.directory import RunDirectory
from ganprune.settings.evolve import make_settings
from ganprune.settings.training import TrainingSettings
from ganprune.training import CycleGANTrainer

SECONDS = 30  # after which an input counts as one that hangs
SIZE = 16
SETTINGS = {
    "algorithm": "nsga2", "population": 4, "generations": 1, "finetune_steps": 1, "finetune_batch": 1,
    "calibration_images": 2, "validation_images": 1, "precision": "float32", "cost": "latency",
    "target_ratio": 2.0,
}  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 3.5, 10**30, -(2**63), 1e308, "", "x", "../../../tmp/x", "/dev/zero", "os:system", "\0",
    "1" * 5000, [], {}, [[]], {"": None}, "NaN", "16:ffff", "\ud800",
]  # fmt: skip
EXECUTION = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pty.spawn")
WRITING = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.truncate", "shutil.rmtree")


@dataclass(frozen=True)
class Loader:
    """A way in for files from outside.

    Attributes:
        name: for the report.
        files: those that are mutated, one at a time, relative to the corpus; none where inputs are made up.
        load: reads them from a copy of the corpus.
        writes: names that it may write.
        make: writes a made-up input into a new folder, which ``load`` is given.
    """

    name: str
    files: tuple[str, ...]
    load: Callable[[Path], Any]
    writes: tuple[str, ...] = ()
    make: Callable[[Path, random.Random], None] | None = None


@dataclass
class Watch:
    """What happened while a loader ran."""

    active: bool = False
    allowed: tuple[str, ...] = ()
    seen: list[str] = field(default_factory=list)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event.startswith(EXECUTION):
            self.seen.append(f"{event} {arguments!r}"[:200])
        elif event in WRITING or (event == "open" and _writes(arguments)):
            path = str(arguments[0])
            if not path.startswith("/dev/null") and not any(name in path for name in self.allowed):
                self.seen.append(f"{event} {path}")


def _writes(arguments: tuple[Any, ...]) -> bool:
    mode = arguments[1]
    return isinstance(mode, str) and bool(set(mode) & set("wax+"))


WATCH = Watch()


@contextmanager
def watched(allowed: tuple[str, ...]) -> Iterator[list[str]]:
    """Within the block, list programs that are started and files that are written."""
    if WATCH.hook not in _hooks:
        sys.addaudithook(WATCH.hook)
        _hooks.append(WATCH.hook)
    WATCH.seen, WATCH.allowed, WATCH.active = [], allowed, True
    try:
        yield WATCH.seen
    finally:
        WATCH.active = False


_hooks: list[Any] = []


def make_corpus(folder: Path) -> list[Loader]:
    """Write one whole example of every input into a folder; return the loaders that read them."""
    _write_images(folder / "data")
    cyclegan = new_cyclegan(GeneratorConfig(ngf=2, blocks=1), DiscriminatorConfig(ndf=2, layers=1), 0)
    save_cyclegan(cyclegan, folder / "own")
    layouts = {family.examples[0]: [f"{name}.pth" for name in family.examples] for family in FAMILIES}
    for layout, names in layouts.items():
        (folder / layout).mkdir()
        for (side, part), name in zip(itertools.product(cyclegan, PARTS), names, strict=True):
            zipped = side == "A2B"  # both containers that torch.load knows
            state = getattr(cyclegan[side], part).state_dict()
            torch.save(state, folder / layout / name, _use_new_zipfile_serialization=zipped)
    images = UnpairedImages(folder / "data", SIZE)
    settings = make_settings("quick", **SETTINGS)
    compress(folder / "own", folder / "data", out=folder / "run", settings=settings, size=SIZE, device="cpu", threads=1)
    training = TrainingSettings(steps=1, batch=1, pool=1)
    trainer = CycleGANTrainer(cyclegan, images, training)
    list(trainer.train())
    trainer.save(folder / "training")
    coevolve(_toolboxes(), generations=1, run=folder / "bits")
    spaces = {
        name: one.space for name, one in prepare(Task(cyclegan, images, None, None), settings, _quiet).fitness.items()
    }
    return [
        *(Loader(f"image {kind}", (f"kinds/{kind}",), _image_loader(kind)) for kind in KINDS),
        Loader("checkpoint", ("own/cyclegan.json", "own/cyclegan.safetensors"), lambda p: load_cyclegan(p / "own")),
        *(
            Loader(layout, tuple(f"{layout}/{name}" for name in names), _checkpoint_loader(layout))
            for layout, names in layouts.items()
        ),
        Loader("generator", ("run/A2B.json", "run/A2B.safetensors"), lambda p: load_generator(p / "run" / "A2B")),
        Loader("config", ("run/config.json",), lambda p: read_config(RunDirectory.open(p / "run"))),
        Loader("front", ("run/front.json",), lambda p: read_fronts(RunDirectory(p / "run"))),
        Loader(
            "latency", (f"run/{LATENCY}",),
            lambda p: latency_from_json(RunDirectory(p / "run").read_json(LATENCY), spaces, SIZE),
        ),
        Loader(
            "search", ("bits/state.json", "bits/evaluations.jsonl", "bits/logbook.jsonl"),
            lambda p: coevolve(_toolboxes(), generations=2, run=p / "bits", resume=True), ("/bits/", "/bits"),
        ),
        Loader(
            "training", ("training/training.safetensors",),
            lambda p: CycleGANTrainer(cyclegan, images, training).load(p / "training"),
        ),
        Loader("wrapped state dicts", (), load_wrapped, make=wrapping(cyclegan)),
        Loader("image modes", (), read_images, make=write_images),
        Loader("discriminator outputs", (), read_output, make=write_output),
    ]  # fmt: skip


KINDS = {"a.png": "PNG", "a.jpg": "JPEG", "a.bmp": "BMP", "a.tif": "TIFF", "a.webp": "WEBP", "a.ppm": "PPM"}


def _write_images(data: Path) -> None:
    draw = np.random.default_rng(0)
    for folder, count in {"trainA": 10, "trainB": 10, "testA": 2, "testB": 2}.items():
        (data / folder).mkdir(parents=True)
        for number in range(count):
            pixels = draw.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(data / folder / f"{number}.png")
    (data.parent / "kinds").mkdir()
    for name, kind in KINDS.items():
        Image.effect_noise((20, 12), 60).convert("RGB").save(data.parent / "kinds" / name, kind)


def _image_loader(kind: str) -> Callable[[Path], Any]:
    return lambda folder: read_image(folder / "kinds" / kind, SIZE)


def _checkpoint_loader(layout: str) -> Callable[[Path], Any]:
    return lambda folder: load_cyclegan(folder / layout)


def _quiet(*stage: Any) -> None:
    """Stands for a display."""


class _Bits:
    group_sizes = (5, 3)
    saliency = tuple(range(8))

    def repair(self, bits: Any) -> list[int]:
        fixed = list(bits)
        fixed[4] = fixed[7] = 1
        return fixed


def _ones(individual: Any, partner: Any = None) -> Score:
    return Score([1 + sum(individual)], {"ones": sum(individual)})


def _toolboxes() -> dict[str, Any]:
    toolboxes = {}
    for side in ("A2B", "B2A"):
        toolboxes[side] = make_toolbox(_Bits(), _ones)
        Genetic(population=3).register(toolboxes[side])
    return toolboxes


def mutate(data: bytes, name: str, draw: random.Random) -> bytes:
    """Return other content for a file of that name: damaged bytes, or JSON with another value somewhere."""
    if name.endswith((".json", ".jsonl")) and draw.random() < 0.7:
        return mutate_json(data, draw)
    if name.endswith(".safetensors") and draw.random() < 0.5:  # its header is JSON too, behind its length
        length = int.from_bytes(data[:8], "little")
        header = mutate_json(data[8 : 8 + length], draw)
        return len(header).to_bytes(8, "little") + header + data[8 + length :]
    return mutate_bytes(data, draw)


def mutate_bytes(data: bytes, draw: random.Random) -> bytes:
    """Return the bytes with one to four pieces changed, cut out, doubled or put in, or an end cut off."""
    result = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        # Headers are where the structure is, so half of the changes go there.
        place = draw.randrange(max(1, min(len(result), 200) if draw.random() < 0.5 else len(result)))
        length = draw.choice((1, 1, 2, 4, 8, draw.randint(1, 64)))
        large = b"\x7f" + b"\xff" * (length - 1)
        piece = draw.choice((b"\0" * length, b"\xff" * length, draw.randbytes(length), large))
        change = draw.randrange(6)
        if change == 0:
            result[place : place + 1] = bytes([(result[place] if result else 0) ^ (1 << draw.randrange(8))])
        elif change == 1:
            result[place : place + length] = piece
        elif change == 2:
            result[place:place] = piece
        elif change == 3:
            del result[place : place + length]
        elif change == 4:
            result[place:place] = result[place : place + length]
        else:
            del result[place:]
    return bytes(result)


def mutate_json(data: bytes, draw: random.Random) -> bytes:
    """Return JSON, or its lines, with one value replaced, removed or added, or brackets without end."""
    lines = data.decode().splitlines() if b"\n{" in data else [data.decode()]
    chosen = draw.randrange(len(lines))
    if draw.random() < 0.02:
        lines[chosen] = draw.choice("[{") * 100_000
    else:
        content = json.loads(lines[chosen])
        _change(content, draw)
        lines[chosen] = json.dumps(content if draw.random() > 0.03 else draw.choice(VALUES))
    return "\n".join(lines).encode() + b"\n"


def _change(content: Any, draw: random.Random) -> None:
    place = content
    while isinstance(place, (dict, list)) and place:
        key = draw.choice(list(place)) if isinstance(place, dict) else draw.randrange(len(place))
        if isinstance(place[key], (dict, list)) and place[key] and draw.random() < 0.8:
            place = place[key]
            continue
        kind = draw.randrange(4)
        if kind == 0:
            del place[key]
        elif kind == 1 and isinstance(place, dict):
            place[draw.choice(("extra", "", "../x", "format"))] = draw.choice(VALUES)
        elif kind == 2 and isinstance(place[key], (int, float)) and not isinstance(place[key], bool):
            place[key] = place[key] * draw.choice((-1, 0, 2, 1e9, 10**12)) + draw.choice((0, 1, -1, 0.5))
        else:
            place[key] = draw.choice(VALUES)
        return


def try_input(loader: Loader, corpus: Path, folder: Path, seed: int) -> str | None:
    """Mutate one file of a loader's and let it read; return what it should not have done, or None.

    Args:
        loader: one of :func:`make_corpus`.
        corpus: whole examples.
        folder: a place for the mutated copy; made anew.
        seed: of the mutation.
    """
    draw = random.Random(f"{loader.name}:{seed}")
    shutil.rmtree(folder, ignore_errors=True)
    if loader.make is not None:
        name = f"input {seed}"
        loader.make(folder, draw)
    else:
        for top in {name.split("/")[0] for name in loader.files}:
            shutil.copytree(corpus / top, folder / top)
        name = draw.choice(loader.files)
        (folder / name).write_bytes(mutate((folder / name).read_bytes(), name, draw))
    with watched(loader.writes) as seen, _limited(SECONDS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loader.load(folder)
        except UserError as error:
            if not str(error).isprintable():
                return f"{name}: a message that is not one printable line"
        except BaseException as error:  # whatever it is, it was not documented
            return f"{name}: {type(error).__name__}: {str(error)[:200]}"
    return f"{name}: {seen[0]}" if seen else None


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def late(number: int, frame: Any) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
