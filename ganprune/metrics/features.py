"""Features of images, on which distances between sets of images are measured.

Those of the Inception network that FID and KID are defined by (torch-fidelity's, 2048 wide). A figure means nothing
without saying whose features it was taken on: every one carries :attr:`Features.name`.
"""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ganprune.data.pixels import to_rgb, to_uint8
from ganprune.errors import UserError, did_you_mean, reason
from ganprune.models.weights import read_pth
from ganprune.runs.files import replacing

NONE, INCEPTION = CHOICES = ("none", "inception")
BATCH = 32
CACHE = "features cache"


class Features:
    """Maps images to features, in float32 and in batches, on the device of its network.

    Images are rounded to 8 bits first: what is measured are the pictures that would be saved.

    Args:
        network: in evaluation mode.

    Attributes:
        name: whose features they are, as tables and ``summary.json`` say it.
    """

    name = ""

    def __init__(self, network: nn.Module):
        self.network = network

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, width) float32 features, on the CPU, of (N, 3 or 1, H, W) images in [-1, 1]."""
        device = next(self.network.parameters()).device
        parts = to_uint8(to_rgb(images)).split(BATCH)
        return torch.cat([self.of_pixels(part.to(device)).float().cpu() for part in parts])

    def of_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return (B, width) features of (B, 3, H, W) uint8 images."""
        raise NotImplementedError

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the network's tensors: features of networks with different ones have nothing in common."""
        digest = hashlib.sha256(self.name.encode())
        for key, value in self.network.state_dict().items():
            digest.update(key.encode() + value.cpu().numpy().tobytes())
        return digest.hexdigest()


class Inception(Features):
    """The 2048 pooled features of the Inception network of FID and KID, as torch-fidelity has it.

    Args:
        weights: torch-fidelity's weights file, read without executing anything from it; None to download it to
            PyTorch's own cache, as torch-fidelity does.

    Raises:
        UserError: torch-fidelity is not installed, or the weights can't be had or are not those of this network.
    """

    name = "Inception"

    def __init__(self, weights: str | Path | None = None):
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
        except ImportError as error:
            found, remedy = "inception without torch-fidelity", "Install it: pip install 'ganprune[fid]'"
            raise UserError("features", found, "the package torch-fidelity", remedy) from error
        if weights is not None and not Path(weights).is_file():
            raise UserError("inception weights", str(weights), "an existing file", "Check --inception-weights.")
        state = _download(URL_INCEPTION_V3) if weights is None else read_pth(Path(weights))
        tensors = io.BytesIO()  # torch-fidelity would unpickle the file itself; it is given tensors only
        torch.save(state, tensors)
        tensors.seek(0)
        try:
            network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=tensors)
        except RuntimeError as error:
            found = f"{weights or URL_INCEPTION_V3} ({' '.join(str(error).split())[:160]} ...)"
            expected = "torch-fidelity's weights-inception-2015-12-05-6726825d.pth"
            raise UserError("inception weights", found, expected, "Check --inception-weights.") from error
        super().__init__(network)

    def of_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.network(pixels)[0]  # type: ignore[no-any-return]


def _download(url: str) -> dict[str, torch.Tensor]:
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", progress=False, weights_only=True)
    except Exception as error:  # no network, no room, a damaged copy in the cache
        found, remedy = (
            f"none, and {url} can't be had ({reason(error)})",
            "Get it elsewhere and give --inception-weights PATH.",
        )
        raise UserError("inception weights", found, "torch-fidelity's weights file", remedy) from error


def make_features(
    kind: str, *, weights: str | Path | None = None, device: torch.device | str = "cpu"
) -> Features | None:
    """Return "inception" features on a device, with these weights; none for "none".

    Raises:
        UserError: an unknown kind; see :class:`Inception` for its own.
    """
    if kind not in CHOICES:
        raise UserError("features", kind, " or ".join(CHOICES), did_you_mean(kind, CHOICES))
    if kind == NONE:
        return None
    features = Inception(weights)
    features.network.to(device)
    return features


def cached(features: Features, images: torch.Tensor, folder: Path | None) -> torch.Tensor:
    """Return the features of images, from a folder where they have been kept, or kept there for the next time.

    Mean and covariance follow from them in no time, so features are all that is kept. A file's name says which network
    and which pixels it belongs to; a damaged file is replaced.

    Args:
        features: the extractor.
        images: (N, 3, H, W) in [-1, 1].
        folder: where; None keeps nothing.

    Raises:
        UserError: the folder can't be written.
    """
    if folder is None:
        return features(images)
    pixels = to_uint8(images)
    key = hashlib.sha256(f"{features.digest} {tuple(pixels.shape)} ".encode() + pixels.numpy().tobytes()).hexdigest()
    path = folder / f"{features.name.replace(' ', '-').lower()}-{key[:24]}.safetensors"
    with suppress(OSError, SafetensorError, KeyError):
        return load_file(path)["features"]
    values = features(images)
    with replacing(path, field=CACHE) as temporary:
        save_file({"features": values}, temporary)
    return values
