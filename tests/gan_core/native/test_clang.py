"""Kernels that clang compiles, for each instruction set that this processor can execute, against torch."""

import shutil
from collections.abc import Iterator

import pytest
import torch
from lost_compiler import forget_compiler
from native_cases import (
    CONVOLUTIONS,
    ELEMENTWISE,
    Tensors,
    assert_is_product,
    convolving,
    drawn,
    multiplying,
    ran,
    together,
)

from gan_core.native.compiler import compiler

pytestmark = pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")


@pytest.fixture(autouse=True)
def _clang(monkeypatch: pytest.MonkeyPatch, each_isa: str) -> Iterator[None]:
    monkeypatch.setenv("CC", "clang")
    forget_compiler()
    assert "clang" in compiler().version
    yield
    forget_compiler()


def test_products_of_every_layout_by_clang():
    sizes = [(20, 33, 70), (7, 3, 1), (19, 40, 1), (1, 5, 9), (17, 520, 21)]
    layouts = [(False, False), (False, True), (True, False), (True, True)]
    made = {f"{of} {by}": multiplying(of, by, torch.float32) for of in sizes for by in layouts}
    mine = ran(*together({name: (function, given) for name, (function, given, _, _) in made.items()}))
    for name, (_, _, a, b) in made.items():
        assert_is_product(mine[f"{name} out"], a, b)


@pytest.mark.slow
def test_convolutions_and_minimal_filtering_by_clang():
    function, tensors = together({name: convolving(name) for name in CONVOLUTIONS})
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    mine = ran(function, tensors)
    function(tensors)
    for name, tensor in tensors.items():
        torch.testing.assert_close(mine[name], tensor, rtol=2e-5, atol=2e-4)


def test_elementwise_calls_by_clang():
    def function(tensors: Tensors) -> None:
        for name, of_two in ELEMENTWISE.items():
            tensors[name].copy_(of_two(tensors["x"], tensors["y"]))

    made = {name: torch.zeros(2, 3, 41) for name in ELEMENTWISE}
    tensors = {"x": drawn(2, 3, 41, dtype=torch.float32), "y": drawn(2, 3, 41, seed=1, dtype=torch.float32), **made}
    mine = ran(function, tensors)
    function(tensors)
    for name in ELEMENTWISE:
        torch.testing.assert_close(mine[name], tensors[name], rtol=2e-6, atol=2e-6)
