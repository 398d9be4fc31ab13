"""A sweep over curves whose files are large, on the cluster that $RAY_ADDRESS names:

python -m heavy_curves FOLDER
"""

import json
import sys
from pathlib import Path

from curve_array import CurveArray, curve_spec, run_folder

from sweep.runners.progress import ProgressDisplay
from sweep.runners.ray.runner import run_ray

SPEC = curve_spec(trials=4, lanes_per_cohort=1, sampler="random")
SIZE_BYTES = 200_000_000


class HeavyCurve(CurveArray):
    """Its file ends with blanks, which JSON does not mind."""

    def save(self, path: Path) -> None:
        text = json.dumps([self.images, self.read_at, [config.seed for config in self.configs]])
        path.write_text(text + " " * SIZE_BYTES)


if __name__ == "__main__":
    display = ProgressDisplay(SPEC.ladder, SPEC.objective, [])
    run_ray(SPEC, run_folder(SPEC, Path(sys.argv[1])), display, build=HeavyCurve)
