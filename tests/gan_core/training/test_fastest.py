"""Which way is taken: what is measured decides, is kept, and knows nothing of the lanes at hand."""

import json
import math
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from events import LONGEST_SECONDS, Clock, lock_wanted
from tiny_arrays import CASES, assert_all_same, configs_of, lane_results, structure_of, trained

from gan_core.config.conditions import Conditions
from gan_core.config.structure import StructureConfig
from gan_core.native import toolchain
from gan_core.native.isa import ISAS
from gan_core.native.toolchain import NoCompiler
from gan_core.training import fastest
from gan_core.training.fastest import Make, Work, called_lanes, faster, fastest_execution, measure, race
from gan_core.training.lane_array import LaneArray, measured_array
from gan_core.workshop.memory import lane_memory
from gan_core.workshop.workshop import Workshop

CASE = "gaussian moments least_squares"
C_IS_FASTER, C_IS_SLOWER = {"compiled": 1.0, "replayed": 1.5}, {"compiled": 2.1, "replayed": 1.0}
pytestmark = pytest.mark.usefixtures("arithmetic")


def work_of(case: str, **changes) -> Work:
    shape, classes = ((1, 8, 8), 10) if structure_of(case).dataset == "digits" else ((1,), 0)
    given = {"structure": structure_of(case), "sample_shape": shape, "classes": classes}
    return Work(**given | {"precision": "float32", "dtype": torch.float32} | changes)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache in which nothing is decided yet, and a process that has told nothing."""
    monkeypatch.setattr(fastest, "writable_cache_folder", lambda: tmp_path)
    toolchain.told.cache_clear()
    yield tmp_path
    toolchain.told.cache_clear()


def answered(monkeypatch: pytest.MonkeyPatch, *seconds: dict[str, float] | None) -> list[Work]:
    """From now on measuring comes to these, in turn; the works that were measured."""
    measured, left = [], list(seconds)

    def instead(work: Work, make: Make) -> dict[str, float] | None:
        measured.append(work)
        return left.pop(0)

    monkeypatch.setattr(fastest, "measure", instead)
    return measured


@pytest.mark.parametrize(
    ("compiled", "replayed", "taken"), [(1.0, 9.0, "compiled"), (1.09, 1.0, "compiled"), (1.11, 1.0, "replayed")]
)
def test_c_is_kept_unless_replays_are_faster_by_a_tenth(compiled, replayed, taken):
    assert faster({"compiled": compiled, "replayed": replayed}) == taken


def test_what_was_found_first_is_kept_for_every_process(cache, monkeypatch):
    measured = answered(monkeypatch, C_IS_FASTER, C_IS_SLOWER)
    assert [fastest_execution(work_of(CASE), measured_array) for _ in range(2)] == ["compiled", "compiled"]
    assert measured == [work_of(CASE)]
    (file,) = cache.glob("*.json")
    kept = json.loads(file.read_text())
    assert kept["seconds"] == C_IS_FASTER
    assert kept["structure"]["architecture"] == "gaussian"


def test_what_is_kept_is_of_all_that_decides(cache, monkeypatch):
    works = [
        work_of(CASE),
        work_of(CASE, structure=StructureConfig(architecture="gaussian", dataset="gaussian", generator_width=8)),
        work_of(CASE, sample_shape=(2,)),
        work_of(CASE, classes=3),
        work_of(CASE, precision="bfloat16"),
        work_of(CASE, dtype=torch.float64),
    ]
    measured = answered(monkeypatch, *[C_IS_FASTER] * (len(works) + 6))
    for work in works:
        fastest_execution(work, measured_array)
    for name in ("processor_name", "code_here"):
        monkeypatch.setattr(fastest, name, lambda: "another")
        fastest_execution(works[0], measured_array)
    monkeypatch.setattr(fastest.torch, "__version__", "0")
    fastest_execution(works[0], measured_array)
    monkeypatch.setattr(fastest.torch.backends.cpu, "get_cpu_capability", lambda: "another")
    fastest_execution(works[0], measured_array)
    monkeypatch.setattr(fastest, "this_isa", lambda: ISAS["neon"])
    fastest_execution(works[0], measured_array)
    monkeypatch.setattr(fastest, "compiler", lambda: toolchain.Toolchain(("cc",), "another", cache))
    fastest_execution(works[0], measured_array)
    assert measured == [*works, *[works[0]] * 6]


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"seconds": {"compiled": "fast"}}', "\xff"])
def test_a_decision_that_cannot_be_read_is_made_anew(damage: str, cache, monkeypatch):
    answered(monkeypatch, C_IS_FASTER, C_IS_FASTER)
    fastest_execution(work_of(CASE), measured_array)
    (file,) = cache.glob("*.json")
    whole = file.read_text()
    file.write_text(damage, encoding="latin-1")
    assert fastest_execution(work_of(CASE), measured_array) == "compiled"
    assert file.read_text() == whole


def test_of_two_that_meet_a_structure_at_once_the_first_measures_for_both(cache, monkeypatch):
    wanted, seen = lock_wanted(monkeypatch), []

    def slow(work: Work, make: Make) -> dict[str, float]:
        seen.append(work)
        second.start()
        assert wanted.wait(LONGEST_SECONDS)
        return C_IS_FASTER

    second = threading.Thread(target=fastest_execution, args=[work_of(CASE), measured_array])
    monkeypatch.setattr(fastest, "measure", slow)
    fastest_execution(work_of(CASE), measured_array)
    second.join()
    assert len(seen) == 1


def test_where_nothing_can_be_kept_each_decides_for_itself(cache, monkeypatch):
    monkeypatch.setattr(fastest, "writable_cache_folder", lambda: Path("/proc/nothing"))
    measured = answered(monkeypatch, C_IS_FASTER, C_IS_FASTER)
    with pytest.warns(UserWarning, match="cannot keep"):
        assert [fastest_execution(work_of(CASE), measured_array) for _ in range(2)] == ["compiled", "compiled"]
    assert len(measured) == 2


def test_slow_c_is_replayed_which_is_said_once(cache, monkeypatch, few):
    answered(monkeypatch, C_IS_SLOWER)
    with pytest.warns(UserWarning, match="is far slower") as warned:
        arrays = [trained(configs_of(CASE), few("gaussian"), torch.float32, 3, execution="auto") for _ in range(2)]
    (line,) = (str(warning.message) for warning in warned)
    assert line.endswith("makes of some structures is far slower than torch's calls; their steps are replayed")
    assert [array.programs.execution for array in arrays] == ["replayed", "replayed"]
    expected = trained(configs_of(CASE), few("gaussian"), torch.float32, 3, execution="eager")
    assert_all_same(arrays[0], lane_results(expected))


def test_of_c_that_is_a_little_slower_nothing_is_said(cache, monkeypatch):
    answered(monkeypatch, {"compiled": 1.9, "replayed": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fastest_execution(work_of(CASE), measured_array) == "replayed"


def test_the_decision_is_one_for_arrays_of_any_lanes(cache, monkeypatch, few):
    measured = answered(monkeypatch, C_IS_FASTER)
    configs = configs_of(CASE)
    together = trained(configs, few("gaussian"), torch.float32, 3, execution="auto")
    alone = trained(configs[2:3], few("gaussian"), torch.float32, 3, execution="auto")
    assert len(measured) == 1
    assert_all_same(alone, lane_results(together)[2:3])


def test_what_cannot_be_measured_is_left_to_who_compiles_and_is_not_kept(cache, monkeypatch):
    measured = answered(monkeypatch, None, None)
    assert [fastest_execution(work_of(CASE), measured_array) for _ in range(2)] == ["compiled", "compiled"]
    assert (len(measured), list(cache.glob("*.json"))) == (2, [])

    def none() -> None:
        raise NoCompiler("none")

    monkeypatch.setattr(fastest, "compiler", none)
    assert fastest_execution(work_of(CASE), measured_array) == "compiled"
    assert len(measured) == 2


def test_a_step_that_is_not_known_in_c_is_replayed_without_being_timed(monkeypatch):
    monkeypatch.setattr("gan_core.execution.function_calls.LARGEST_PRODUCT", 1)
    seconds = measure(work_of(CASE), measured_array)
    assert seconds is not None
    assert seconds == {"compiled": math.inf, "replayed": 0.0}
    assert faster(seconds) == "replayed"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_where_memory_runs_out_nothing_is_measured(monkeypatch, error):
    def fail(*given) -> None:
        raise error

    monkeypatch.setattr(fastest, "race", fail)
    assert measure(work_of(CASE), measured_array) is None
    monkeypatch.setattr(fastest, "is_out_of_memory", lambda error: False)
    with pytest.raises(type(error)):
        measure(work_of(CASE), measured_array)


@pytest.mark.parametrize("case", [CASE, "dcgan spectral wasserstein_gp"])
def test_measuring_knows_both_ways_of_a_structure(case: str):
    seconds = measure(work_of(case), measured_array)
    assert seconds is not None
    assert all(0 < each < 60 for each in seconds.values())
    assert list(seconds) == ["compiled", "replayed"]


class RaceClock(Clock):
    """Time that passes by what is done, and a way that takes so long for a step, and for a call."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[tuple[str, int]] = []

    __call__ = Clock.monotonic

    def way(self, name: str, step: float, call: float = 0.0):
        def advance(steps: int) -> None:
            self.seconds += call + step * steps
            self.turns.append((name, steps))

        return advance


