"""Side and CycleGAN, and the files that hold them.

A :class:`Side` is one direction of translation, named A2B or B2A: a generator and the discriminator that judges *its
output*. Known file layouts differ in who judges whom (see :data:`LAYOUTS`). Foreign files are read with
``torch.load(weights_only=True)`` only; ours are safetensors beside a JSON file with the architecture.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ganprune.errors import UserError
from ganprune.files import check_format, parse_json, replace, replace_with
from ganprune.models.architecture import Config, build, config_from_json, infer_discriminator, infer_generator, skeleton
from ganprune.sizes import Size, size_text

SIDES = ("A2B", "B2A")
OTHER = {"A2B": "B2A", "B2A": "A2B"}
SOURCE = {"A2B": "A", "B2A": "B"}
TARGET = {"A2B": "B", "B2A": "A"}
FORMAT = 1
CONFIG_NAME, WEIGHTS_NAME = "cyclegan.json", "cyclegan.safetensors"

State = dict[str, torch.Tensor]

# Layout -> (side, part) -> file name. In the first, D_A judges the output of G_A (domain B); in the second, netD_B
# judges the output of netG_A2B.
LAYOUTS: dict[str, dict[tuple[str, str], str]] = {
    "latest_net": {
        ("A2B", "generator"): "latest_net_G_A.pth", ("A2B", "discriminator"): "latest_net_D_A.pth",
        ("B2A", "generator"): "latest_net_G_B.pth", ("B2A", "discriminator"): "latest_net_D_B.pth",
    },
    "netG_A2B": {
        ("A2B", "generator"): "netG_A2B.pth", ("A2B", "discriminator"): "netD_B.pth",
        ("B2A", "generator"): "netG_B2A.pth", ("B2A", "discriminator"): "netD_A.pth",
    },
}  # fmt: skip


@dataclass
class Side:
    """One direction of translation.

    Attributes:
        name: "A2B" or "B2A".
        generator: source images -> target images, both (B, C, H, W) in [-1, 1].
        discriminator: judges this generator's output against real images of the target domain.
    """

    name: str
    generator: nn.Module
    discriminator: nn.Module

    @property
    def source(self) -> str:
        """Domain of the input images: "A" or "B"."""
        return SOURCE[self.name]

    @property
    def target(self) -> str:
        """Domain of the output images: "A" or "B"."""
        return TARGET[self.name]


class CycleGAN(Mapping[str, Side]):
    """Both sides of a CycleGAN: ``cyclegan["A2B"].generator``.

    Args:
        sides: the two sides, in either order.
    """

    def __init__(self, *sides: Side):
        self._sides = {side.name: side for side in sorted(sides, key=lambda side: SIDES.index(side.name))}
        self.derived: dict[object, Any] = {}  # what others computed once from these networks, by their own keys

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "derived": {}}  # a copy or a worker derives its own

    def __getitem__(self, name: str) -> Side:
        return self._sides[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sides)

    def __len__(self) -> int:
        return len(self._sides)

    def partner(self, name: str) -> Side:
        """Return the side that translates back."""
        return self._sides[OTHER[name]]

    def networks(self) -> dict[str, nn.Module]:
        """Return all networks by "A2B.generator", "A2B.discriminator", ..."""
        return {
            f"{name}.{part}": getattr(side, part)
            for name, side in self.items()
            for part in ("generator", "discriminator")
        }

    def to(self, device: torch.device | str) -> CycleGAN:
        for network in self.networks().values():
            network.to(device)
        return self

    def with_generators(self, generators: Mapping[str, nn.Module]) -> CycleGAN:
        """Return a CycleGAN of those generators and copies of these discriminators."""
        return CycleGAN(*(Side(n, generators[n], copy.deepcopy(s.discriminator)) for n, s in self.items()))


def new_cyclegan(generator: Config, discriminator: Config, seed: int) -> CycleGAN:
    """Build an untrained CycleGAN, both sides alike, initialised from ``seed``."""
    random_source = torch.Generator().manual_seed(seed)
    return CycleGAN(
        *(Side(name, build(generator, random_source), build(discriminator, random_source)) for name in SIDES)
    )


def save_cyclegan(cyclegan: CycleGAN, folder: str | Path, *, half: bool = False) -> None:
    """Write ``cyclegan.json`` and ``cyclegan.safetensors`` into a folder, each atomically.

    Args:
        cyclegan: networks whose ``config`` says their architecture.
        folder: made if missing.
        half: store float16 (half the bytes; they are float32 again when loaded).

    Raises:
        UserError: the folder can't be written; a checkpoint that was there before is whole.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    networks = cyclegan.networks()
    architecture = {name: network.config.to_json() for name, network in networks.items()}  # type: ignore[union-attr, operator]
    tensors = {
        f"{name}.{key}": (value.half() if half and value.is_floating_point() else value).cpu().contiguous()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    replace_with(folder / WEIGHTS_NAME, lambda path: save_file(tensors, path))
    text = json.dumps({"format": FORMAT, "architecture": architecture}, indent=1)
    replace(folder / CONFIG_NAME, text + "\n")


def load_cyclegan(folder: str | Path, *, device: torch.device | str = "cpu") -> CycleGAN:
    """Load a trained CycleGAN: our own format, or a layout of :data:`LAYOUTS`, with the right judge for each side.

    Args:
        folder: the checkpoint's folder.
        device: where the networks go.

    Returns:
        Both sides, float32, in evaluation mode.

    Raises:
        UserError: the folder, a side or a tensor is missing, extra or misshapen; it is named.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError("checkpoint", str(folder), "an existing folder", "Check --checkpoint.")
    own = (folder / CONFIG_NAME).is_file()
    cyclegan = _load_own(folder) if own else _load_layout(folder, _recognise(folder))
    for network in cyclegan.networks().values():
        network.eval().requires_grad_(False)
    return cyclegan.to(device)


@torch.no_grad()
def check_size(cyclegan: CycleGAN, size: Size) -> None:
    """Check that RGB images of this (height, width) pass through all networks, which are in evaluation mode.

    Raises:
        UserError: a network can't take them, most often because they are too small for the discriminator.
    """
    for name, network in cyclegan.networks().items():
        try:
            network(torch.zeros(1, 3, *size, device=next(network.parameters()).device))
        except (RuntimeError, ValueError) as error:
            raise UserError(
                "size",
                f"{size_text(size)}, which the {name.replace('.', ' ')} can't take ({str(error).splitlines()[0]})",
                "RGB images that fit the networks", "Choose a larger --size, or a checkpoint for RGB images.",
            ) from error  # fmt: skip


def _recognise(folder: Path) -> str:
    for name, files in LAYOUTS.items():
        present = {key for key, file in files.items() if (folder / file).is_file()}
        if not present:
            continue
        missing = [files[key] for key in files if key not in present]
        if missing:
            raise UserError(
                "checkpoint", f"{folder} without {', '.join(missing)}", "two generators and two discriminators",
                "Add the missing files: co-evolution needs both sides.",
            )  # fmt: skip
        return name
    known = ", ".join([CONFIG_NAME, *(files["A2B", "generator"] for files in LAYOUTS.values())])
    raise UserError("checkpoint", f"{folder} (no known files)", f"a folder with one of {known}", "Check --checkpoint.")


def _load_layout(folder: Path, layout: str) -> CycleGAN:
    sides = []
    for name in SIDES:
        networks = {}
        for part, infer in (("generator", infer_generator), ("discriminator", infer_discriminator)):
            path = folder / LAYOUTS[layout][name, part]
            state = read_pth(path)
            try:
                config = infer(state, path)
            except (IndexError, ValueError, StopIteration) as error:  # names or shapes that no such network has
                raise UserError(
                    part, f"{path} ({error})", "the tensors of a CycleGAN", "Check --checkpoint."
                ) from error
            networks[part] = _network(config, state, path)
        sides.append(Side(name, networks["generator"], networks["discriminator"]))
    return CycleGAN(*sides)


def _load_own(folder: Path) -> CycleGAN:
    path = folder / WEIGHTS_NAME
    architecture = _read_architecture(folder / CONFIG_NAME)
    tensors = read_safetensors(path)
    unknown = [key for key in tensors if ".".join(key.split(".")[:2]) not in architecture]
    if unknown:
        raise UserError("checkpoint", f"{path} with extra tensor {unknown[0]}", "only known networks", "Save it again.")
    sides = []
    for name in SIDES:
        networks = {}
        for part in ("generator", "discriminator"):
            key = f"{name}.{part}"
            if key not in architecture:
                raise UserError("checkpoint", f"{folder} without {key}", "both sides", "Co-evolution needs both sides.")
            state = {k.removeprefix(key + "."): v for k, v in tensors.items() if k.startswith(key + ".")}
            networks[part] = _network(config_from_json(architecture[key], key), state, path)
        sides.append(Side(name, networks["generator"], networks["discriminator"]))
    return CycleGAN(*sides)


def _network(config: Config, state: State, path: Path) -> nn.Module:
    """Build a network for these tensors, once they are known to be what its architecture says."""
    check_tensors(skeleton(config), state, path)
    return load_into(build(config), state, path)


def _read_architecture(path: Path) -> dict[str, Any]:
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        check_format(data, FORMAT, path)
        return dict(data["architecture"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("checkpoint", f"{path} ({error})", "a JSON file with architecture", "Copy it again.") from error


def read_safetensors(path: Path) -> State:
    """Read a safetensors file; a missing or damaged one is a :class:`UserError`."""
    if not path.is_file():
        raise UserError("checkpoint", f"{path} (missing)", "a safetensors file", "Copy the checkpoint again.")
    try:
        state = load_file(path)
    except Exception as error:  # damaged headers come out as errors of every kind
        raise UserError("checkpoint", f"{path} ({error})", "an undamaged file", "Copy the checkpoint again.") from error
    return _plain(state, path)


def read_pth(path: Path) -> State:
    """Read a PyTorch state dict without executing anything from it.

    A DataParallel prefix and the running statistics that old instance norms saved are dropped by the caller's needs:
    the prefix here, the statistics in :func:`load_into`.

    Raises:
        UserError: the file is damaged, or holds anything but tensors by name.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise UserError(
            "checkpoint", f"{path} ({reason})", "a PyTorch state dict", "Save it with torch.save."
        ) from error
    named = isinstance(state, Mapping) and all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()
    )
    if not named:
        raise UserError("checkpoint", f"{path} ({type(state).__name__})", "tensors by name", "Save model.state_dict().")
    return {key.removeprefix("module."): value for key, value in _plain(state, path).items()}


