"""Estimates the memory of training, by building a small array and counting what torch allocates for it.

A lane holds weights, gradients, moments and its inputs. The programs of a training step also need scratch memory, once
for each number of lanes per call, and building them briefly takes more, which the C library seldom returns to the
system. The samples scored at a rung are held for all lanes at once. All of this is proportional to the number of lanes,
so two lanes are enough to measure.
"""

import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gan_core.config.conditions import Execution
from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import (
    DIGITS_TRAIN_IMAGES,
    HELD_OUT_VALUES,
    POLYGONS_HELD_OUT_IMAGES,
    POLYGONS_TRAIN_IMAGES,
    TRAIN_VALUES,
    Dataset,
)
from gan_core.data.known_forms import known_form
from gan_core.execution.pace import Pace
from gan_core.execution.programs import ProgramMaker
from gan_core.lanes.axis import lane_arithmetic
from gan_core.lanes.torch_internals import TorchDispatchMode, tensors_in
from gan_core.networks.architectures import sized_networks
from gan_core.networks.latents import latent_numbers
from gan_core.training.fastest import Work, fastest_execution
from gan_core.training.lane_array import LaneArray, measured_array

# Resident memory without lanes and data (torch 2.15, Linux, no Ray): 0.80 GB in a sweep of digits, 0.92 GB of MNIST.
PROCESS_BYTES = 850_000_000
MEASURED_LANES = 2
FLOAT_BYTES = 4
IMAGE_FORMS: Mapping[str, tuple[tuple[int, int, int], int, int]] = {  # shape, classes, images in both splits
    "digits": ((1, 8, 8), 10, 1_797),
    "polygons": ((1, 28, 28), 0, POLYGONS_TRAIN_IMAGES + POLYGONS_HELD_OUT_IMAGES),
    "mnist": ((1, 28, 28), 10, 70_000),
    "fashion_mnist": ((1, 28, 28), 10, 70_000),
    "cifar10": ((3, 32, 32), 10, 60_000),
}
UNREAD_CHANNELS, UNREAD_CLASSES = 3, 10  # assumed of a user's images that have not been read on this machine


@dataclass(frozen=True)
class DataForm:
    """What the name of a data set says about its samples. bytes: of both splits in float32; 0 if not known."""

    sample_shape: tuple[int, ...]
    classes: int
    bytes: int


def sees_gpu() -> bool:
    """Whether torch sees a GPU on this machine."""
    return torch.cuda.is_available()


def data_form(structure: StructureConfig) -> DataForm:
    """The form of the samples that a structure is trained on, without reading them.

    A user's images have the form in which they were last read here; of others, three channels and ten classes are
    assumed. Raises InputError if these have no size.
    """
    name = parse_dataset_name(structure.dataset)
    if name.is_values:
        samples = TRAIN_VALUES + HELD_OUT_VALUES
        return DataForm((name.value_size,), 0, samples * name.value_size * FLOAT_BYTES)
    if name.is_users:
        unread = (UNREAD_CHANNELS, 0, 0), UNREAD_CLASSES, 0
        (channels, own, _), classes, images = known_form(name, structure.image_size_pixels) or unread
    else:
        (channels, own, _), classes, images = IMAGE_FORMS[name.kind]
    side = structure.image_size_pixels or own
    if not side:
        raise InputError(f"data set {structure.dataset!r} has no size of its own; set image_size_pixels, such as 32")
    return DataForm((channels, side, side), classes, images * channels * side**2 * FLOAT_BYTES)


@dataclass(frozen=True)
class MemoryNeed:
    """The memory that a lane needs, in bytes.

    kept: held as long as the lane is trained. scratch: held by programs and traces for each lane of a call. building:
    held besides while these are made. scored: held while samples are compared. fed: the part of kept that is not
    weights, gradients, moments and averages. in_turn: lanes are computed one after the other, so that scratch and
    building are needed for a single lane, and programs are built before other calls get their inputs.
    """

    kept_bytes: int
    scratch_bytes: int
    building_bytes: int
    scored_bytes: int
    fed_bytes: int
    in_turn: bool

    def array_bytes(self, lanes: int, sizes: Sequence[int]) -> int:
        """The peak memory of an array. sizes: the lanes in each of its calls; each distinct size needs scratch."""
        if self.in_turn:
            unfed = self.fed_bytes * (lanes - sizes[0])
            for_a_time = max(self.building_bytes - unfed, self.scored_bytes * lanes)
            return self.kept_bytes * lanes + self.scratch_bytes + for_a_time
        called = sum(set(sizes))
        for_a_time = max(self.building_bytes * called, self.scored_bytes * lanes)
        return self.kept_bytes * lanes + self.scratch_bytes * called + for_a_time

    def cohort_bytes(self, lanes: int, largest_call: int) -> int:
        """The peak memory of an array that tries calls of 1, 2, 4, ... lanes up to the largest, as `Pace` does."""
        return self.array_bytes(lanes, Pace(largest=largest_call).parts(lanes))


