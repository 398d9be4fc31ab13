"""A sweep over curves on the cluster that $RAY_ADDRESS names, in which one host is held at its second rung for ever,
and the others wait until it is:

python -m held_curves FOLDER
"""

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from curve_array import CurveArray, curve_spec, run_folder

from gan_core.config.reports import LaneReport
from sweep.runners.progress import ProgressDisplay
from sweep.runners.ray.runner import run_ray

HELD_HOST, HELD = "node1", Path("held")  # a file beside the run's folder tells that the host is held
SPEC = curve_spec(trials=6, lanes_per_cohort=1, sampler="random")


class HeldCurve(CurveArray):
    """Trains on once the process on HELD_HOST is held. Workers import it."""

    held: Path

    def train_to(self, images: int, on_step: Callable[[int], None] | None = None) -> list[LaneReport]:
        here = socket.gethostname() == HELD_HOST
        if here and self.images:
            self.held.touch()
        while (here and self.images) or not (here or self.held.exists()):
            time.sleep(0.05)
        return super().train_to(images, on_step)


def build(held: Path) -> type[HeldCurve]:
    """The class with the place where it tells that it is held."""
    return type("HeldCurve", (HeldCurve,), {"held": held})


if __name__ == "__main__":
    path = Path(sys.argv[1])
    display = ProgressDisplay(SPEC.ladder, SPEC.objective, [])
    run_ray(SPEC, run_folder(SPEC, path), display, build=build(path.parent / HELD))
