"""How a step is carried out, in how many lanes a call, and where training stops change no bit of any lane."""

from collections.abc import Callable

import pytest
import torch
from tiny_arrays import assert_all_same, assert_same, configs_of, lane_results, structure_of, train, trained

from gan_core.config.conditions import Precision
from gan_core.data.dataset import Dataset
from gan_core.execution.pace import Pace
from gan_core.execution.programs import ProgramMaker
from gan_core.training.draws import BLOCK_STEPS
from gan_core.training.lane_array import LaneArray
from gan_core.training.watch import SUMS

STEPS = 4  # lanes of k = 1, 2, 3 have had a turn, and not all of them in one step
ACROSS = BLOCK_STEPS + 2
Few = Callable[[str], Dataset]
pytestmark = pytest.mark.usefixtures("arithmetic")


@pytest.fixture(scope="module")
def eager(case: str, few: Few) -> list[dict[str, bytes]]:
    """What STEPS eager steps of the four lanes of a case come to, all in one call."""
    return lane_results(made(case, few))


def made(case: str, few: Few, steps: int = STEPS, **options) -> LaneArray:
    return trained(configs_of(case), few(structure_of(case).dataset), torch.float32, steps, **options)


def test_a_replayed_training_has_the_bits_of_an_eager_one(case: str, eager: list[dict[str, bytes]], few: Few):
    """Two lanes, of k = 2 and 3: to trace and plan costs a second or more for each set of lanes that takes a turn."""
    dataset = few(structure_of(case).dataset)
    array = trained(configs_of(case)[1:3], dataset, torch.float32, STEPS, execution="replayed")
    assert array.carried_out == "replayed"
    assert_all_same(array, eager[1:3])
    assert len({result["generator"] for result in eager}) == 4


def test_arrays_of_different_precision_that_share_programs_have_the_bits_of_each_alone(few: Few):
    case = "mlp wide minimax"
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    dataset, configs = few(structure_of(case).dataset), configs_of(case)[:1]

    def replayed(precision: Precision, programs: ProgramMaker) -> LaneArray:
        array = LaneArray(configs, dataset, precision=precision, programs=programs)
        train(array, 2)
        return array

    def maker() -> ProgramMaker:
        return ProgramMaker("replayed", Pace(1))

    alone = [lane_results(replayed(precision, maker())) for precision in precisions]
    assert alone[0] != alone[1]
    shared = maker()
    for precision, expected in zip(precisions, alone, strict=True):
        assert_all_same(replayed(precision, shared), expected)


@pytest.mark.parametrize("lanes_per_call", [1, 2, 3])
def test_the_number_of_lanes_in_a_call_changes_no_bit(
    case: str, eager: list[dict[str, bytes]], few: Few, lanes_per_call: int
):
    assert_all_same(made(case, few, lanes_per_call=lanes_per_call), eager)


@pytest.mark.parametrize("case", ["gaussian moments least_squares", "mlp"])
@pytest.mark.parametrize("lanes_per_call", [1, 3])
def test_replays_of_few_lanes_have_the_bits_of_all_at_once(case: str, few: Few, lanes_per_call: int):
    expected = lane_results(made(case, few))
    assert_all_same(made(case, few, execution="replayed", lanes_per_call=lanes_per_call), expected)


def test_lanes_whose_calls_change_size_while_it_is_found_out_have_the_bits_of_all_at_once(few: Few):
    case = "gaussian minibatch r1"
    expected = lane_results(made(case, few, 5 * BLOCK_STEPS))
    programs = ProgramMaker("eager", Pace())
    array = LaneArray(configs_of(case), few("gaussian"), programs=programs)
    assert programs.pace.parts(4) == [1, 1, 2]
    train(array, 5 * BLOCK_STEPS)
    assert programs.pace.size in (1, 2, 4)
    assert_all_same(array, expected)
    assert array.state.watch.sums[:, SUMS.index("looks")].tolist() == [5] * 4


@pytest.mark.parametrize(
    ("case", "stops"),
    [
        *[("gaussian", stops) for stops in ((1, 2), (5, 15), (15, 16), (16, 17))],
        *[("mlp_dropout generator_first", (5, 15)), ("mlp_bn generator_first", (15, 16))],
    ],
)
def test_a_stop_inside_a_block_changes_nothing(case: str, few: Few, stops: tuple[int, int]):
    whole, stopped = made(case, few, ACROSS), made(case, few, 0, lanes_per_call=2)
    for stop in (*stops, ACROSS):
        train(stopped, stop - stopped.state.discriminator_steps)
    assert_all_same(stopped, lane_results(whole))


@pytest.mark.parametrize("case", ["gaussian", "mlp_minimax generator_first sum"])
def test_a_replayed_array_that_takes_over_a_state_inside_a_block_goes_on_as_that_one(case: str, few: Few):
    whole = lane_results(made(case, few, ACROSS))
    resumed = made(case, few, 3, execution="replayed", lanes_per_call=3)  # it has programs, and has drawn
    resumed.state.load(made(case, few, 7).state.tensors())
    train(resumed, ACROSS - 7)
    assert_all_same(resumed, whole)


def test_the_lanes_kept_of_a_replayed_array_in_calls_of_two_go_on_unchanged(few: Few):
    case = "mlp_minimax generator_first sum"
    expected = lane_results(made(case, few, 6))
    array = made(case, few, 2, execution="replayed", lanes_per_call=2)
    array.state.generator.flat[1] = torch.nan
    train(array, 2)
    array.keep([3, 0, 2])
    train(array, 2)
    for mine, i in zip(lane_results(array), (3, 0, 2), strict=True):
        assert_same(mine, expected[i])
