"""One thread, a home and a cache of the tests' own, and the two data sets that need no files."""

import pytest
import torch

from gan_core.data import Dataset, load_dataset


@pytest.fixture(autouse=True, scope="session")
def _own_home_and_cache(tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
        patch.setenv("GAN_SWEEP_CACHE", str(home / "gan-sweep-cache"))
        yield


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def gaussian() -> Dataset:
    return load_dataset("gaussian")
