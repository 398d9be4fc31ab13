"""Estimates the memory of a sweep, as text. Imported only by `--dry-run`, because it loads torch."""

from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.gan import GanConfig
from gan_core.execution.pace import largest_call
from gan_core.fidelity.scorers import IMAGE_SAMPLES
from gan_core.fidelity.value_scorers import PLANE_SAMPLES, VALUE_SAMPLES
from gan_core.native.compiler import compiler
from gan_core.native.toolchain import NoCompiler, tell_replayed
from gan_core.workshop.memory import PROCESS_BYTES, data_form, lane_memory, row_bytes, sees_gpu
from search_spaces.space import SearchSpace
from sweep.spec.sweep_spec import SweepSpec

LARGEST_MEASURED_BYTES = 2**29  # the networks of a larger lane are not built; only their shapes are counted


def has_gpu(spec: SweepSpec) -> bool:
    """Whether the cohorts would be trained on a GPU of this machine."""
    return spec.resources.gpus_per_cohort != 0 and sees_gpu()


def largest_configuration(space: SearchSpace) -> GanConfig:
    """The base with every searched number at the top of its range; texts, such as the loss, keep their base values."""
    tops = {
        scope.parameter(name): max(scope.extremes)
        for name, scope in space.ranges.items()
        if all(isinstance(value, int | float) for value in scope.extremes)
    }
    return space.configuration(tops, space.base.seed)


def memory_lines(spec: SweepSpec, lanes: int, processes: int) -> str:
    """The memory of a lane, of a cohort and of all processes on the CPU, as text; takes seconds.

    It covers the structure of the base and, if it differs, the largest structure. lanes: per cohort. Warns if training
    steps cannot be compiled.
    """
    base, largest = spec.space.base, largest_configuration(spec.space)
    line, cohort_bytes = _line(spec, base, lanes)
    lines = [f"memory, at its most: {line}"]
    if largest.structure != base.structure:
        line, cohort_bytes = _line(spec, largest, lanes)
        lines.append(f"its largest structure: {line}")
    data_bytes = data_form(base.structure).bytes
    once = f"{in_words(PROCESS_BYTES)} of a process itself and "
    once += f"{in_words(data_bytes)} of data" if data_bytes else "what the pictures take"
    count = f"{processes} process" + ("es" if processes > 1 else "")
    total = in_words(processes * (cohort_bytes + PROCESS_BYTES + data_bytes))
    lines.append(f"with {once}, {count} about {total}")
    if spec.execution in ("auto", "compiled"):
        try:
            compiler()
        except NoCompiler as error:
            tell_replayed(error)
    return "\n".join(lines)


def _line(spec: SweepSpec, config: GanConfig, lanes: int) -> tuple[str, int]:
    """The memory of a lane and of a cohort of one structure, as text, and the bytes of the cohort."""
    averages = spec.space.averages_images
    rows = row_bytes(config, len(averages) or 1)
    if rows > LARGEST_MEASURED_BYTES:
        return f"more than {in_words(rows)} a lane, {in_words(rows * lanes)} a cohort of {lanes}", rows * lanes
    memory = lane_memory(config, spec.scoring.samples or _samples(config), spec.execution, averages)
    cohort_bytes = memory.cohort_bytes(lanes, largest_call(config.structure))
    beside = cohort_bytes - memory.kept_bytes * lanes
    noun = f"{lanes} lane" + ("s" if lanes > 1 else "")
    text = f"a lane keeps {in_words(memory.kept_bytes)}; a cohort of {noun} {in_words(cohort_bytes)}"
    return f"{text}, {in_words(beside)} of it scratch", cohort_bytes


def _samples(config: GanConfig) -> int:
    """The default number of samples per lane at a rung."""
    value_size = parse_dataset_name(config.structure.dataset).value_size
    return (IMAGE_SAMPLES, VALUE_SAMPLES, PLANE_SAMPLES)[value_size]


def in_words(count_bytes: int) -> str:
    """A number of bytes with two or three digits: `950 kB`, `4.1 MB`, `1.3 GB`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count_bytes >= size:
            value = count_bytes / size
            return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"
    return f"{count_bytes / 1000:.0f} kB"
