"""The dry run: every stage of a run once, on two images of each domain, before any long work begins.

Networks that others wrote may fail anywhere, and after a search of hours it is late to say so. So all that a run does
is done here with the user's own networks: batches of the sizes to come, half of the filters pruned, an individual tuned
and scored, a fine-tuning step, saving and loading, the figures, and what a finished run offers. Images larger than 64
pixels are cut where the networks take that.

A run is not changed by it: networks are copies, random states are put back, files go to a temporary folder.
"""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ganprune.data.images import Split, UnpairedImages
from ganprune.data.pixels import CHANNELS, to_pil
from ganprune.data.sizes import LEAST, Size, round_up, size_text
from ganprune.deploy.facts import Facts
from ganprune.deploy.fast_form import exported_form
from ganprune.deploy.files import missing_packages, write_onnx
from ganprune.errors import UserError
from ganprune.evolution.individual import pack_bits
from ganprune.filters.builder import make_builders
from ganprune.filters.saving import load_generator, save_generator
from ganprune.filters.slicing import Keep
from ganprune.filters.space import FilterSpace
from ganprune.metrics.evaluate import evaluate
from ganprune.metrics.measures import Measures
from ganprune.models.architecture import FOREIGN, describe, input_channels, output_channels
from ganprune.models.cyclegan import OTHER
from ganprune.models.sizing import check_size, size_multiple, translate
from ganprune.pipeline.batches import SKIP, batch_sizes, pass_batches, trying
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.results import draw_samples
from ganprune.pipeline.search import make_fitness
from ganprune.pipeline.task import Task
from ganprune.settings.evolve import EvolveSettings
from ganprune.settings.fields import changed
from ganprune.training.finetune import finetune
from ganprune.training.tuning import tuned

IMAGES = 2  # of each domain and role
SIDE = 64  # of what is cut out of larger images, at least
ROUNDING = 1e-4  # on [-1, 1]: what may differ of a network that was saved and loaded


def rehearse(
    task: Task, settings: EvolveSettings, reporter: Reporter, *, searches: bool = True, finishes: bool = True
) -> None:
    """Go the whole way of a run once; the shipped images are left out, since our own tests go it with them.

    Args:
        task: what the run is about; it stays as it is.
        settings: of the run.
        reporter: told of what goes on and what was found.
        searches: whether individuals are tuned before they are scored.
        finishes: whether networks are fine-tuned, saved and measured in the end.

    Raises:
        UserError: something can't be done; stage and network are named.
    """
    if task.data is None:
        return
    reporter.stage("dry run: every stage once, with two images of each domain")
    part, *whole = _frames(task)
    with _random_states_put_back(task.device):
        try:
            notes = _Rehearsal.of(task, part, settings, searches, finishes).run()
        except UserError:
            if not whole:
                raise
            notes = _Rehearsal.of(task, whole[0], settings, searches, finishes).run()  # it may be the size alone
    for note in notes:
        reporter.note(note)


def _frames(task: Task) -> list[Size]:
    """Return the sizes to try: a part of larger images first, where all networks take that, then the whole."""
    frame = task.images.frame
    part = round_up((SIDE, SIDE), task.images.multiple)
    if any(small >= side for small, side in zip(part, frame, strict=True)):
        return [frame]
    try:
        check_size(task.cyclegan, part)
    except UserError:
        return [frame]
    return [part, frame]


def _few(images: UnpairedImages, frame: Size) -> UnpairedImages:
    """Return the first images of each domain and role, cut to a size if that is another one."""
    few, framing = copy.copy(images), images.framing
    if frame != images.frame:
        framing = replace(framing, size=frame, load=framing.load or framing.size)
    few.framing, few.frame, few.size = framing, frame, round_up(frame, images.multiple)
    few.domains = {}
    for domain, split in images.domains.items():
        sets = [role.with_paths(role.paths[:IMAGES]) for role in (split.train, split.validation, split.test)]
        for role in sets:
            role.framing, role.frame = framing, frame
        few.domains[domain] = Split(*sets)
    return few


