"""ARM's kernels, cross-compiled and run under an emulator, against the numbers of torch and numpy on this processor."""

import math
import platform
from itertools import product

import numpy as np
import pytest
import torch
from emulation import NEON, Emulator, can_emulate
from native_cases import CONVOLUTIONS, ELEMENTWISE, Tensors, assert_is_product, convolving, drawn, multiplying, together

from gan_core.lanes.normals import PAIRS, normals_in_numpy, normals_text
from gan_core.lanes.streams import Stream, stream, words
from gan_core.native.compiler import SINGLE, header, over_lane_header
from gan_core.native.isa import VARIABLE, this_isa
from gan_core.training.native_adam import TEXT as ADAM

pytestmark = pytest.mark.skipif(not can_emulate(), reason="needs aarch64-linux-gnu-gcc and qemu-aarch64")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    return Emulator(tmp_path_factory.mktemp("neon"))


@pytest.fixture(autouse=True)
def _on_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of the machine; only texts are made, and nothing is loaded."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert this_isa() == NEON


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-13), (torch.float32, 2e-6)], ids=str)
def test_elementwise_calls_on_neon(emulator: Emulator, dtype: torch.dtype, rtol: float):
    def function(tensors: Tensors) -> None:
        for name, of_two in ELEMENTWISE.items():
            tensors[name].copy_(of_two(tensors["x"], tensors["y"]))

    made = {name: torch.zeros(2, 3, 41, dtype=dtype) for name in ELEMENTWISE}
    tensors = {"x": drawn(2, 3, 41, dtype=dtype), "y": drawn(2, 3, 41, seed=1, dtype=dtype), **made}
    mine = emulator.ran(function, tensors)
    function(tensors)
    for name in ELEMENTWISE:
        torch.testing.assert_close(mine[name], tensors[name], rtol=rtol, atol=rtol)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_products_on_neon(emulator: Emulator, dtype: torch.dtype):
    sizes = [(20, 33, 70), (17, 40, 16), (7, 3, 1), (1, 5, 9), (19, 40, 1), (3, 16, 1), (64, 64, 48), (17, 520, 21)]
    layouts = [(False, False), (False, True), (True, False), (True, True)]
    made = {f"{of} {by}": multiplying(of, by, dtype) for of, by in product(sizes, layouts)}
    function, tensors = together({name: (one, given) for name, (one, given, _, _) in made.items()})
    mine = emulator.ran(function, tensors)
    for name, (_, _, a, b) in made.items():
        assert_is_product(mine[f"{name} out"], a, b)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-13), (torch.float32, 2e-5)], ids=str)
@pytest.mark.slow
def test_convolutions_and_minimal_filtering_on_neon(emulator: Emulator, dtype: torch.dtype, rtol: float):
    cases = {name: convolving(name) for name in CONVOLUTIONS}
    function, tensors = together(cases)
    tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    mine = emulator.ran(function, tensors)
    function(tensors)
    for name, tensor in tensors.items():
        torch.testing.assert_close(mine[name], tensor, rtol=rtol, atol=10 * rtol)


def test_streams_have_the_same_bits_on_neon(emulator: Emulator):
    seed, count = 7, 4 * PAIRS + 100
    key, counters = words(seed, Stream.DISCRIMINATOR_LATENTS, 3, 1)
    state, out = np.array([*key, *counters], np.uint64), np.zeros(count, np.float32)
    library = emulator.library(normals_text())
    arguments = [(True, 0), (False, 0), (False, count), (True, 1)]
    _, normal = emulator.call(library, "stream_numbers", [state, out], [], arguments)
    bits = stream(seed, Stream.DISCRIMINATOR_LATENTS, 3, 1).bit_generator.random_raw(-(-count // (2 * PAIRS)) * PAIRS)
    assert np.array_equal(normal, normals_in_numpy(bits.view(np.int32))[:count])
    _, uniform = emulator.call(library, "stream_numbers", [state, out], [], arguments, (-1.0, 2.0))
    drawn_here = stream(seed, Stream.DISCRIMINATOR_LATENTS, 3, 1).random(count, dtype=np.float32)
    assert np.array_equal(uniform, 2 * drawn_here - 1)


def test_adam_on_neon_is_torchs(emulator: Emulator):
    rows = [drawn(2, 67, seed=i, dtype=torch.float32) for i in range(2)]
    trained, gradient = (row.numpy() for row in rows)
    mean, square = np.zeros((2, 67), np.float32), np.zeros((2, 67), np.float32)
    pairs = [1e-2, 1e-3], [0.9, 0.5], [0.99, 0.9], [0.0, 20.0], [1.0, 0.5]
    steps, coefficients = np.zeros(2, np.float32), [np.array(pair) for pair in pairs]
    pointers = [trained, gradient, mean, square, steps, *coefficients]
    numbers = np.array([67, *[67] * 4, np.float64(1e-8).view(np.int64)])
    structure = np.concatenate([np.zeros(len(pointers), np.int64), numbers])
    buffers = [np.array([1, 1], np.uint8), structure, *pointers]
    found = emulator.call(
        emulator.library(SINGLE + over_lane_header(ADAM)),
        "program",
        buffers,
        [(1, 8 * i, 2 + i) for i in range(len(pointers))],
        [(False, 2), (True, 1), (True, 0)],
    )
    for lane in range(2):
        expected = torch.nn.Parameter(rows[0][lane].clone())
        expected.grad = rows[1][lane]
        lr, beta1, beta2, decay, share = (float(pair[lane]) for pair in coefficients)
        torch.optim.AdamW([expected], share * lr, (beta1, beta2), weight_decay=decay).step()
        torch.testing.assert_close(torch.from_numpy(found[2][lane]), expected.data, rtol=1e-6, atol=1e-7)


def test_pairs_on_neon(emulator: Emulator):
    """Of a set's own samples: the third nearest of each, and the kernel of the pairs."""
    samples, k = drawn(40, 6, dtype=torch.float32), 2
    squares = samples.square().sum(1)
    products, terms = samples @ samples.T, torch.full((40,), 0.5)
    names = ("terms", "other_terms", "squares", "other_squares", "radii", "other_radii", "kernel_rows")
    given = [terms, terms, squares, squares, terms, terms, torch.zeros(40).double()]
    made = [torch.zeros(40).double(), torch.zeros(1).double(), *(torch.zeros(40) for _ in range(5))]
    made[3] = torch.zeros(40).double()  # `inside`, behind `nearest`
    arrays = [tensor.numpy() for tensor in (*given, *made)]
    structure = np.concatenate([np.zeros(len(arrays), np.int64), np.array([40, 6, k])])
    found = emulator.call(
        emulator.library(SINGLE + over_lane_header(header("pairs.h"))),
        "program",
        [structure, products.numpy(), *arrays],
        [(0, 8 * i, 2 + i) for i in range(len(arrays))],
        [(False, 1), (False, 0), (False, 40), (True, 1), (True, 0)],
    )
    distances = torch.cdist(samples.double(), samples.double()).square().sort(1).values[:, k]
    nearest = torch.from_numpy(found[2 + len(names) + 2]).double() + squares.double()
    torch.testing.assert_close(nearest, distances, rtol=1e-4, atol=1e-4)
    kernel = (products.double() / 6 + 1).pow(3).fill_diagonal_(0)
    torch.testing.assert_close(torch.from_numpy(found[2 + 6]), kernel.sum(1), rtol=1e-4, atol=1e-4)
    assert math.isfinite(float(nearest.max()))
