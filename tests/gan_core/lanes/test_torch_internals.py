"""Names that torch may remove: each is taken away, and what replaces it gives the right numbers."""

import subprocess
import sys

import pytest
import torch
from tiny_arrays import configs_of, train

from gan_core.config.conditions import PRECISIONS
from gan_core.lanes import torch_internals
from gan_core.lanes.precision import library_precision
from gan_core.training.lane_array import LaneArray
from gan_core.training.optim import Adam, Rows

# What a process without torch's dispatch mode trains, and how.
WITHOUT_TRACES = """
import sys, torch, torch.utils._python_dispatch as private
del private.TorchDispatchMode
sys.path.insert(0, "tests/gan_core")
from tiny_arrays import configs_of, train
from gan_core.data.dataset import load_dataset
from gan_core.lanes.torch_internals import SEES_CALLS
from gan_core.training.lane_array import LaneArray
array = LaneArray(configs_of("gaussian")[:2], load_dataset("gaussian"), dtype=torch.float64)
train(array, 2)
print(SEES_CALLS, array.carried_out, *array.state.generator.flat.abs().sum(1).tolist())
"""


def test_without_a_dispatch_mode_steps_are_run_eagerly_with_the_same_numbers(gaussian):
    array = LaneArray(configs_of("gaussian")[:2], gaussian, dtype=torch.float64, execution="replayed")
    train(array, 2)
    done = subprocess.run([sys.executable, "-c", WITHOUT_TRACES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sees_calls, carried_out, *sums = done.stdout.split()
    assert (sees_calls, carried_out) == ("False", "eager")
    assert [float(x) for x in sums] == pytest.approx(array.state.generator.flat.abs().sum(1).tolist(), rel=1e-12)
    assert torch_internals.SEES_CALLS


def test_without_the_fused_kernel_adamw_gives_the_same_numbers(monkeypatch):
    def trained() -> torch.Tensor:
        rows = Rows({"w": (40,)}, {}, torch.linspace(-1, 1, 2 * 48, dtype=torch.float64).view(2, 48).clone())
        adam = Adam(rows, [(1e-2, 0.5, 0.9, 0.1), (1e-3, 0.9, 0.999, 0.0)])
        for step in range(5):
            rows.grad.copy_((rows.trained * (step + 1)).sin())
            adam.step([True, step % 2 == 0])
        return rows.flat

    fused = trained()
    monkeypatch.delattr(torch, "_fused_adamw_")
    assert torch_internals.fused_adamw() is None
    torch.testing.assert_close(trained(), fused, rtol=1e-12, atol=0)
    assert not torch.equal(fused[0], fused[1])


def test_without_the_setting_of_each_library_the_older_flags_are_set_and_restored(monkeypatch):
    monkeypatch.setattr(torch_internals, "FP32_SETTING", "absent")
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [place.allow_tf32 for place in flags]
    a = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0))
    for precision in PRECISIONS:
        with library_precision(precision):
            assert [place.allow_tf32 for place in flags] == [precision == "tf32"] * 2
            product = torch.bmm(a, a)
        assert [place.allow_tf32 for place in flags] == before
        torch.testing.assert_close(product.double(), a.double() @ a.double(), rtol=0, atol=1e-4)


def test_tensors_are_found_in_nested_values():
    one, two, three = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    assert [len(x) for x in torch_internals.tensors_in(((one, 1, "x"), {"a": [two, None]}, three))] == [1, 2, 3]
