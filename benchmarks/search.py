"""Which finds the better generator in the same time: gan-sweep, or Ray Tune with OptunaSearch and ASHA ("plain").

    python -m benchmarks.search --data-root DIR [--minutes 4] [--seeds 10] [--first-seed 0] [--out FOLDER]

The data are MNIST and the space is `mlp` as it is shipped. Both sides get the same wall time, counted from the start of
the command and including the start of Ray, the same space, rungs, keep fraction, scores, precision and seed. They train
as many trials as they can, and each keeps the generator with its best score. bfloat16, which is the default where the
processor multiplies in it, comes from torch.autocast in plain Ray Tune. In gan-sweep a trial keeps every moving average
of the space and is scored with each; in plain Ray Tune the half-life is drawn like all else. The two generators are
then compared by the Frechet distance of 10,000 samples to the held-out split, in the features of a classifier that
neither has seen (`benchmarks.judge`). The sides take turns in going first.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.judge import Judge, accuracy, judged_distance, trained_judge
from benchmarks.search_case import search_spec
from benchmarks.sweep import machine
from gan_core.config.gan import GanConfig
from gan_core.data.dataset import Dataset, load_dataset
from gan_core.lanes.axis import lane_arithmetic
from gan_core.lanes.precision import host_pairs, host_rounds
from gan_core.training.checkpoint import load_tensors
from gan_core.workshop.saved_generator import SampleKind, sample_generator
from results.store import RunFolder
from results.table import ResultsTable
from results.trial_run import TrialRun

ROOT = Path(__file__).absolute().parent.parent
SAMPLES = 10_000
OURS_STARTS_SECONDS, PLAIN_STARTS_SECONDS = 13.0, 15.0  # how long each takes outside the limit that it is given


def timed(command: Sequence[str]) -> float:
    """Wall seconds of a Python module that is run as a command, with one torch thread a process. Raises RuntimeError
    where it fails.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return time.monotonic() - started


@dataclass(frozen=True)
class Case:
    """What both sides are given. precision: "float32" or "bfloat16"."""

    data_root: str
    seconds: float
    precision: str


def search_ours(case: Case, seed: int, folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Runs `gan-sweep run`. Returns samples [N, 1, 28, 28] of the generator that it kept, and figures of the run."""
    hours = (case.seconds - OURS_STARTS_SECONDS) / 3600
    spec = search_spec(case.data_root, seed, hours, case.precision)
    (file := folder / "spec.yaml").write_text(spec.to_yaml())
    took = timed(["sweep.commands.cli", "run", str(file), "--out", str(folder / "run")])
    table, run = ResultsTable.load(folder / "run", whole=True), RunFolder(folder / "run")
    best: Any = table.best()
    config = GanConfig.unflatten({name: _plain(best[name]) for name in GanConfig().flatten()})
    weights = load_tensors(run.best_generator(TrialRun(int(best["trial"]))))
    with lane_arithmetic():
        images = sample_generator(config, SampleKind((1, 28, 28), 10), weights, SAMPLES, seed).numpy()
    return images, {"seconds": took, "trials": len(table.trials), "score": float(best["score"])}


def search_plain(case: Case, seed: int, folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Runs `benchmarks.plain_search` in another process. Returns as `search_ours` does."""
    limit = case.seconds - PLAIN_STARTS_SECONDS
    command = ["benchmarks.plain_search", "--data-root", case.data_root, "--seed", str(seed)]
    command += ["--precision", case.precision]
    began = ["--began", str(time.monotonic())]
    timed([*command, "--seconds", str(limit), "--samples", str(SAMPLES), "--out", str(folder), *began])
    return np.load(folder / "plain.npy"), json.loads((folder / "plain.json").read_text())


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def measure(case: Case, seed: int, judge: Judge, dataset: Dataset) -> dict[str, Any]:
    """Runs both sides for one seed, one after the other. Returns the figures of each and the judge's distance."""
    sides = {"ours": search_ours, "plain": search_plain}
    found: dict[str, Any] = {"seed": seed}
    for name in sides if seed % 2 == 0 else reversed(sides):
        with tempfile.TemporaryDirectory() as folder:
            images, said = sides[name](case, seed, Path(folder))
        found[name] = {**said, "judged": judged_distance(judge, dataset, torch.from_numpy(images))}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--data-root", required=True, help="the folder that holds MNIST/raw/*.gz")
    parser.add_argument("--minutes", type=float, default=4.0, help="of each side, from Enter")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    best = "bfloat16" if host_rounds() or host_pairs() else "float32"
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default=best, help="of both sides")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/search"), help="where the figures of each seed and the judge are stored"
    )
    given = parser.parse_args()
    root = os.path.abspath(os.path.expanduser(given.data_root))
    given.out.mkdir(parents=True, exist_ok=True)
    print(machine())
    print(f"both sides in {given.precision}")
    case = Case(root, 60 * given.minutes, given.precision)
    dataset = load_dataset("mnist", Path(root))
    judge = trained_judge(dataset, given.out / "judge.safetensors")
    print(f"the judge names the class of {accuracy(judge, dataset):.4f} of the held-out images\n")
    print("| seed | judged, ours | plain | score, ours | plain | trials, ours | plain | seconds, ours | plain |")
    print("|---|---|---|---|---|---|---|---|---|")
    won = 0
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        found = measure(case, seed, judge, dataset)
        with (given.out / "seeds.jsonl").open("a") as file:
            file.write(json.dumps(found) + "\n")
        ours, plain = found["ours"], found["plain"]
        won += ours["judged"] < plain["judged"]
        pairs = [
            *(f"{ours[k]:.3f} | {plain[k]:.3f}" for k in ("judged", "score")),
            *(f"{ours[k]:.0f} | {plain[k]:.0f}" for k in ("trials", "seconds")),
        ]
        print(f"| {seed} | {' | '.join(pairs)} |", flush=True)
    print(f"\nours is better in {won} of {given.seeds} seeds")


if __name__ == "__main__":
    main()