def _plain(state: Mapping[str, torch.Tensor], path: Path) -> State:
    for key, value in state.items():
        if reason := _unusable(value):
            raise UserError("checkpoint", f"{path}: tensor {key} {reason}", "plain numbers", "Save model.state_dict().")
    return dict(state)


def _unusable(tensor: torch.Tensor) -> str | None:
    """Say why a tensor can be no weight: its kind, or a size that nothing in the file stands behind."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        return f"of a kind that holds no plain numbers ({tensor.layout}, {tensor.device})"
    if tensor.is_complex() or tensor.dtype == torch.bool:
        return f"of {tensor.dtype}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"of shape {tuple(tensor.shape)}, larger than the file"
    return None


def load_into(network: nn.Module, state: State, path: Path) -> nn.Module:
    """Load a state dict into a network; for arguments and errors see :func:`check_tensors`.

    Returns:
        The network.
    """
    network.load_state_dict(check_tensors(network, state, path))
    return network


def check_tensors(network: nn.Module, state: State, path: Path) -> State:
    """Return the tensors that a network is to load, naming the first that is missing, extra, misshapen or no number.

    Args:
        network: whose names and shapes they have to have.
        state: tensors by name; statistics of old instance norms are dropped.
        path: of their file, for the message.

    Raises:
        UserError: the tensors do not fit the network.
    """
    wanted = network.state_dict()
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    state = {key: value for key, value in state.items() if key in wanted or key.rpartition(".")[2] not in statistics}
    missing = [key for key in wanted if key not in state]
    extra = [key for key in state if key not in wanted]
    remedy = "Check that the file belongs to this architecture."
    if missing:
        raise UserError(
            "checkpoint", f"{path} without tensor {missing[0]} ({len(missing)} missing)", "all tensors", remedy
        )
    if extra:
        raise UserError("checkpoint", f"{path} with extra tensor {extra[0]} ({len(extra)} extra)", "no others", remedy)
    for key, value in wanted.items():
        found, named = state[key], f"{path}: tensor {key}"
        if found.is_floating_point() != value.is_floating_point():
            raise UserError("checkpoint", f"{named} of {found.dtype}", f"{value.dtype} or alike", remedy)
        if found.shape != value.shape:
            raise UserError(
                "checkpoint", f"{named} of shape {tuple(found.shape)}", f"shape {tuple(value.shape)}", remedy
            )
        if not torch.isfinite(found.float()).all():
            raise UserError("checkpoint", f"{named} with NaN or Inf", "finite numbers", "Train it again.")
    return state
