"""What a sweep costs beside training.

    python -m benchmarks.formulas [--trials 1000] [--lanes 32] [--sampler tpe] [--address HOST:PORT]

Scores are formulas of the configuration. All else is as in any sweep: Ray, the sampler, pruning at four rungs, the
journal and the rows on disk. Prints the seconds that it took and the memory of each process. With an address, the sweep
is on that cluster, and the processes are those of this machine.
"""

import argparse
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.first_sweep import family_of
from gan_core.config.gan import GanConfig
from gan_core.config.reports import FidelityReport, LaneReport, Midway
from results.store import RunFolder
from results.table import ResultsTable
from sweep.runners.progress import ProgressDisplay
from sweep.runners.ray.runner import run_ray
from sweep.spec.sweep_spec import SweepSpec

SPACE = {
    "name": "formula",
    "base": {"lane.beta1": 0.5, "structure.generator_width": 64},
    "ranges": {
        "structure.generator_width": {"choices": [64, 128]},
        "lane.generator_lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "lane.discriminator_lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "lane.beta1": {"low": 0.0, "high": 0.9},
        "lane.beta2": {"low": 0.9, "high": 0.999},
    },
}
SAMPLED_SECONDS = 1.0


class FormulaArray:
    """A `TrainableArray` without training. Scores are lowest where both rates are 1e-3 and beta1 is 0.5, and fall by
    100/images.
    """

    choices = 0

    def __init__(self, configs: Sequence[GanConfig], averages_images: Sequence[float] = ()) -> None:
        self.configs, self.images = list(configs), 0

    def train_to(self, images: int, on_step: Callable[[int], None] | None = None) -> list[LaneReport]:
        self.images = images
        if on_step is not None:
            on_step(images)
        return self.score()

    def score(self) -> list[LaneReport]:
        return [self._report(config) for config in self.configs]

    def _report(self, config: GanConfig) -> LaneReport:
        lane = config.lane
        score = (math.log10(lane.generator_lr) + 3) ** 2 + (math.log10(lane.discriminator_lr) + 3) ** 2
        score += (lane.beta1 - 0.5) ** 2 + 100 / self.images + (config.seed % 101) / 1e4
        report = FidelityReport({"fidelity": score, "fidelity_error": 1e-4}, "formula", "none")
        return LaneReport(self.images, 1.0, 1.0, report, {}, (), None, 0.0, "cpu")

    def keep(self, lanes: Sequence[int]) -> None:
        self.configs = [self.configs[lane] for lane in lanes]

    def take_over(self, sources: Sequence[int], configs: Sequence[GanConfig]) -> None:
        self.configs = list(configs)

    def picture(self, lane: int, count: int) -> np.ndarray:
        return np.zeros((1, 1, 2, 2), np.float32)

    def save(self, path: Path) -> None:
        path.write_text(str(self.images))

    def save_lane(self, lane: int, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(self.images))

    save_generator = save_lane

    def save_midway(self, path: Path) -> Midway | None:
        return None  # nothing takes minutes

    def load_midway(self, path: Path, midway: Midway) -> None:
        raise AssertionError("nothing is saved between rungs")

    def load_lanes(self, places: Sequence[tuple[Path, int]]) -> None:
        self.images = int(places[0][0].read_text())


class _Memory(threading.Thread):
    """Samples the resident memory of this process and its descendants, by their names, until `stop` is set.
    all_of_host: of all processes of this machine instead.
    """

    def __init__(self, all_of_host: bool) -> None:
        super().__init__(daemon=True)
        self._all_of_host = all_of_host
        self.stop, self.megabytes = threading.Event(), dict[str, list[float]]()

    def run(self) -> None:
        while not self.stop.wait(SAMPLED_SECONDS):
            for pid in self._pids():
                try:
                    name = "driver" if pid == os.getpid() else _title(pid)
                    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                except (OSError, IndexError):
                    continue
                if name:
                    self.megabytes.setdefault(name, []).append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)

    def _pids(self) -> set[int]:
        if self._all_of_host:
            return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()}
        return {os.getpid(), *family_of(os.getpid())}


def _title(pid: int) -> str:
    """ "study" or "trainer" for a process that is one, otherwise empty."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return "study" if "LaneStudy" in words else "trainer" if "CohortTrainable" in words else ""


def measure(
    trials: int, sampler: str, lanes: int, address: str | None = None
) -> tuple[float, ResultsTable, dict[str, list[float]]]:
    """Runs a sweep, on the cluster at `address` where there is one. Returns the seconds from the
    call to the table, the table, and the memory in MB of each kind of process over time.
    """
    spec = SweepSpec.from_mapping(
        {
            "space": SPACE,
            "trials": trials,
            "lanes_per_cohort": lanes,
            "ladder": {"rungs_images": [100, 300, 900, 2700], "keep_fraction": 1 / 3},
            "sampler": sampler,
            "tracking": {"tensorboard": False},
        }
    )
    memory = _Memory(all_of_host=address is not None)
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run").create()
        folder.spec.write_text(spec.to_yaml())
        memory.start()
        started = time.monotonic()
        with open(os.devnull, "w") as nowhere, ProgressDisplay(spec.ladder, spec.objective, [], nowhere) as watch:
            run_ray(spec, folder, watch, address, build=FormulaArray)
        table = ResultsTable.load(folder.path)
        seconds = time.monotonic() - started
        memory.stop.set()
    return seconds, table, memory.megabytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--lanes", type=int, default=32)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--address")
    options = parser.parse_args()
    if options.address is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray reads it when it is imported
    if __name__ == "__main__":
        from ray import cloudpickle

        cloudpickle.register_pickle_by_value(sys.modules[__name__])
    seconds, table, memory = measure(options.trials, options.sampler, options.lanes, options.address)
    outcomes: Any = table.trials["outcome"].value_counts().to_dict()
    print(f"{options.trials:,} trials, cohorts of {options.lanes}, {options.sampler}: {seconds:.1f} s; {outcomes}")
    print(f"best score {table.best()['score']:.4f}")
    for name, values in sorted(memory.items()):
        third = max(1, len(values) // 3)
        early, late = np.median(values[third : 2 * third] or values), np.median(values[-third:])
        print(f"{name:8} MB, middle third {early:7.0f}, last third {late:7.0f}, most {max(values):7.0f}")
        quarter, end = values[len(values) // 4], np.median(values[-5:])
        print(f"{name:8} MB, a quarter {quarter:7.0f}, end {end:7.0f}")


if __name__ == "__main__":
    main()
