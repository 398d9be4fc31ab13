"""How many lanes a call has: what is tried, what is chosen, and what happens when memory runs out."""

import pytest
import torch

from gan_core.config.structure import StructureConfig
from gan_core.execution.pace import ONE_LANE_CALL, Pace, is_out_of_memory, largest_call, until_it_fits


def told(pace: Pace, lanes: int, seconds_of: dict[int, float]) -> list[list[int]]:
    """The parts of the blocks until the size is known, each lane taking what its call's size says."""
    blocks = []
    while (pace.size is None or pace.tries(lanes)) and len(blocks) < 20:
        blocks.append(pace.parts(lanes))
        pace.note({size: seconds_of.get(size, 1.0) for size in blocks[-1]}, lanes)
    return blocks


@pytest.mark.parametrize("lanes", [1, 2, 3, 7, 16, 33, 100])
@pytest.mark.parametrize("given", [None, 1, 4, 64])
def test_parts_are_all_lanes(lanes, given):
    parts = Pace(given, largest=8).parts(lanes)
    assert sum(parts) == lanes
    assert max(parts) <= (given or 8)


def test_the_size_of_least_seconds_a_lane_is_chosen_and_the_first_block_does_not_count():
    pace = Pace()
    assert not pace.note({1: 0.1, 2: 9.0, 4: 9.0}, 7)
    assert pace.note({1: 3.0, 2: 2.0, 4: 2.5}, 7)
    assert (pace.size, pace.parts(7)) == (2, [2, 2, 2, 1])
    assert not pace.note({2: 9.0}, 7)


def test_one_lane_a_call_is_tried_and_taken_where_it_is_fastest():
    pace = Pace()
    assert told(pace, 32, {1: 0.5}) == [[1, 1, 2, 4, 8, 16]] * 2
    assert pace.size == 1


def test_where_the_largest_is_the_best_twice_as_many_are_tried_and_may_lose():
    for at_32, chosen in ((0.1, 32), (0.3, 16)):
        pace = Pace()
        blocks = told(pace, 40, {16: 0.2, 32: at_32})
        assert blocks == [[1, 2, 4, 8, 9, 16]] * 2 + [[32, 8]] * 2
        assert pace.size == chosen


def test_a_later_array_of_more_lanes_tries_what_an_earlier_one_could_not():
    pace = Pace(largest=8)
    assert told(pace, 3, {2: 0.5}) == [[1, 2]] * 2
    assert (pace.size, pace.tries(3), pace.tries(4)) == (2, None, 4)
    assert told(pace, 9, {4: 0.4, 8: 0.6}) == [[4, 4, 1]] * 2 + [[8, 1]] * 2
    assert (pace.size, pace.parts(9), pace.parts(3)) == (4, [4, 4, 1], [3])
    assert pace.tries(100) is None


def test_a_lane_alone_decides_nothing_for_later_arrays():
    pace = Pace()
    assert not any(pace.note({1: 1.0}, 1) for _ in range(5))
    assert pace.size is None


def test_convolutions_are_tried_with_few():
    structure = StructureConfig(architecture="dcgan", generator_width=4, discriminator_width=4)
    assert largest_call(structure) == ONE_LANE_CALL < largest_call(StructureConfig())


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: 8 bytes")],
)
def test_where_memory_runs_out_half_as_many_are_called_until_it_fits_and_the_limit_stays(error):
    pace, tried = Pace(32), []

    def build() -> None:
        tried.append(max(pace.parts(40)))
        if tried[-1] > 8:
            raise error

    until_it_fits(build, pace, lambda: max(pace.parts(40)))
    assert tried == [32, 16, 8]
    assert pace.parts(40) == [8] * 5


def test_one_lane_that_does_not_fit_and_other_errors_are_told():
    def fails() -> None:
        raise RuntimeError(message)

    for message in ("can't allocate memory", "shapes differ"):
        with pytest.raises(RuntimeError, match=message):
            until_it_fits(fails, Pace(1), lambda: 1)
    assert not is_out_of_memory(RuntimeError("shapes differ"))
