"""The sweep that an expert writes today with plain Ray Tune: a process for each trial that trains.

    python -m benchmarks.plain_tune CASE [--data-root DIR] [--pruning] [--small] [--seed 0] [--out TABLE.csv]

The same spec as ours (`benchmarks.sweep_cases`): space, trials, budgets, scores. The stock trial in a function
trainable, workers that are reused and load data and scorer once, one torch thread a core, OptunaSearch (TPE),
ASHAScheduler for pruning or none, no loggers and no checkpoints. torch is not imported in the driver, which would
delay the first trial.
"""

import argparse
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.sweep_cases import CASES, case_spec
from gan_core.config.input_error import InputError
from sweep.spec.sweep_spec import SweepSpec

RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_worker_niceness": "0",  # as in ours
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # this node is 127.0.0.1
    "OMP_NUM_THREADS": "1",
}
OBJECT_STORE_BYTES = 100 * 1024 * 1024
SHOWN = ("trial_id", "score", "images", "completed")


def scheduler_of(spec: SweepSpec) -> Any:
    """ASHA with our ladder's rungs, which a trial reports one by one, or no pruning."""
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

    if spec.ladder.keep_fraction == 1:
        return FIFOScheduler()
    factor, rungs = round(1 / spec.ladder.keep_fraction), spec.ladder.rungs_images
    if len(rungs) == 2:
        return ASHAScheduler(time_attr="training_iteration", grace_period=1, max_t=2, reduction_factor=factor)
    assert all(high == factor * low for low, high in pairwise(rungs)), "ASHA's rungs are powers of the reduction factor"
    return ASHAScheduler(time_attr="images", grace_period=rungs[0], max_t=rungs[-1], reduction_factor=factor)


def run_plain(spec: SweepSpec, cores: int, keep: Path | None = None, seconds: float | None = None) -> pd.DataFrame:
    """A row for each trial, of its last report: its lowest `score`, `images` trained, and whether it `completed`.

    keep: see `benchmarks.plain_trial`; seconds: as many trials as they allow, instead of the spec's. Raises what the
    first trial that failed raised.
    """
    os.environ.update(RAY_SETTINGS)
    import ray

    for name in ("ray", "ray.tune", "ray.train", "ray.air", "optuna"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="pt-", ignore_cleanup_errors=True) as folder:
        ray.init(
            address="local",
            num_cpus=cores,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=folder,
            _system_config={"enable_worker_prestart": False, "prestart_worker_first_driver": False},
        )
        try:
            results = tuner(spec, cores, folder, keep, seconds).fit()
        finally:
            ray.shutdown()
    if results.num_errors:
        raise results.errors[0]
    # get_dataframe() would read the files of the loggers, which cost time and are off.
    return pd.DataFrame([{**(result.metrics or {}), **(result.config or {})} for result in results])


def tuner(spec: SweepSpec, cores: int, folder: str, keep: Path | None, seconds: float | None) -> Any:
    """The tune.Tuner of a spec: Optuna's TPE over the same distributions, the space's base first."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    def trial(parameters: Mapping[str, Any]) -> None:
        from benchmarks.plain_trial import run_trial

        run_trial(spec, parameters, keep)

    search = OptunaSearch(
        spec.space.distributions(),
        metric="score",
        mode="min",
        points_to_evaluate=[spec.space.parameters_of({})],
        seed=spec.seed,
    )
    return tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            metric="score",
            mode="min",
            search_alg=search,
            scheduler=scheduler_of(spec),
            num_samples=spec.trials if seconds is None else -1,
            time_budget_s=seconds,
            max_concurrent_trials=cores,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=f"{folder}/results", verbose=0, failure_config=tune.FailureConfig(fail_fast=True)
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_tune", description=__doc__)
    parser.add_argument("case", choices=list(CASES))
    parser.add_argument("--data-root", help="the folder that holds MNIST/raw/*.gz")
    parser.add_argument("--pruning", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seed", type=int, default=0, help="of the sampler")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of forward passes")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, help="a CSV file for the table")
    given = parser.parse_args()
    try:
        spec = case_spec(
            given.case,
            given.data_root,
            pruning=given.pruning,
            small=given.small,
            seed=given.seed,
            precision=given.precision,
        )
    except InputError as error:
        sys.exit(str(error))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = run_plain(spec, given.cores).sort_values("score")
    if given.out is not None:
        table.to_csv(given.out, index=False)
    print(table[list(SHOWN)].head(10).to_string(index=False))


if __name__ == "__main__":
    main()
