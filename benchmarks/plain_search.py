"""Plain Ray Tune for so many seconds: OptunaSearch and ASHA over the trials of `benchmarks.plain_trial`, each of which
keeps the generator of its best score.

    python -m benchmarks.plain_search --data-root DIR --seconds 234 --seed 0 --samples 10000 --out FOLDER

Writes FOLDER/plain.npy, samples [N, 1, 28, 28] of the generator of the best trial, and FOLDER/plain.json, with how long
it took from --began (`time.monotonic`) until its table was there; drawing the samples is not counted.
"""

import argparse
import json
import os
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.plain_tune import run_plain
from benchmarks.search_case import search_spec


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_search", description=__doc__)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of forward passes")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--began", type=float, help="when the command was given; without it, now")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    began = time.monotonic() if given.began is None else given.began
    spec, kept = search_spec(given.data_root, given.seed, 1.0, given.precision), given.out / "kept"
    spec = replace(spec, space=spec.space.drawing_averages())  # a trial there has one average, of a half-life drawn
    kept.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = run_plain(spec, len(os.sched_getaffinity(0)), kept.resolve(), given.seconds)
    best = table.sort_values("score").iloc[0]
    said = {"trials": len(table), "score": float(best["score"]), "seconds": time.monotonic() - began}
    (given.out / "plain.json").write_text(json.dumps(said))
    draw(spec, best, kept / f"{best['trial_id']}.safetensors", given)


def draw(spec: Any, best: Any, file: Path, given: argparse.Namespace) -> None:
    """Samples of the kept generator."""
    import numpy as np
    import torch

    from benchmarks.stock_networks import stock_networks
    from gan_core.training.checkpoint import load_tensors

    names = spec.space.distributions()
    config = spec.space.configuration({name: _plain(best[name]) for name in names}, seed=given.seed)
    generator, _ = stock_networks(config, (1, 28, 28), 10)
    generator.load_state_dict(load_tensors(file))
    latents = torch.randn(
        given.samples, config.structure.latent_size, generator=torch.Generator().manual_seed(given.seed)
    )
    with torch.no_grad():
        images = generator.eval()(latents).reshape(given.samples, 1, 28, 28)
    np.save(given.out / "plain.npy", images.numpy())


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


if __name__ == "__main__":
    main()