@contextmanager
def _random_states_put_back(device: torch.device) -> Iterator[None]:
    """Within the block, whatever draws random numbers leaves no trace of it behind."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


@dataclass
class _Rehearsal:
    """One try.

    Attributes:
        task: copies of the networks, and few images.
        settings: of the run.
        searches, finishes: see :func:`rehearse`.
        sizes: of the batches to come; see :func:`batch_sizes`.
        notes: what is to be told.
    """

    task: Task
    settings: EvolveSettings
    searches: bool
    finishes: bool
    sizes: tuple[set[int], set[int]]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, task: Task, frame: Size, settings: EvolveSettings, searches: bool, finishes: bool) -> _Rehearsal:
        with trying("copying", "all networks"):
            cyclegan = copy.deepcopy(task.cyclegan)
        few = replace(task, cyclegan=cyclegan, images=_few(task.images, frame))
        sizes = batch_sizes(task, settings, searches=searches, finishes=finishes)
        return cls(few, settings, searches, finishes, sizes)

    @property
    def whom(self) -> str:
        return " and ".join(self.task.cyclegan)

    def run(self) -> list[str]:
        """Do everything once and return the notes."""
        self.notes += pass_batches(self.task, self.sizes)
        compact, bits, filters = self.prune()
        if not self.finishes:
            return self.notes
        if self.settings.finetune.steps:
            self.finetune(compact, filters)
        with tempfile.TemporaryDirectory() as folder:
            loaded = self.save(compact, bits, Path(folder))
            self.measure(loaded, Path(folder))
            for name, network in loaded.items():
                self.offer(name, network, Path(folder))
        return self.notes

    # --- what the search does

    def prune(self) -> tuple[dict[str, nn.Module], dict[str, list[int]], dict[str, Keep]]:
        """Take away every other filter, tune and score; return compact networks to fine-tune, bits and kept filters.

        Weights are not reconstructed here: a search begins with that.
        """
        task, settings = self.task, self.settings
        if settings.fitness.cost == "latency":
            settings = changed(settings, cost="params")  # nothing has been timed yet
        spaces = {}
        for name, side in task.cyclegan.items():
            with trying("pruning", f"generator {name}"):
                spaces[name] = FilterSpace(side.generator, encoding=settings.scoring.encoding, size=task.images.size)
        with trying("pruning", f"generators {self.whom}"):
            builders = make_builders(task.cyclegan, task.images, spaces=spaces, reconstruct=False)
            bits = {name: _half(builder.space) for name, builder in builders.items()}
            compact = {name: builders[name].final(each).requires_grad_(True) for name, each in bits.items()}
            filters = {name: builders[name].space.kept(each) for name, each in bits.items()}
        tunes = self.searches and settings.tuning.wanted
        if tunes:
            settings = changed(settings, tune_steps=1)
            builders = tuned(
                builders, task.cyclegan, task.images, settings.tuning, seed=settings.seed, precision=settings.precision
            )
        with trying("tuning and scoring" if tunes else "scoring", f"networks of {self.whom}"):
            fitness = make_fitness(task, settings, builders, {})
            for name, each in bits.items():
                fitness[name](each, bits.get(OTHER[name]))
        return compact, bits, filters

    # --- what follows it

    def finetune(self, compact: Mapping[str, nn.Module], filters: Mapping[str, Keep]) -> None:
        """Take a fine-tuning step in place, and see whether a training can go on from what is saved of it."""
        training, again = changed(self.settings, finetune_steps=1).training, copy.deepcopy(dict(compact))
        task, what = self.task, f"networks of {self.whom}"
        with tempfile.TemporaryDirectory() as folder:
            with trying(f"a fine-tuning step ({self.settings.finetune.objective}) and saving its state", what):
                outcome = finetune(task.cyclegan, task.images, compact, training, filters=filters, keep=Path(folder))
            with trying("loading the state of a fine-tune", what):
                finetune(task.cyclegan, task.images, again, training, filters=filters, keep=Path(folder))
                for name, network in compact.items():
                    self._compare(network, again[name], name)
        if outcome:
            self.notes.append("dry run: the first step of a fine-tune gives losses or weights that are not finite")

    def save(
        self, compact: Mapping[str, nn.Module], bits: Mapping[str, list[int]], folder: Path
    ) -> dict[str, nn.Module]:
        """Return the networks as they come back from their files."""
        loaded = {}
        for name, network in compact.items():
            with trying("saving and loading", f"generator {name}"):
                network.eval().requires_grad_(False)
                save_generator(
                    network, folder / name, architecture=describe(self.task.cyclegan[name].generator),
                    bits=pack_bits(bits[name]), side=name, **self.task.images.framing.to_json(),
                )  # fmt: skip
                loaded[name] = load_generator(folder / name, factory=self.task.networks.factory("generator", name))
                self._compare(network, loaded[name], name)
        return {name: network.to(self.task.device) for name, network in loaded.items()}

    @torch.inference_mode()
    def _compare(self, network: nn.Module, loaded: nn.Module, name: str) -> None:
        """Check that a network and what was loaded again give the same images, on the CPU."""
        real = self.task.images[self.task.cyclegan[name].source].test.tensor([0])
        wanted, got = (copy.deepcopy(each).cpu().eval()(real) for each in (network, loaded))
        if not torch.allclose(wanted, got, rtol=0, atol=ROUNDING, equal_nan=True):
            found = f"differences up to {float((wanted - got).abs().max()):.2g}"
            raise UserError("its images", found, "the same", "Let its parameters and buffers hold all that it needs.")

    def measure(self, loaded: Mapping[str, nn.Module], folder: Path) -> None:
        """Compute the figures and draw the picture."""
        task, output = self.task, self.settings.fitness.discriminator_output
        with trying("evaluating", f"networks of {self.whom}"):
            measures = Measures(task.images)
            evaluate(task.cyclegan, loaded, task.images, discriminator_output=output, measures=measures, timed=False)
            draw_samples(folder / "samples.png", task, loaded)

    def offer(self, name: str, network: nn.Module, folder: Path) -> None:
        """Translate and export. A run can do without, so what can't be done is a note."""
        goes_on = "The run goes on, and it will not be possible to do this with its result."
        for stage, call in (("translating", self._translate), ("exporting to ONNX", self._export)):
            try:
                with trying(stage, f"generator {name}", goes_on):
                    call(name, network, folder)
            except UserError as error:
                self.notes.append(str(error))

    def _translate(self, name: str, network: nn.Module, folder: Path) -> None:
        """Translate an image of a size that may be no multiple."""
        if not {input_channels(network), output_channels(network)} <= set(CHANNELS):
            return  # no file holds such images
        real = self.task.images[self.task.cyclegan[name].source].test.tensor([0])
        height, width = (max(LEAST, side - 1) for side in real.shape[-2:])
        shown = translate(network, real[..., :height, :width], size_multiple([network]))
        if shown.shape[-2:] != (height, width):
            raise UserError("its image", size_text((shown.shape[-2], shown.shape[-1])), "the size it was given", SKIP)
        to_pil(shown[0])

    def _export(self, name: str, network: nn.Module, folder: Path) -> None:
        """Write the default format of ``ganprune export``; it is known to express networks of our own."""
        if describe(network)["kind"] != FOREIGN or missing_packages():
            return
        multiple = size_multiple([network])
        facts = Facts.of(network.cpu(), name, "compact", self.task.images.frame, None)
        form, example = exported_form(network, facts, multiple, onnx=True)
        write_onnx(form, example, folder / f"{name}.onnx", facts)


def _half(space: FilterSpace) -> list[int]:
    """Return the bits that keep every other filter of each group."""
    return space.repair([int(index % 2 == 0) for size in space.group_sizes for index in range(size)])
