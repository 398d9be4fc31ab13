"""What a sweep will take of memory, in words. Imports torch: loaded by `--dry-run` alone."""

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

LARGEST_MEASURED_BYTES = 2**29  # of a lane's rows: what is larger is told from its shapes, not built


def has_gpu(spec: SweepSpec) -> bool:
    """Whether cohorts would train on a GPU of this machine."""
    return spec.resources.gpus_per_cohort != 0 and sees_gpu()


def largest_configuration(space: SearchSpace) -> GanConfig:
    """The base with every number that is searched at the top of its range; names (a loss, a norm) stay the base's."""
    tops = {
        scope.parameter(name): max(scope.extremes)
        for name, scope in space.ranges.items()
        if all(isinstance(value, int | float) for value in scope.extremes)
    }
    return space.configuration(tops, space.base.seed)


def memory_lines(spec: SweepSpec, lanes: int, processes: int) -> str:
    """Memory of a lane and of a cohort of so many lanes, for the base and where it differs the largest structure; and
    of so many processes in all. On the CPU; takes seconds. Warns where steps cannot be compiled.
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
    """A structure in words, and the bytes of a cohort of it."""
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
    """How many are drawn at a rung where the spec does not say."""
    value_size = parse_dataset_name(config.structure.dataset).value_size
    return (IMAGE_SAMPLES, VALUE_SAMPLES, PLANE_SAMPLES)[value_size]


def in_words(count_bytes: int) -> str:
    """Bytes in two or three digits: `950 kB`, `4.1 MB`, `1.3 GB`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count_bytes >= size:
            value = count_bytes / size
            return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"
    return f"{count_bytes / 1000:.0f} kB"
