"""How many trials of a space fit the memory that a cohort has, by the estimate of what a lane takes.

torch is loaded when something is estimated, and not before.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gan_core.config.conditions import Execution
from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.gan import GanConfig
from gan_core.config.reports import OutOfMemory
from search_spaces.space import SearchSpace
from sweep.spec.resources import Resources
from sweep.spec.sweep_spec import SweepSpec

if TYPE_CHECKING:
    from gan_core.workshop.memory import MemoryNeed

GB = 10**9
LARGEST_MEASURED_BYTES = 2**29  # the networks of a larger lane are not built; only their shapes are counted


@dataclass(frozen=True)
class Room:
    """The memory that a cohort has. bytes: in all, with what its process and its data take. words: what it is.
    on_gpu: whether it is a GPU's, where an array is computed in one call.
    """

    bytes: int
    words: str
    on_gpu: bool


@dataclass(frozen=True)
class Packing:
    """How many trials a cohort is given. why: they are fewer than they could be, in words; "" where they are not."""

    trials: int
    why: str = ""


def room_of(resources: Resources, *, on_gpu: bool) -> Room | None:
    """The memory that a spec gives a cohort on this machine; None where it does not share one with others."""
    gpus = resources.gpus_per_cohort
    if on_gpu and isinstance(gpus, int | float) and 0 < gpus < 1:
        from gan_core.workshop.card_share import card_bytes

        return Room(round(gpus * card_bytes()), f"{gpus:g} of a GPU of {in_words(card_bytes())}", on_gpu=True)
    if not on_gpu and resources.memory_gb:
        return Room(round(resources.memory_gb * GB), "resources.memory_gb", on_gpu=False)
    return None


def packed(spec: SweepSpec, trials: int, room: Room) -> Packing:
    """As many trials as fit, of at most so many, but at least one. Counted is the largest structure of the space, of
    which a small array is trained for a step, which takes seconds.

    An estimate is no bound: where memory runs out after all, arrays are split.
    """
    from gan_core.execution.pace import largest_call, within_memory
    from gan_core.workshop.card_share import CUDA_BYTES
    from gan_core.workshop.memory import PROCESS_BYTES, data_form

    config = largest_configuration(spec.space)
    execution = ("eager" if spec.execution == "eager" else "replayed") if room.on_gpu else spec.execution
    try:
        with within_memory(1):
            need, most = lane_need(spec, config, execution), largest_call(config.structure)
    except OutOfMemory as error:
        return Packing(1, f"cohorts have 1 instead of {trials} trials: {error}")

    def taken(count: int) -> int:
        return need.array_bytes(count, [count]) if room.on_gpu else need.cohort_bytes(count, most)

    beside = (CUDA_BYTES if room.on_gpu else PROCESS_BYTES) + data_form(config.structure).bytes
    fit = bisect_right(range(1, trials + 1), room.bytes - beside, key=taken)
    if fit >= trials:
        return Packing(trials)
    given = max(1, fit)
    return Packing(
        given,
        f"cohorts have {given} instead of {trials} trials: a trial takes up to {in_words(taken(1))}, a process and its "
        f"data {in_words(beside)}, and a cohort has {in_words(room.bytes)} ({room.words})",
    )


def largest_configuration(space: SearchSpace) -> GanConfig:
    """The base with every searched number at the top of its range; texts, such as the loss, keep their base values."""
    tops = {
        scope.parameter(name): max(scope.extremes)
        for name, scope in space.ranges.items()
        if all(isinstance(value, int | float) for value in scope.extremes)
    }
    return space.configuration(tops, space.base.seed)


def lane_need(spec: SweepSpec, config: GanConfig, execution: Execution) -> "MemoryNeed":
    """The memory that a lane of this configuration needs in a sweep; of a lane too large to be tried, its networks."""
    from gan_core.fidelity.scorers import IMAGE_SAMPLES
    from gan_core.fidelity.value_scorers import PLANE_SAMPLES, VALUE_SAMPLES
    from gan_core.workshop.memory import MemoryNeed, lane_memory, row_bytes

    averages = spec.space.averages_images
    rows = row_bytes(config, len(averages) or 1)
    if rows > LARGEST_MEASURED_BYTES:
        return MemoryNeed(rows, 0, 0, 0, 0, in_turn=False)
    value_size = parse_dataset_name(config.structure.dataset).value_size
    samples = spec.scoring.samples or (IMAGE_SAMPLES, VALUE_SAMPLES, PLANE_SAMPLES)[value_size]
    return lane_memory(config, samples, execution, averages)


def in_words(count_bytes: int) -> str:
    """A number of bytes with two or three digits: `950 kB`, `4.1 MB`, `1.3 GB`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count_bytes >= size:
            value = count_bytes / size
            return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"
    return f"{count_bytes / 1000:.0f} kB"
