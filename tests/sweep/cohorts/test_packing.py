"""How many trials a cohort is given where its part of the memory has no room for as many as it could train."""

import pytest
import torch

from gan_core.workshop.card_share import CUDA_BYTES, keep_to_share
from gan_core.workshop.memory import PROCESS_BYTES, MemoryNeed, data_form
from sweep.cohorts import packing
from sweep.cohorts.packing import Room, lane_need, largest_configuration, packed, room_of
from sweep.spec.resources import Resources
from sweep.spec.sweep_spec import SweepSpec

SPEC = SweepSpec.from_mapping({"trials": 16, "execution": "replayed"})
DATA_BYTES = data_form(SPEC.space.base.structure).bytes
MB = 10**6
NEED = MemoryNeed(10 * MB, 2 * MB, 4 * MB, 3 * MB, MB, in_turn=False)


@pytest.fixture
def known_need(monkeypatch):
    """A lane keeps 10 MB, and needs up to 6 MB more while it is trained."""
    monkeypatch.setattr(packing, "lane_need", lambda *given: NEED)


@pytest.mark.usefixtures("known_need")
@pytest.mark.parametrize(("lanes_in_room", "given"), [(1.0, 1), (3.5, 3), (7.9, 7), (8.0, 8), (100.0, 8)])
def test_a_cohort_on_a_part_of_a_gpu_has_as_many_trials_as_fit(lanes_in_room, given):
    room = Room(CUDA_BYTES + DATA_BYTES + int(lanes_in_room * 16 * MB), "0.25 of a GPU of 80.0 GB", on_gpu=True)
    found = packed(SPEC, 8, room)
    assert (found.trials, found.why == "") == (given, given == 8)
    if found.why:
        assert found.why.startswith(f"cohorts have {given} instead of 8 trials: a trial takes up to 16.0 MB, a process")
        assert found.why.endswith("(0.25 of a GPU of 80.0 GB)")


@pytest.mark.usefixtures("known_need")
def test_where_not_one_trial_fits_one_is_tried_and_a_line_says_so():
    found = packed(SPEC, 8, Room(CUDA_BYTES, "resources.memory_gb", on_gpu=True))
    assert (found.trials, found.why[:36]) == (1, "cohorts have 1 instead of 8 trials: ")


def test_where_not_even_the_estimate_finds_room_one_is_tried(monkeypatch):
    def too_large(*given: object) -> MemoryNeed:
        raise MemoryError

    monkeypatch.setattr(packing, "lane_need", too_large)
    found = packed(SPEC, 8, Room(10**9, "resources.memory_gb", on_gpu=False))
    assert found.trials == 1
    assert found.why == "cohorts have 1 instead of 8 trials: one lane does not fit the memory: memory ran out"


@pytest.mark.usefixtures("known_need")
def test_on_the_cpu_the_calls_of_a_kernel_are_counted_that_are_tried():
    fits = PROCESS_BYTES + DATA_BYTES + NEED.cohort_bytes(4, 32)
    assert packed(SPEC, 16, Room(fits, "resources.memory_gb", on_gpu=False)).trials == 4
    assert packed(SPEC, 16, Room(fits - 1, "resources.memory_gb", on_gpu=False)).trials == 3


def test_the_largest_structure_is_counted():
    widths = "structure.generator_width={choices: [50, 200]}"
    spec = SweepSpec.from_mapping({"space": "gaussian"}, [widths])
    largest = largest_configuration(spec.space)
    assert largest.structure.generator_width == 200
    assert lane_need(spec, largest, "eager").kept_bytes > lane_need(spec, spec.space.base, "eager").kept_bytes


def test_only_a_part_of_a_gpu_and_memory_that_was_asked_for_bound_a_cohort(monkeypatch):
    card = type("Card", (), {"total_memory": 80 * 10**9})()
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    assert room_of(Resources(0.25), on_gpu=True) == Room(20 * 10**9, "0.25 of a GPU of 80.0 GB", on_gpu=True)
    assert room_of(Resources(1), on_gpu=True) is None
    assert room_of(Resources("auto", memory_gb=4), on_gpu=True) is None
    assert room_of(Resources(0.25), on_gpu=False) is None
    assert room_of(Resources(0, memory_gb=2.5), on_gpu=False) == Room(25 * 10**8, "resources.memory_gb", on_gpu=False)
    shares = list[tuple[float, int]]()
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *given: shares.append(given))
    keep_to_share(20 * 10**9)
    keep_to_share(CUDA_BYTES // 2)
    assert shares == [(pytest.approx((20 * 10**9 - CUDA_BYTES) / (80 * 10**9)), 0), (0.0, 0)]
