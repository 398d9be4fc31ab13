"""One thread, and the data sets that need no files."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny_arrays import MOST_CASES

from gan_core.data.dataset import Dataset, load_dataset
from gan_core.native.isa import VARIABLE, executable_isas


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """The laws hold bit for bit with one thread; the machine is shared."""
    torch.set_num_threads(1)


ISA_NAMES = [isa.name for isa in executable_isas()]
# Kernels for AVX-512 are those for AVX-512 with BF16 but for products of rounded factors, so one of the two is enough.
LIKE_ANOTHER = ["avx512"] if "avx512_bf16" in ISA_NAMES else []


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.slow) if name in LIKE_ANOTHER else name for name in ISA_NAMES]
)
def each_isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an instruction set that this processor can execute, which kernels in C are made for."""
    monkeypatch.setenv(VARIABLE, request.param)
    return request.param


@pytest.fixture(scope="module", params=MOST_CASES)
def case(request: pytest.FixtureRequest, arithmetic: None) -> str:
    """A tiny array by name: of each family, with each option."""
    return request.param


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def gaussian() -> Dataset:
    return load_dataset("gaussian")


@pytest.fixture(scope="session")
def few(digits: Dataset, gaussian: Dataset) -> Callable[[str], Dataset]:
    """A data set by name, cut to so few samples that a short training passes the end of an epoch."""
    known = {"digits": digits, "gaussian": gaussian, "ring": load_dataset("ring")}

    def cut(name: str) -> Dataset:
        whole = known[name]
        labels = None if whole.train_labels is None else whole.train_labels[:41]
        return replace(whole, train_samples=whole.train[:41], train_labels=labels)

    return cut
