"""One thread, and the two data sets that need no files."""

import pytest
import torch

from gan_core.data import Dataset, load_dataset


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """The laws hold bit for bit with one thread; the machine is shared."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def gaussian() -> Dataset:
    return load_dataset("gaussian")
