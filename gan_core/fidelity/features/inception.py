"""The network of the usual FID: the 2,048 values after the last pooling of the Inception-v3 of 2015-12-05.

The network is that of torch-fidelity (Obukhov et al. 2020), which gives the features of the TensorFlow original (Heusel
et al. 2017). The user provides the file of its weights; nothing is downloaded here. n images, D = FEATURES.
"""

import copy
import hashlib
import io
import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gan_core.config.input_error import InputError, home_path
from gan_core.data.dataset import Dataset

FEATURES = 2_048
IMAGES_AT_ONCE = 50  # the network enlarges each to 299x299 pixels
# The same file under the names of pytorch-fid and torch-fidelity; a name ends with the beginning of its SHA-256.
WEIGHTS_FILES = ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth")
WEIGHTS_SOURCE = "https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights"
PROMISED_HASH = re.compile(r"-([0-9a-f]{8,64})\.pth$")  # the convention of torch.hub
RECIPE = "1:uint8:2048"


@dataclass(frozen=True)
class InceptionExtractor:
    """Gives the 2,048 features of the usual FID. They are not standardised, so that scores compare with published ones.

    name: includes a hash of the weights and of the way in which images are passed to the network.
    """

    name: str
    network: nn.Module
    features: int = FEATURES
    classifies: bool = False
    weights: str = ""

    def __call__(self, images: Tensor) -> tuple[Tensor, None]:
        """Features [n, D] of images [n, 1 or 3, H, W] in [-1, 1], on the same device.

        They are set to NaN for an image that is not finite, because the network gets bytes, which cannot express it.
        """
        with torch.no_grad():
            found = torch.cat([self.network(to_bytes(part))[0] for part in images.split(IMAGES_AT_ONCE)])
        broken = ~images.isfinite().flatten(1).all(1, keepdim=True)
        return found.masked_fill(broken, torch.nan), None

    def to(self, device: torch.device | str) -> "InceptionExtractor":
        """A copy on another device, or this object if it is there already."""
        if next(self.network.parameters()).device == torch.device(device):
            return self
        return InceptionExtractor(self.name, copy.deepcopy(self.network).to(device))


def to_bytes(images: Tensor) -> Tensor:
    """Rounds images [n, 1 or 3, H, W] in [-1, 1] to uint8 [n, 3, H, W]; greyscale is repeated in three channels."""
    nearest = (images.clamp(-1, 1) * 127.5 + 127.5).round().nan_to_num().to(torch.uint8)
    return nearest.expand(-1, 3, -1, -1)


def load_inception(dataset: Dataset, weights: Path | None = None) -> InceptionExtractor:
    """Loads the extractor with the weights of a file.

    weights: the file; by default the published one in the folder of torch.hub ($TORCH_HOME/hub/checkpoints, usually
    under ~/.cache/torch). If the name holds a SHA-256, the content must match it. torch unpickles the file with
    weights_only, so it can contain tensors but run nothing. Raises InputError if the data are not images of 1 or 3
    channels, if torch-fidelity is not installed, and if the weights are missing, do not match their name, or belong to
    another network.
    """
    shape = dataset.sample_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise InputError(
            f"features 'inception' need images of 1 or 3 channels, and samples of data set {dataset.name!r} are "
            f"{list(shape)}; choose 'pca'"
        )
    path = _weights_path(weights)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    promised = PROMISED_HASH.search(path.name)
    if promised and not digest.startswith(promised[1]):
        raise InputError(
            f"{path} is not the file its name says: its SHA-256 must begin with {promised[1]}, got {digest[:12]}; "
            "fetch it again, or rename it if you mean other weights"
        )
    name = hashlib.sha256(f"{RECIPE}:{digest}".encode()).hexdigest()[:12]
    return InceptionExtractor(f"inception{FEATURES}-{name}", _network(path, content))


def _weights_path(weights: Path | None) -> Path:
    if weights is not None:
        path = home_path(weights)
        if not path.is_file():
            raise InputError(f"no weights file {path}; give the path of {WEIGHTS_FILES[0]}, from {WEIGHTS_SOURCE}")
        return path
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    found = next((folder / name for name in WEIGHTS_FILES if (folder / name).is_file()), None)
    if found is None:
        raise InputError(
            f"features 'inception' need the file {WEIGHTS_FILES[0]}, and it is not in {folder}; put it there from "
            f"{WEIGHTS_SOURCE}, or give its path as the weights"
        )
    return found


def _network(path: Path, content: bytes) -> nn.Module:
    """The network of torch-fidelity with these weights.

    Its constructor trusts the file that it reads, and downloads one if none is given. So it is given a copy that holds
    the checked tensors alone.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import (  # pyright: ignore[reportMissingImports]
            FeatureExtractorInceptionV3,
        )
    except ModuleNotFoundError as error:
        raise InputError(
            "features 'inception' need the package torch-fidelity, which is not installed; "
            'pip install "gan-sweep[inception]"'
        ) from error
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(f"{path} is not a file of torch weights; give {WEIGHTS_FILES[0]}") from error
    checked = io.BytesIO()
    torch.save(state, checked)
    checked.seek(0)
    try:
        with torch.random.fork_rng(devices=[]):  # drawing the initial values must not advance the global generator
            return FeatureExtractorInceptionV3("inception", [str(FEATURES)], feature_extractor_weights_path=checked)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{path} holds no weights of the FID's Inception-v3; give {WEIGHTS_FILES[0]}") from error
