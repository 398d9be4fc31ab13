"""Training compiled to C: what eager training comes to, and no bit of a lane depends on its company, calls or stops."""

import platform
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_arrays import (
    assert_all_same,
    assert_same,
    bits,
    configs_of,
    lane_results,
    structure_of,
    train,
    trained,
)

from gan_core.data.dataset import Dataset
from gan_core.native.isa import VARIABLE
from gan_core.native.library import NativeProgram
from gan_core.native.toolchain import NoCompiler, told
from gan_core.training.compiled.block import NativeBlock
from gan_core.training.draws import BLOCK_STEPS
from gan_core.training.steps import CalledSteps, CompiledBlocks, CompiledSteps

# Batch norm takes a bias away that stands before it: its gradient is 0 but for rounding, which Adam divides by itself.
TOLERANCES = {"mlp batch": 1e-6, "dcgan": 1e-6}
STEPS = 7
ACROSS = BLOCK_STEPS + 2
Few = Callable[[str], Dataset]
pytestmark = pytest.mark.usefixtures("arithmetic")


def made(case: str, few: Few, steps: int = STEPS, lanes: slice = slice(None), dtype=torch.float32, **options):
    options = {"execution": "compiled", **options}
    return trained(configs_of(case)[lanes], few(structure_of(case).dataset), dtype, steps, **options)


@pytest.fixture(scope="module")
def together(case: str, few: Few) -> list[dict[str, bytes]]:
    return lane_results(made(case, few))


def test_compiled_training_is_eager_training_to_rounding(case: str, few: Few):
    mine, theirs = (made(case, few, dtype=torch.float64, execution=execution) for execution in ("compiled", "eager"))
    expected = theirs.state.tensors()
    tolerance = TOLERANCES.get(case, 1e-9)
    for name, tensor in mine.state.tensors().items():
        scale = float(expected[name].double().abs().max()) if expected[name].numel() else 0.0
        torch.testing.assert_close(
            tensor, expected[name], rtol=0, atol=tolerance * scale, msg=lambda m, n=name: f"{n}: {m}"
        )
    assert bits(mine.state.generator.flat) != bits(theirs.state.generator.flat)  # by other calls


def test_a_lane_alone_has_the_bits_it_has_in_company(case: str, few: Few, together: list[dict[str, bytes]]):
    """Also where it has no noise or dropout and its company has: it is then trained in blocks alone, and step by step
    in company.
    """
    for lane in (0, 2):
        assert_all_same(made(case, few, lanes=slice(lane, lane + 1)), together[lane : lane + 1])


def test_the_number_of_lanes_in_a_call_changes_no_bit(case: str, few: Few, together: list[dict[str, bytes]]):
    assert_all_same(made(case, few, lanes_per_call=3), together)


@pytest.mark.parametrize(
    "case", ["gaussian moments least_squares", "mlp_minimax generator_first sum", "mlp_bn", "infogan"]
)
def test_blocks_are_one_call_and_have_the_bits_of_single_steps(case: str, few: Few, monkeypatch):
    whole = made(case, few, ACROSS)
    assert {type(steps) for steps in whole._steps} == {CompiledBlocks}
    monkeypatch.setattr("gan_core.training.draws.Draws.in_blocks", False)
    single = made(case, few, ACROSS)
    assert [type(steps) for steps in single._steps] == [CompiledSteps]
    assert_all_same(single, lane_results(whole))


@pytest.mark.parametrize(
    ("case", "stops"),
    [
        *[("gaussian moments least_squares", stops) for stops in ((1, 2), (5, 31), (31, 32), (32, 33))],
        *[("mlp_minimax generator_first sum", (5, 31)), ("mlp_dropout sum", (31, 32))],
    ],
)
def test_a_stop_inside_a_block_changes_nothing(case: str, few: Few, stops: tuple[int, int]):
    whole, stopped = made(case, few, ACROSS), made(case, few, 0, lanes_per_call=2)
    for stop in (*stops, ACROSS):
        train(stopped, stop - stopped.state.discriminator_steps)
    assert_all_same(stopped, lane_results(whole))


