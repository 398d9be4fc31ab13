"""Real samples beside the generated ones: drawn once for a run, in the same way."""

from typing import TYPE_CHECKING

import numpy as np

from results.pictures import draw_samples
from results.store import RunFolder
from sweep.cohorts.best_rungs import PICTURED_SAMPLES

if TYPE_CHECKING:
    from gan_core.data.dataset import Dataset


def real_samples(dataset: "Dataset") -> np.ndarray:
    """Held-out samples [n, ...], as many as a picture of generated ones has, evenly from the first to the last, because
    folders of images come class after class.
    """
    count = min(PICTURED_SAMPLES, len(dataset.held_out))
    places = np.linspace(0, len(dataset.held_out) - 1, count).round().astype(int)
    return dataset.held_out[places].cpu().numpy()


def keep_real_samples(folder: RunFolder, samples: np.ndarray) -> None:
    """Draws real samples in the folder of a run, unless it has their picture. Raises OSError if it cannot."""
    if not folder.real_samples.is_file():
        draw_samples(samples, folder.real_samples)