def test_a_race_is_over_with_the_first_turn_where_c_is_twice_as_fast():
    clock = RaceClock()
    took = race({"compiled": (clock.way("c", 1e-4), 1), "replayed": (clock.way("r", 3.2e-3), 16)}, clock)
    assert took == {"compiled": pytest.approx(1e-4), "replayed": pytest.approx(2e-4)}
    assert clock.turns == [("c", 1), ("r", 1)]


def test_short_turns_do_not_count_against_c_whose_calls_are_of_many_steps():
    clock = RaceClock()
    took = race({"compiled": (clock.way("c", 1e-4, call=1e-3), 1), "replayed": (clock.way("r", 1.6e-4), 1)}, clock)
    assert took["compiled"] == pytest.approx(1e-4 + 1e-3 / 16)
    assert took["replayed"] == pytest.approx(1.6e-4)
    assert [steps for name, steps in clock.turns if name == "c"] == [1, 2, 4, 8, 16, 16, 16, 16, 16]


def test_a_race_ends_in_time_whatever_a_step_takes():
    clock = RaceClock()
    race({"compiled": (clock.way("c", 0.7), 1), "replayed": (clock.way("r", 0.6), 1)}, clock)
    assert clock.turns == [("c", 1), ("r", 1)]


@pytest.mark.parametrize(
    ("structure", "lanes"),
    [
        (StructureConfig(architecture="gaussian", dataset="gaussian", generator_width=32, discriminator_width=32), 32),
        (StructureConfig(architecture="mlp", generator_width=256, discriminator_width=256), 4),
        (StructureConfig(architecture="dcgan", image_size_pixels=28, generator_width=16), 1),
    ],
)
def test_a_replayed_call_is_measured_with_lanes_that_stay_in_the_caches(structure: StructureConfig, lanes: int):
    shape = (1,) if structure.dataset == "gaussian" else (1, 28, 28) if structure.image_size_pixels else (1, 8, 8)
    work = Work(structure, shape, 0, "float32", torch.float32)
    assert called_lanes(work) == lanes


def test_sweeps_arrays_and_estimates_leave_it_open_unless_they_are_told(cache, monkeypatch, gaussian):
    measured = answered(monkeypatch, *[C_IS_FASTER] * 3)
    configs = configs_of(CASE)[:1]
    assert Conditions(dataset="gaussian").execution == "auto"
    array = Workshop(Conditions(dataset="gaussian"), "cpu").build(configs).array
    assert array.programs.execution == "auto"
    array.train_to(1)
    assert array.programs.execution == "compiled"
    LaneArray(configs, gaussian).train_to(1)
    lane_memory(configs[0], samples=1)
    assert len(measured) == 1  # of one structure


def test_every_structure_has_a_decision_of_its_own():
    works = {case: work_of(case) for case in CASES}
    keys = {json.dumps(fastest._plain(work)) for work in works.values()}
    assert len(keys) == len({work.structure for work in works.values()})
