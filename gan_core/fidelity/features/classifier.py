"""A small classifier trained on a data set's training split: its hidden layer gives features, its head class shares.

Trained once for each data set and recipe, deterministically, on the CPU with one thread, and cached under a hash of
both; several processes may want it at once. n images, C, H, W an image, D = FEATURES, K classes.
"""

import copy
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gan_core.config.input_error import InputError
from gan_core.data.dataset import Dataset
from gan_core.files.cache import alone, keep_tensors, kept_tensors, writable_cache_folder
from gan_core.lanes.axis import lane_arithmetic
from gan_core.lanes.streams import Stream, stream

FEATURES = 64
CHANNELS = 16  # of the first convolution; the second has twice as many
SLOPE = 0.1  # of the leaky rectifiers: no unit dies, so every feature keeps a spread
STEPS = 800
BATCH = 128
PEAK_LR = 6e-3  # of Adam: reached linearly in WARM_UP of the steps, then linearly to zero
WARM_UP = 0.2
SMOOTHING = 0.1  # of the labels
SHIFT_PIXELS = 1  # each training image is moved by up to this much along each axis
SEED = 0
SECONDS_A_PIXEL = 6 / 28**2
SMALLEST_PIXELS = 4  # two strided convolutions leave one cell of it
RECIPE = f"2:{FEATURES}:{CHANNELS}:{SLOPE}:{STEPS}:{BATCH}:{PEAK_LR}:{WARM_UP}:{SMOOTHING}:{SHIFT_PIXELS}:{SEED}"