def row_bytes(config: GanConfig, averages: int = 1) -> int:
    """The bytes of a lane's networks alone: weights, two gradients, two moments, and the generator's moving averages.

    Raises InputError as `sized_networks` does.
    """
    form = data_form(config.structure)
    generator, discriminator = sized_networks(config.structure, form.sample_shape, form.classes)
    buffers = sum(math.prod(s) for network in (generator, discriminator) for s in network.buffers().values())
    averaged = generator.parameter_count() + sum(math.prod(s) for s in generator.buffers().values())
    trained = generator.parameter_count() + discriminator.parameter_count()
    return FLOAT_BYTES * (5 * trained + buffers + averages * averaged)


def lane_memory(
    config: GanConfig, samples: int, execution: Execution = "auto", averages_images: Sequence[float] = ()
) -> MemoryNeed:
    """Measures what such a lane takes on the CPU in float32, by two arrays of two lanes on artificial data.

    Each is trained for one step, which takes seconds. samples: the number drawn per lane at a rung; averages_images: as
    in `LaneArray`. Raises InputError as `LaneArray` does.
    """
    form = data_form(config.structure)
    dataset = made_data(config.structure, form)
    if execution == "auto":  # chosen before allocations are counted, because counting distorts the timing
        work = Work(config.structure, form.sample_shape, form.classes, "float32", torch.float32)
        execution = fastest_execution(work, measured_array)
    with lane_arithmetic(), Allocations() as allocations:
        array = _trained(config, dataset, None, execution, averages_images)
        held, most = allocations.now_bytes, allocations.most_bytes
        another = _trained(config, dataset, array.programs, execution, averages_images)  # shares the programs
        kept = allocations.now_bytes - held
    assert another.programs is array.programs
    numbers = 2 * math.prod(form.sample_shape) + latent_numbers(config.structure, array.networks)
    in_turn = array.programs.lane_memory.bytes > 0
    called = 1 if in_turn else MEASURED_LANES
    return MemoryNeed(
        kept_bytes=kept // MEASURED_LANES,
        scratch_bytes=(held - kept) // called,
        building_bytes=(most - held) // called,
        scored_bytes=samples * numbers * FLOAT_BYTES,
        fed_bytes=kept // MEASURED_LANES - row_bytes(config, len(averages_images) or 1),
        in_turn=in_turn,
    )


def _trained(
    config: GanConfig,
    dataset: Dataset,
    programs: ProgramMaker | None,
    execution: Execution,
    averages_images: Sequence[float],
) -> LaneArray:
    """An array of MEASURED_LANES lanes of this configuration after its first step, in one call."""
    lanes = [config] * MEASURED_LANES
    array = LaneArray(
        lanes,
        dataset,
        programs=programs,
        execution=execution,
        averages_images=averages_images,
        budget_images=config.structure.batch_size,
    )
    array.train_to(config.structure.batch_size)
    return array


def made_data(structure: StructureConfig, form: DataForm) -> Dataset:
    """An artificial data set of this form, all zeros."""
    samples = torch.zeros(DIGITS_TRAIN_IMAGES, *form.sample_shape)
    labels = torch.zeros(len(samples), dtype=torch.int64) if form.classes else None
    return Dataset(structure.dataset, samples, labels, samples, labels, form.classes, "")


class Allocations(TorchDispatchMode):
    """Counts the memory of the tensors created within it: `now_bytes` of those still alive, `most_bytes` at the peak.

    Memory that an operator allocates and frees internally is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_bytes = self.most_bytes = 0
        self._living: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {x.untyped_storage().data_ptr() for x in tensors_in((args, kwargs or {}))}
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in(result):
            if tensor.untyped_storage().device.type != "meta":
                self._see(tensor.untyped_storage(), given)
        return result

    def _see(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        identity, size = storage.data_ptr(), storage.nbytes()
        if identity in self._living or identity in given:
            return
        self._living.add(identity)
        self.now_bytes += size
        self.most_bytes = max(self.most_bytes, self.now_bytes)
        weakref.finalize(storage, self._forget, identity, size)

    def _forget(self, identity: int, size: int) -> None:
        self._living.discard(identity)
        self.now_bytes -= size
