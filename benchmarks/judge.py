"""A judge that neither side of `benchmarks.search` has seen: a convolutional classifier of MNIST of its own kind, and
the Frechet distance in its features. N images, D features.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.data.dataset import Dataset
from gan_core.fidelity.distances import covariance_factor, frechet_distance, moments
from gan_core.training.checkpoint import load_tensors, save_tensors

FEATURES = 128
EPOCHS, BATCH, RATE, SEED = 3, 128, 1e-3, 20_000
AT_ONCE = 1000


class Judge(nn.Module):
    """Two convolutions and a hidden layer, with ReLU and max pooling: unlike the scores' own feature network."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 32, 5, padding=2), nn.Conv2d(32, 64, 5, padding=2)
        self.hidden, self.classes = nn.Linear(64 * 7 * 7, FEATURES), nn.Linear(FEATURES, 10)

    def features(self, images: Tensor) -> Tensor:
        """Images [N, 1, 28, 28] in [-1, 1] -> [N, D]."""
        x = F.max_pool2d(F.relu(self.first(images)), 2)
        x = F.max_pool2d(F.relu(self.second(x)), 2)
        return F.relu(self.hidden(x.flatten(1)))

    def all_features(self, images: Tensor) -> Tensor:
        """`features`, a thousand images at a time, without gradients: [N, D]."""
        with torch.no_grad():
            return torch.cat([self.features(part) for part in images.split(AT_ONCE)])


def trained_judge(dataset: Dataset, file: Path) -> Judge:
    """The judge of a data set's training split, from the file or trained and written there."""
    judge = Judge()
    if file.exists():
        judge.load_state_dict(load_tensors(file))
        return judge
    generator = torch.Generator().manual_seed(SEED)
    for weights in judge.parameters():
        bound = 1 / max(1, weights[0].numel()) ** 0.5
        nn.init.uniform_(weights, -bound, bound, generator)
    images, labels = dataset.train, dataset.train_labels
    assert labels is not None
    adam = torch.optim.Adam(judge.parameters(), RATE)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(images), generator=generator).split(BATCH):
            adam.zero_grad()
            F.cross_entropy(judge.classes(judge.features(images[part])), labels[part]).backward()
            adam.step()
    save_tensors(file, dict(judge.state_dict()))
    return judge


def accuracy(judge: Judge, dataset: Dataset) -> float:
    """The share of held-out images whose class it names."""
    assert dataset.held_out_labels is not None
    with torch.no_grad():
        found = judge.classes(judge.all_features(dataset.held_out)).argmax(1)
    return float((found == dataset.held_out_labels).double().mean())


def judged_distance(judge: Judge, dataset: Dataset, images: Tensor) -> float:
    """The Frechet distance of images [N, 1, 28, 28] to the held-out split, in the judge's features."""
    mean, covariance = moments(judge.all_features(images).unsqueeze(0))
    real_mean, real_covariance = moments(judge.all_features(dataset.held_out).unsqueeze(0))
    factor = covariance_factor(real_covariance[0])
    return float(frechet_distance(mean, covariance, real_mean[0], real_covariance[0], factor)[0])