@pytest.mark.parametrize(
    "case", ["mlp_bn", *(pytest.param(c, marks=pytest.mark.slow) for c in ("gaussian moments least_squares", "dcgan"))]
)
def test_the_laws_hold_with_the_kernels_of_each_instruction_set(case: str, few: Few, each_isa: str):
    """Alone, in smaller calls and with a stop inside a block: the same bits, which are nearly those of eager steps."""
    together = made(case, few, ACROSS)
    expected = lane_results(together)
    assert_all_same(made(case, few, ACROSS, lanes=slice(2, 3)), expected[2:3])
    assert_all_same(made(case, few, ACROSS, lanes_per_call=3), expected)
    stopped = made(case, few, 5)
    train(stopped, ACROSS - 5)
    assert_all_same(stopped, expected)
    mine, theirs = (made(case, few, dtype=torch.float64, execution=way).state for way in ("compiled", "eager"))
    torch.testing.assert_close(mine.generator.flat, theirs.generator.flat, rtol=0, atol=1e-8)
    assert together.arithmetic().isa == each_isa


@pytest.mark.parametrize("execution", ["auto", "compiled"])
def test_on_a_processor_without_kernels_all_is_replayed_which_is_said_once(few: Few, monkeypatch, execution: str):
    case = "gaussian moments least_squares"
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    told.cache_clear()
    with pytest.warns(UserWarning, match="no kernels are written for this processor") as warned:
        arrays = [made(case, few, execution=execution) for _ in range(2)]
    told.cache_clear()
    (line,) = (str(warning.message) for warning in warned)
    assert line.endswith("(riscv64), or it is not known; steps are replayed instead, more slowly")
    expected = lane_results(made(case, few, execution="replayed"))
    for array in arrays:
        assert array.programs.execution == "replayed"
        assert_all_same(array, expected)


@pytest.mark.parametrize("case", ["gaussian moments least_squares"])
def test_poison_in_a_lane_reaches_no_other_and_the_kept_go_on_unchanged(case: str, few: Few):
    expected = lane_results(made(case, few, 6))
    array = made(case, few, 2)
    array.state.generator.flat[1] = torch.nan
    array.state.discriminator.flat[1] = torch.inf
    train(array, 2)
    array.keep([3, 0, 2])
    train(array, 2)
    for mine, i in zip(lane_results(array), (3, 0, 2), strict=True):
        assert_same(mine, expected[i])


@pytest.mark.parametrize("case", ["mlp spectral r1 sum", "mlp_bn generator_first"])
def test_a_structure_with_one_call_that_is_not_known_in_c_is_replayed_whole(case: str, few: Few, monkeypatch):
    expected = lane_results(made(case, few, 3, execution="replayed"))
    monkeypatch.setattr("gan_core.execution.function_calls.LARGEST_PRODUCT", 5 * 9 * 32)  # D's larger ones are above
    array = made(case, few, 3)
    assert {type(steps) for steps in array._steps} == {CalledSteps}
    assert_all_same(array, expected)


@pytest.mark.parametrize("in_blocks", [True, False])
def test_where_a_compiler_takes_a_part_of_a_step_and_refuses_the_rest_all_of_it_is_replayed(
    few: Few, monkeypatch, in_blocks: bool
):
    """Adam's C was made before the compiler was lost: with that alone a step has neither way's bits."""
    case = "mlp_minimax generator_first sum"
    expected = lane_results(made(case, few, execution="replayed"))
    refused, whole = NativeBlock if in_blocks else NativeProgram, NativeProgram.__init__
    asked = list[str]()

    def refuses(self: object, *given: Any) -> None:
        asked.append("a program")
        if in_blocks or len(asked) == 2:
            raise NoCompiler("cc refuses a program")
        whole(self, *given)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(refused, "__init__", refuses)
    told.cache_clear()
    monkeypatch.setattr("gan_core.training.draws.Draws.in_blocks", in_blocks)
    with pytest.warns(UserWarning, match="cc refuses a program; steps are replayed"):
        array = made(case, few)
    assert len(asked) == (1 if in_blocks else 2)
    assert_all_same(array, expected)


def test_an_array_whose_compiler_is_lost_between_its_calls_is_replayed_whole(few: Few, monkeypatch):
    case = "gaussian moments least_squares"
    expected = lane_results(made(case, few, execution="replayed"))
    whole, asked = NativeBlock.__init__, list[str]()

    def refuses_the_second(self: NativeBlock, *given: Any) -> None:
        asked.append("a block")
        if len(asked) == 2:
            raise NoCompiler("cc refuses a program")
        whole(self, *given)

    monkeypatch.setattr(NativeBlock, "__init__", refuses_the_second)
    told.cache_clear()
    with pytest.warns(UserWarning, match="cc refuses a program; steps are replayed"):
        array = made(case, few, lanes_per_call=1)
    assert len(asked) == 2
    assert_all_same(array, expected)
