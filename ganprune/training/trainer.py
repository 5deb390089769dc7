"""CycleGANTrainer: pretraining and fine-tuning of both sides, with CycleGAN's objective or distilled.

The objective is CycleGAN's (Zhu et al., ICCV 2017, and Eq. 1-3 of Shu et al.): LSGAN, cycle consistency weighted by
lambda, identity by 0.5 * lambda, L1 norms, an image pool of 50, Adam at a constant and then linearly decaying rate. A
*distilled* fine-tune adds distances to a teacher, the original CycleGAN: a row each in :mod:`ganprune.settings.terms`.

Everything random is derived from (seed, step), so a run that was interrupted goes on exactly as if it had not been.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ganprune.data.images import Split, UnpairedImages
from ganprune.device import at_once
from ganprune.errors import UserError
from ganprune.filters.slicing import Keep
from ganprune.models.aliases import named_once, save_tensors
from ganprune.models.architecture import shareable
from ganprune.models.cyclegan import PARTS, CycleGAN, Side
from ganprune.models.imagenet import load_efficientnet
from ganprune.models.weights import load_into, read_safetensors
from ganprune.runs.directory import refuse_changes
from ganprune.runs.files import replacing
from ganprune.settings.terms import IMAGENET, TERMS
from ganprune.settings.training import TrainingSettings
from ganprune.training.augmentation import Augmentation, Batch, ImagePool, epoch_indices
from ganprune.training.sides import TrainedSide, Update
from ganprune.training.state import FORMAT, FURTHER, TENSORS_NAME, read_metadata, with_prefix
from ganprune.training.taught import Taught, compared_views, make_taught
from ganprune.training.teacher import Teacher
from ganprune.training.views import Inside, Onlookers

TRAINING = "lite1"  # the EfficientNet that images are compared by; "lite0" is for measuring
SAVED_AS = {"features": "adapters"}  # in files, where it is not the term's name


class CycleGANTrainer:
    """Trains both generators and discriminators of a CycleGAN, in place, step by step.

    Args:
        cyclegan: the networks to train.
        images: their training images are used, by domain.
        settings: the objective and schedule.
        teacher: the original CycleGAN, for distillation.
        sides: which sides are trained; the others are only their reverse generators.
        filters: side -> which filters of the teacher's generator its own has kept (``FilterSpace.kept``); needed for
            terms that compare these.

    Attributes:
        sides: those that are trained, by name, with what their objectives are made of.
        domains: those that a step takes images of.
    """

    def __init__(
        self,
        cyclegan: CycleGAN,
        images: UnpairedImages | Mapping[str, Split],
        settings: TrainingSettings,
        *,
        teacher: CycleGAN | None = None,
        sides: Sequence[str] | None = None,
        filters: Mapping[str, Keep] | None = None,
    ):
        for term in TERMS:
            if getattr(settings, term) > 0 and teacher is None:
                raise UserError(term, getattr(settings, term), "0 without a teacher", "Give the original checkpoint.")
        self.cyclegan, self.images, self.settings = cyclegan, images, settings
        self.device = cyclegan.device
        self.step = 0
        self.augmentation = Augmentation(load_scale=settings.augment, shift=settings.shift)
        trained = [side for name, side in cyclegan.items() if sides is None or name in sides]
        for network in cyclegan.networks().values():
            network.eval().requires_grad_(False)
        for network in _networks(trained):
            network.train().requires_grad_(True)
        self.side_by_side = all(map(shareable, cyclegan.networks().values()))  # a side's forward pass changes nothing
        self.imagenet = load_efficientnet(TRAINING).to(self.device) if IMAGENET in compared_views(settings) else None
        self.sides = {side.name: self._side(side, teacher, (filters or {}).get(side.name)) for side in trained}
        both = [one.side for one in self.sides.values() if settings.identity or one.adversary is not None]
        self.domains = sorted({side.source for side in trained} | {side.target for side in both})
        parts = PARTS if any(side.discriminator is not None for side in trained) else PARTS[:1]
        self.optimisers = {part: self._adam(part) for part in parts}
        self.averages = {side.name: self._average(side) for side in trained} if settings.average else {}

    def _side(self, side: Side, teacher: CycleGAN | None, keep: Keep | None) -> TrainedSide:
        """Return a side with everything that the settings train it with."""
        settings = self.settings
        taught = None if teacher is None else self._taught(side, teacher[side.name], keep)
        reverse = self.cyclegan.reverse(side.name) if settings.lam else None
        trained = TrainedSide(side, settings, ImagePool(settings.pool), reverse, self._adversary(side), taught)
        if not trained.learns:
            found = f"terms that generator {side.name} has no networks for"
            raise UserError("objective", found, "one that applies to a generator alone", "Distil: --finetune distil.")
        return trained

    def _taught(self, side: Side, original: Side, keep: Keep | None) -> Taught:
        """Return the terms that compare a side with the original one."""
        views, train = compared_views(self.settings), self.images[side.source].train
        inside = Inside.of(side.generator, original.generator, views, keep)
        onlookers = Onlookers(original.discriminator, self.imagenet)
        teacher = Teacher(original, train, self.settings, views, inside, onlookers)
        return make_taught(teacher, side.generator, self.settings, self.batch(side.source))

    def _adversary(self, side: Side) -> nn.Module | None:
        """Return the discriminator that is trained against a side's generator: that takes real images, too."""
        with contextlib.suppress(KeyError):  # no such images
            if self.settings.adversarial and len(self.images[side.target].train):
                return side.discriminator
        return None

    def _adam(self, part: str) -> torch.optim.Adam:
        networks = [getattr(one.side, part) for one in self.sides.values()]
        networks += list(self._distances().values()) if part == "generator" else []
        parameters = itertools.chain(*(network.parameters() for network in networks if network is not None))
        rate, betas = self.settings.learning_rate, self.settings.betas
        return torch.optim.Adam(list(parameters), lr=rate, betas=betas, fused=True)

    def _average(self, side: Side) -> AveragedModel:
        average = AveragedModel(
            side.generator, multi_avg_fn=get_ema_multi_avg_fn(self.settings.average), use_buffers=True
        )
        return average.eval().requires_grad_(False)

    def result(self) -> CycleGAN:
        """Return what came of the training so far: the generators have the averaged weights, where these are kept."""
        if not self.averages:
            return self.cyclegan
        return self.cyclegan.with_generators({name: average.module for name, average in self.averages.items()})

    def train(self, until: int | None = None) -> Iterator[dict[str, float]]:
        """Run the remaining steps (or up to step ``until``), yielding each step's mean losses by name."""
        last = self.settings.total if until is None else min(until, self.settings.total)
        while self.step < last:
            yield self.train_step()
        if self.step >= self.settings.total:
            self.finish()

    def finish(self) -> None:
        """Put the networks into evaluation mode, without gradients."""
        for network in self.cyclegan.networks().values():
            network.eval().requires_grad_(False)

    def train_step(self) -> dict[str, float]:
        """Update generators and discriminators once; return the losses (means over elements, unweighted)."""
        for part, optimiser in self.optimisers.items():
            factor = self.settings.discriminator_rate if part == "discriminator" else 1.0
            optimiser.param_groups[0]["lr"] = factor * self.settings.rate(self.step)
        # Nothing here takes two CPU threads for one operation: the second would wait for its next one in a busy loop.
        batches = at_once([functools.partial(self.batch, domain) for domain in self.domains], self.device)
        updates = self.updates(dict(zip(self.domains, batches, strict=True)))
        own = {part: [update[part] for update in updates if part in update] for part in self.optimisers}
        calls = [functools.partial(_apply, optimiser, own[part]) for part, optimiser in self.optimisers.items()]
        at_once(calls, self.device)
        for name, average in self.averages.items():
            average.update_parameters(self.cyclegan[name].generator)
        self.step += 1
        losses = [update.losses.items() for updates in own.values() for update in updates]
        return {name: float(value) for name, value in itertools.chain(*losses)}

    def updates(self, real: Mapping[str, Batch]) -> list[dict[str, Update]]:
        """Return what each side adds to each optimiser's step, all computed at once.

        Args:
            real: images of each of :attr:`domains`.
        """
        parameters = {part: optimiser.param_groups[0]["params"] for part, optimiser in self.optimisers.items()}
        calls = [functools.partial(one.updates, real, parameters, self.step) for one in self.sides.values()]
        return at_once(calls, self.device) if self.side_by_side else [call() for call in calls]

    def batch(self, domain: str) -> Batch:
        """Return this step's augmented training images of one domain."""
        train = self.images[domain].train
        seed = f"{self.settings.seed}:{domain}"
        indices = epoch_indices(len(train), self.settings.batch, self.step, seed)
        draw = torch.Generator().manual_seed(random.Random(f"{seed}:{self.step}").getrandbits(62))
        # Images that are cut out of larger ones at random need no enlarging to be cut back from.
        whole = train.framing.load is None
        augmentation = self.augmentation if whole else replace(self.augmentation, load_scale=1.0)
        images, mirrored = augmentation.draw(train.training_tensor(indices, draw), draw)
        comes_again = whole and augmentation.load_scale == 1 and not augmentation.shift
        return Batch(images.to(self.device), tuple(zip(indices, mirrored, strict=True)) if comes_again else None)

    def _modules(self) -> dict[str, nn.Module]:
        """Return what is saved whole, by what begins the names of its tensors."""
        averages = {f"average.{name}": average for name, average in self.averages.items()}
        return {**self.cyclegan.networks(), **self._distances(), **averages}

    def _distances(self) -> dict[str, nn.Module]:
        """Return the distances that are trained or count on the way, by what begins the names of their tensors."""
        taught = {name: one.taught.modules for name, one in self.sides.items() if one.taught is not None}
        return {f"{SAVED_AS.get(t, t)}.{name}": each for name, own in taught.items() for t, each in own.items()}

    def _pools(self) -> Iterator[tuple[str, ImagePool]]:
        return ((name, one.pool) for name, one in self.sides.items())

    def save(
        self,
        folder: str | Path,
        *,
        facts: Mapping[str, Any] | None = None,
        tensors: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Write networks, optimisers, pools and the step into a folder, atomically.

        Args:
            folder: made if missing.
            facts: JSON data of the caller's that go with it.
            tensors: further tensors.

        Raises:
            UserError: it can't be written; what was there before is whole.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        metadata = {**(facts or {}), "format": FORMAT, "step": self.step, "settings": self.settings.to_json()}
        content = {f"{FURTHER}{key}": value for key, value in (tensors or {}).items()}
        for prefix, module in self._modules().items():
            content |= {f"{prefix}.{key}": value for key, value in named_once(module).items()}
        for part, optimiser in self.optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                content |= {f"optimiser.{part}.{index}.{key}": torch.as_tensor(v) for key, v in state.items()}
        content |= {f"pool.{name}": torch.stack(pool.images) for name, pool in self._pools() if pool.images}
        with replacing(folder / TENSORS_NAME) as path:
            save_tensors(content, path, metadata={"training": json.dumps(metadata)})

    def load(self, folder: str | Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Continue from what :meth:`save` wrote.

        Returns:
            The facts, and the further tensors, that were saved with it.

        Raises:
            UserError: nothing was saved there, or with other settings.
        """
        path = Path(folder) / TENSORS_NAME
        tensors = read_safetensors(path)
        saved = read_metadata(path)
        refuse_changes(saved["settings"], self.settings.to_json(), "the interrupted run", "Resume with equal settings.")
        self.step = saved["step"]
        for prefix, module in self._modules().items():
            load_into(module, with_prefix(tensors, prefix + "."), path)
        for part, optimiser in self.optimisers.items():
            state: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in with_prefix(tensors, f"optimiser.{part}.").items():
                index, _, entry = key.partition(".")
                state.setdefault(int(index), {})[entry] = value
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        for name, pool in self._pools():
            pool.images = list(tensors.get(f"pool.{name}", torch.empty(0)).to(self.device))
        return saved, with_prefix(tensors, FURTHER)


def _networks(sides: Iterable[Side]) -> Iterator[nn.Module]:
    """Yield the networks that are trained: generators and discriminators."""
    for side in sides:
        yield from (network for network in (side.generator, side.discriminator) if network is not None)


def _apply(optimiser: torch.optim.Optimizer, updates: Sequence[Update]) -> None:
    """Take the optimiser's step with the sum of all sides' gradients."""
    if not updates:
        return
    gradients = zip(*(update.gradients for update in updates), strict=True)
    for parameter, found in zip(optimiser.param_groups[0]["params"], gradients, strict=True):
        there = [gradient for gradient in found if gradient is not None]
        parameter.grad = sum(there[1:], there[0]) if there else None
    optimiser.step()
