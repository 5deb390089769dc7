"""CycleGANTrainer: pretraining and fine-tuning of both sides, with CycleGAN's objective or distilled.

The objective is CycleGAN's (Zhu et al., ICCV 2017, and Eq. 1-3 of Shu et al.): LSGAN, cycle consistency weighted by
lambda, identity by 0.5 * lambda, L1 norms, an image pool of 50, Adam at a constant and then linearly decaying rate. A
*distilled* fine-tune adds distances to a teacher, the original CycleGAN: of images (L1), of what its discriminators say
of them (L_DisA, Eq. 5) and see in them (feature matching), of features inside the generators.

Everything random is derived from (seed, step), so a run that was interrupted goes on exactly as if it had not been.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from ganprune.data.images import Split, UnpairedImages
from ganprune.errors import UserError
from ganprune.losses import adversarial, discriminator_aware
from ganprune.models.cyclegan import PARTS, CycleGAN
from ganprune.models.weights import load_into, read_safetensors
from ganprune.runs.directory import refuse_changes
from ganprune.runs.files import replacing
from ganprune.settings.training import TAUGHT, TrainingSettings
from ganprune.training.augmentation import Augmentation, ImagePool, epoch_indices
from ganprune.training.distillation import FeatureDistillation, feature_matching, seen_by, tapped
from ganprune.training.state import FORMAT, FURTHER, TENSORS_NAME, read_metadata, with_prefix


class CycleGANTrainer:
    """Trains both generators and discriminators of a CycleGAN, in place, step by step.

    Args:
        cyclegan: the networks to train.
        images: their training images are used, by domain.
        settings: the objective and schedule.
        teacher: the original CycleGAN, for distillation.
        sides: which sides are trained; the others are only their reverse generators.

    Attributes:
        adversaries: by side, the discriminators that are trained against the generator.
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
    ):
        for term in TAUGHT:
            if getattr(settings, term) > 0 and teacher is None:
                raise UserError(term, getattr(settings, term), "0 without a teacher", "Give the original checkpoint.")
        self.cyclegan, self.images, self.settings, self.teacher = cyclegan, images, settings, teacher
        self.device = cyclegan.device
        self.step = 0
        self.sides = {name: side for name, side in cyclegan.items() if sides is None or name in sides}
        self.pools = {name: ImagePool(settings.pool) for name in self.sides}
        self.adversaries = self._adversaries()
        both = [side for name, side in self.sides.items() if settings.identity or name in self.adversaries]
        self.domains = sorted({side.source for side in self.sides.values()} | {side.target for side in both})
        self.augmentation = Augmentation(load_scale=settings.augment)
        for network in cyclegan.networks().values():
            network.eval().requires_grad_(False)
        # Mixed precision on a CPU takes about 15 % less time with channels last.
        layout = torch.channels_last if settings.precision == "bfloat16" else torch.contiguous_format
        for side in self.sides.values():
            side.generator.train().requires_grad_(True).to(memory_format=layout)
            if side.discriminator is not None:
                side.discriminator.train().requires_grad_(True).to(memory_format=layout)
        self.matchers: dict[str, FeatureDistillation] = {}  # adapters between features and the teacher's
        if settings.features and teacher is not None:
            for name, side in self.sides.items():
                pair = side.generator, teacher[name].generator
                self.matchers[name] = FeatureDistillation(*pair, self.batch(side.source))
        parts = PARTS if any(side.discriminator is not None for side in self.sides.values()) else PARTS[:1]
        self.optimisers = {part: self._adam(part) for part in parts}
        self._check_terms()

    def _adversaries(self) -> dict[str, nn.Module]:
        """Return the discriminators that are trained against their side's generator: that takes real images, too."""
        found = {}
        for name, side in self.sides.items():
            with contextlib.suppress(KeyError):  # no such images
                if self.settings.adversarial and side.discriminator is not None and len(self.images[side.target].train):
                    found[name] = side.discriminator
        return found

    def _check_terms(self) -> None:
        """Check that every side has something to learn from."""
        settings = self.settings
        for name, side in self.sides.items():
            looked_at = side.discriminator is not None and (settings.disa or settings.feature_matching)
            taught = self.teacher is not None and (settings.distil or settings.features or looked_at)
            own = name in self.adversaries or settings.identity * settings.lam or self._reverse(name) is not None
            if not (taught or own):
                found = f"terms that generator {name} has no networks for"
                raise UserError(
                    "objective", found, "one that applies to a generator alone", "Distil: --finetune distil."
                )

    def _reverse(self, name: str) -> nn.Module | None:
        """Return a side's reverse generator, if the cycle counts and there is one."""
        return self.cyclegan.reverse(name) if self.settings.lam else None

    def _adam(self, part: str) -> torch.optim.Adam:
        networks = [getattr(side, part) for side in self.sides.values() if getattr(side, part) is not None]
        networks += self.matchers.values() if part == "generator" else []
        parameters = itertools.chain(*(network.parameters() for network in networks))
        return torch.optim.Adam(list(parameters), lr=self.settings.learning_rate, betas=self.settings.betas)

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
            network.eval().requires_grad_(False).to(memory_format=torch.contiguous_format)

    def train_step(self) -> dict[str, float]:
        """Update generators, then discriminators, once; return the losses (means over elements, unweighted)."""
        for part, optimiser in self.optimisers.items():
            factor = self.settings.discriminator_rate if part == "discriminator" else 1.0
            optimiser.param_groups[0]["lr"] = factor * self.settings.rate(self.step)
        real = {domain: self.batch(domain) for domain in self.domains}
        losses, fakes = self.update_generators(real)
        losses |= self.update_discriminators(real, fakes)
        self.step += 1
        return {name: float(value.detach()) for name, value in losses.items()}

    def batch(self, domain: str) -> torch.Tensor:
        """Return this step's augmented training images of one domain: (B, C, H, W)."""
        train = self.images[domain].train
        seed = f"{self.settings.seed}:{domain}"
        indices = epoch_indices(len(train), self.settings.batch, self.step, seed)
        draw = torch.Generator().manual_seed(random.Random(f"{seed}:{self.step}").getrandbits(62))
        # Images that are cut out of larger ones at random need no enlarging to be cut back from.
        augmentation = self.augmentation if train.framing.load is None else replace(self.augmentation, load_scale=1.0)
        return augmentation(train.training_tensor(indices, draw), draw).to(self.device)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        enabled = self.settings.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def update_generators(
        self, real: dict[str, torch.Tensor]
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Update generators once; return the losses by name, and each side's images.

        Args:
            real: images of each of :attr:`domains`, (B, C, H, W).
        """
        for discriminator in self.adversaries.values():
            discriminator.requires_grad_(False)
        losses: dict[str, torch.Tensor] = {}
        objectives, fakes = [], {}
        for name in self.sides:
            objective, terms, fakes[name] = self._generator_objective(name, real)
            objectives.append(objective)
            losses |= {f"{term}_{name}": value for term, value in terms.items()}
        self._apply("generator", objectives)
        for discriminator in self.adversaries.values():
            discriminator.requires_grad_(True)
        return losses, fakes

    def _generator_objective(
        self, name: str, real: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Return one side's weighted objective, its terms, and its images."""
        settings, side = self.settings, self.cyclegan[name]
        source, reverse = real[side.source], self._reverse(name)
        terms: dict[str, torch.Tensor] = {}
        with self._autocast():
            inputs = torch.cat([source, real[side.target]]) if settings.identity else source  # one pass for both
            paths = self.matchers[name].paths if name in self.matchers else []
            outputs, features = tapped(side.generator, paths, inputs)
            outputs = outputs.float()
            fake = outputs[: len(source)]
            if name in self.adversaries:
                terms["adversarial"] = adversarial(self.adversaries[name](fake).float(), True)
            if reverse is not None:
                terms["cycle"] = F.l1_loss(reverse(fake).float(), source)
            if settings.identity:
                terms["identity"] = F.l1_loss(outputs[len(source) :], real[side.target])
            if self.teacher is not None:
                terms |= self._taught(name, source, fake, [feature[: len(source)] for feature in features])
        return self._sum(settings.weights[term] * value for term, value in terms.items()), terms, fake

    def _taught(
        self, name: str, source: torch.Tensor, fake: torch.Tensor, features: list[torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the terms that compare one side's images and features with its teacher's."""
        assert self.teacher is not None
        settings, teacher, terms = self.settings, self.teacher[name], {}
        paths = self.matchers[name].paths if name in self.matchers else []
        with torch.no_grad():
            wanted, known = tapped(teacher.generator, paths, source)
            wanted = wanted.float()
        if settings.distil:
            terms["distil"] = F.l1_loss(fake, wanted)
        if (settings.disa or settings.feature_matching) and teacher.discriminator is not None:
            with torch.no_grad():
                said, seen = seen_by(teacher.discriminator, wanted)
            answer, sight = seen_by(teacher.discriminator, fake)
            if settings.disa:
                terms["disa"] = discriminator_aware(answer.float(), said.float())
            if settings.feature_matching and seen:
                terms["feature_matching"] = feature_matching(sight, seen)
        if settings.features:
            terms["features"] = self.matchers[name](features, known)
        return terms

    def update_discriminators(
        self, real: dict[str, torch.Tensor], fakes: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Update discriminators once, with what :meth:`update_generators` returned; return the losses by name."""
        losses = {}
        for name, discriminator in self.adversaries.items():
            draw = random.Random(f"{self.settings.seed}:{name}:{self.step}")
            target, older = real[self.sides[name].target], self.pools[name].query(fakes[name], draw)
            with self._autocast():
                output = discriminator(torch.cat([target, older])).float()
            halves = output[: len(target)], output[len(target) :]
            losses[f"discriminator_{name}"] = 0.5 * (adversarial(halves[0], True) + adversarial(halves[1], False))
        if losses:
            self._apply("discriminator", losses.values())
        return losses

    def _sum(self, terms: Iterable[torch.Tensor]) -> torch.Tensor:
        return sum(terms, torch.zeros((), device=self.device))

    def _apply(self, part: str, objectives: Iterable[torch.Tensor]) -> None:
        self.optimisers[part].zero_grad(set_to_none=True)
        self._sum(objectives).backward()
        self.optimisers[part].step()

    def _modules(self) -> dict[str, nn.Module]:
        """Return what is saved whole, by what begins the names of its tensors."""
        return {**self.cyclegan.networks(), **{f"adapters.{name}": net for name, net in self.matchers.items()}}

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
            content |= {f"{prefix}.{key}": value for key, value in module.state_dict().items()}
        for part, optimiser in self.optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                content |= {f"optimiser.{part}.{index}.{key}": torch.as_tensor(v) for key, v in state.items()}
        content |= {f"pool.{name}": torch.stack(pool.images) for name, pool in self.pools.items() if pool.images}
        content = {key: value.detach().cpu().contiguous() for key, value in content.items()}
        with replacing(folder / TENSORS_NAME) as path:
            save_file(content, path, metadata={"training": json.dumps(metadata)})

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
        for name, pool in self.pools.items():
            pool.images = list(tensors.get(f"pool.{name}", torch.empty(0)).to(self.device))
        return saved, with_prefix(tensors, FURTHER)
