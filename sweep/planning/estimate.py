"""Estimates the memory of a sweep, as text. Imported only by `--dry-run`, because it loads torch."""

from gan_core.config.gan import GanConfig
from gan_core.execution.pace import largest_call
from gan_core.native.compiler import compiler
from gan_core.native.toolchain import NoCompiler, tell_replayed
from gan_core.workshop.memory import PROCESS_BYTES, data_form, row_bytes, sees_gpu
from sweep.cohorts.packing import LARGEST_MEASURED_BYTES, in_words, lane_need, largest_configuration, packed, room_of
from sweep.spec.sweep_spec import SweepSpec


def has_gpu(spec: SweepSpec) -> bool:
    """Whether the cohorts would be trained on a GPU of this machine."""
    return spec.resources.gpus_per_cohort != 0 and sees_gpu()


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
    room = room_of(spec.resources, on_gpu=has_gpu(spec))
    if room is not None and (why := packed(spec, lanes, room).why):
        lines.append(why)
    if spec.execution in ("auto", "compiled"):
        try:
            compiler()
        except NoCompiler as error:
            tell_replayed(error)
    return "\n".join(lines)


def _line(spec: SweepSpec, config: GanConfig, lanes: int) -> tuple[str, int]:
    """The memory of a lane and of a cohort of one structure, as text, and the bytes of the cohort."""
    rows = row_bytes(config, len(spec.space.averages_images) or 1)
    if rows > LARGEST_MEASURED_BYTES:
        return f"more than {in_words(rows)} a lane, {in_words(rows * lanes)} a cohort of {lanes}", rows * lanes
    memory = lane_need(spec, config, spec.execution)
    cohort_bytes = memory.cohort_bytes(lanes, largest_call(config.structure))
    beside = cohort_bytes - memory.kept_bytes * lanes
    noun = f"{lanes} lane" + ("s" if lanes > 1 else "")
    text = f"a lane keeps {in_words(memory.kept_bytes)}; a cohort of {noun} {in_words(cohort_bytes)}"
    return f"{text}, {in_words(beside)} of it scratch", cohort_bytes