class Classifier(nn.Module):
    """Two strided convolutions, a linear layer to FEATURES, a linear layer to the classes.

    For images of any size from SMALLEST_PIXELS on: every pixel is seen, whether or not the size is a multiple of 4.
    """

    def __init__(self, channels: int, height_pixels: int, width_pixels: int, classes: int) -> None:
        super().__init__()
        cells = (height_pixels // 4) * (width_pixels // 4)
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, CHANNELS, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(CHANNELS, 2 * CHANNELS, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(2 * CHANNELS * cells, FEATURES),
        )
        self.head = nn.Sequential(nn.LeakyReLU(SLOPE), nn.Linear(FEATURES, classes))
        self.feature_mean = nn.Buffer(torch.zeros(FEATURES))  # over the training split; and the deviation
        self.feature_deviation = nn.Buffer(torch.ones(FEATURES))

    def forward(self, images: Tensor) -> Tensor:
        """[n, C, H, W] in [-1, 1] -> logits [n, classes]."""
        return self.head(self.trunk(images))


@dataclass(frozen=True)
class ClassifierExtractor:
    """Images -> standardised features: mean 0 and deviation 1 over the training split fix a distance's scale.

    name: with a hash of data and recipe, so that scores of different extractors never mix; weights: a hash of them, for
    another machine's rounding trains others by the same recipe. mean, deviation: [D].
    """

    name: str
    classifier: Classifier
    mean: Tensor
    deviation: Tensor
    weights: str
    features: int = FEATURES
    classifies: bool = True

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[n, C, H, W] in [-1, 1] -> features [n, D] and class probabilities [n, K], on the images' own device."""
        with torch.no_grad():
            raw = self.classifier.trunk(images)
            return (raw - self.mean) / self.deviation, self.classifier.head(raw).softmax(1)

    def to(self, device: torch.device | str) -> "ClassifierExtractor":
        """The same extractor on another device; this one stays where it is."""
        if self.mean.device == torch.device(device):
            return self
        moved = copy.deepcopy(self.classifier).to(device)
        return ClassifierExtractor(self.name, moved, self.mean.to(device), self.deviation.to(device), self.weights)


def load_classifier(dataset: Dataset) -> ClassifierExtractor:
    """The classifier of a labelled image data set, trained now if nobody has trained it yet. One process trains, others
    wait; a cache file that cannot be read is made anew. Where the cache cannot be written, a temporary one serves.

    Raises InputError where there are no labels, or images of less than SMALLEST_PIXELS.
    """
    if dataset.train_labels is None:
        raise InputError(
            f"features 'classifier' need labels, and data set {dataset.name!r} has no labels; choose 'pca'"
        )
    if min(dataset.sample_shape[1:]) < SMALLEST_PIXELS:
        raise InputError(
            f"features 'classifier' need images of at least {SMALLEST_PIXELS}x{SMALLEST_PIXELS} pixels, and those of "
            f"data set {dataset.name!r} are {list(dataset.sample_shape)}; choose 'pca'"
        )
    name, path = _name(dataset), _path(dataset)
    with alone(path):
        classifier = _read(path, dataset)
        if classifier is None:
            classifier = train_classifier(dataset)
            keep_tensors(path, classifier.state_dict(), save_file)
    classifier.eval().requires_grad_(False)
    mean, deviation = classifier.feature_mean, classifier.feature_deviation
    return ClassifierExtractor(name, classifier, mean, deviation, _digest(classifier))


def _digest(classifier: Classifier) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(classifier.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def training_seconds(dataset: Dataset) -> float:
    """About how long `train_classifier` takes on one core: 6 s of 28x28 pixels."""
    return SECONDS_A_PIXEL * math.prod(dataset.sample_shape[1:])


def awaits_training(dataset: Dataset) -> bool:
    """Whether `load_classifier` would train one now, which takes seconds; False where there are no labels."""
    return dataset.train_labels is not None and not _path(dataset).exists()


def _name(dataset: Dataset) -> str:
    return f"classifier{FEATURES}-{hashlib.sha256(f'{RECIPE}:{dataset.digest}'.encode()).hexdigest()[:12]}"


def _path(dataset: Dataset) -> Path:
    return writable_cache_folder() / f"{_name(dataset)}.safetensors"


def _read(path: Path, dataset: Dataset) -> Classifier | None:
    tensors = kept_tensors(path, load_file)
    if tensors is None:
        return None
    classifier = _formed_classifier(dataset)
    try:
        classifier.load_state_dict(tensors, assign=True)
    except RuntimeError:  # of another form
        return None
    return classifier


def _formed_classifier(dataset: Dataset) -> Classifier:
    """Shapes only: torch's own initial values would come from the global generator."""
    channels, height, width = dataset.sample_shape
    with torch.device("meta"):
        return Classifier(channels, height, width, dataset.classes)


def initial_classifier(dataset: Dataset) -> Classifier:
    """An untrained classifier: He-normal weights (He et al. 2015) from a keyed stream, zero biases."""
    classifier = _formed_classifier(dataset).to_empty(device="cpu")
    for i, layer in enumerate(m for m in classifier.modules() if isinstance(m, nn.Conv2d | nn.Linear)):
        drawn = stream(SEED, Stream.FEATURE_WEIGHTS, i).standard_normal(tuple(layer.weight.shape), dtype=np.float32)
        deviation = (2 / (1 + SLOPE**2) / layer.weight[0].numel()) ** 0.5
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(drawn) * deviation)
        nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
    nn.init.zeros_(classifier.feature_mean)
    nn.init.ones_(classifier.feature_deviation)
    return classifier


def train_classifier(dataset: Dataset) -> Classifier:
    """A classifier fitted to the training split. Same bits on every run of one machine: one thread, keyed randomness.

    Measured on the held-out split: digits 98.9%, MNIST 98.9%, in 2 and 6 seconds of one core.
    """
    if dataset.train_labels is None:
        raise ValueError(f"data set {dataset.name!r} has no labels to train a classifier with")
    with lane_arithmetic():
        classifier = _fit(initial_classifier(dataset), dataset.train, dataset.train_labels)
        with torch.no_grad():
            raw = torch.cat([classifier.trunk(part) for part in dataset.train.split(1000)])
            classifier.feature_mean.copy_(raw.mean(0))
            classifier.feature_deviation.copy_(raw.std(0).clamp_min(1e-6))
    return classifier


def _fit(classifier: Classifier, images: Tensor, labels: Tensor) -> Classifier:
    optimiser = torch.optim.Adam(classifier.parameters(), fused=True)
    source = stream(SEED, Stream.FEATURE_ORDER)
    order = np.empty(0, np.int64)
    for step in range(STEPS):
        while len(order) < BATCH:
            order = np.concatenate((order, source.permutation(len(images))))
        batch, order = torch.from_numpy(order[:BATCH]), order[BATCH:]
        done = step / STEPS
        optimiser.param_groups[0]["lr"] = PEAK_LR * min((done + 1 / STEPS) / WARM_UP, (1 - done) / (1 - WARM_UP))
        logits = classifier(_shifted(images[batch], source))
        optimiser.zero_grad()
        F.cross_entropy(logits, labels[batch], label_smoothing=SMOOTHING).backward()
        optimiser.step()
    return classifier


def _shifted(images: Tensor, source: np.random.Generator) -> Tensor:
    """Each image moved by its own whole number of pixels, its edge repeated."""
    count, _, height, width = images.shape
    padded = F.pad(images, (SHIFT_PIXELS,) * 4, mode="replicate")
    down, right = torch.from_numpy(source.integers(0, 2 * SHIFT_PIXELS + 1, (2, count, 1, 1)))
    rows, columns = down + torch.arange(height)[:, None], right + torch.arange(width)
    return padded[torch.arange(count)[:, None, None], :, rows, columns].permute(0, 3, 1, 2).contiguous()
