"""`gan-sweep run`."""

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from sweep.commands.arguments import add_data_options, path, whole_number
from sweep.commands.terminal import INTERRUPTED, width

TOP_TRIALS = 8

ABOUT = "Run a sweep, or go on with an interrupted one. Without SPEC: the 8x8 digits, 32 trials."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares what may follow `gan-sweep run`."""
    part.add_argument("spec", nargs="?", type=path, metavar="SPEC", help="a sweep's YAML file")
    part.add_argument("--name", help="the run's name; its folder is runs/NAME")
    part.add_argument("--out", type=path, metavar="DIR", help="the run's folder, instead of runs/NAME")
    part.add_argument("--trials", type=whole_number(1), metavar="N", help="how many configurations are tried")
    assignment = "a spec key (ladder.keep_fraction=0.5), or a hyperparameter to fix (lane.beta1=0.5)"
    part.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=assignment)
    add_data_options(part)
    part.add_argument("--address", metavar="RAY", help="a running Ray cluster (host:port); without it one starts here")
    part.add_argument("--local", action="store_true", help="train in this process, without Ray")
    extend = "go on with a run that is there with more trials, further rungs, another budget or other confirmations"
    part.add_argument("--extend", action="store_true", help=extend)
    warm = "try the best trials of this earlier run first, after trial 0"
    part.add_argument("--warm-start", type=path, metavar="RUN", help=warm)
    part.add_argument("--dry-run", action="store_true", help="print what would be done and its cost; start nothing")


def execute(options: argparse.Namespace) -> int:
    """Runs the sweep and prints what came of it; with --dry-run, what would be run. Returns the exit code."""
    spec = _spec(options)
    from results.store import RunFolder
    from sweep.run import check_run, is_finished, run_sweep

    folder = RunFolder(options.out or Path("runs") / spec.name)
    if options.dry_run:
        check_run(spec, folder, download=options.download, extend=options.extend)
        _print_plan(spec, options.local)
        return 0
    finished = folder.holds_run() and is_finished(spec, folder)
    signal.signal(signal.SIGTERM, _raise_interrupt)
    try:
        table = run_sweep(
            spec,
            folder.path,
            local=options.local,
            address=options.address,
            download=options.download,
            extend=options.extend,
        )
    except KeyboardInterrupt:
        again = shlex.join(["gan-sweep", *options.typed])
        print(f"\ninterrupted; what was reported is in {folder.path}. Go on with: {again}", file=sys.stderr)
        return INTERRUPTED
    if finished:
        print(f"{folder.path} is finished: {spec.trials} trials. See them: gan-sweep results {folder.path}")
        return 0
    _print_outcome(table, folder)
    return 0


def _spec(options: argparse.Namespace) -> Any:
    from sweep.spec import SweepSpec

    assignments = list(options.set)
    for key, value in (("trials", options.trials), ("name", options.name), ("data_root", options.data_root)):
        if value is not None:
            assignments.append(f"{key}={value if key == 'trials' else repr(str(value))}")
    if options.skip_corrupt_images:
        assignments.append("skip_corrupt_images=true")
    given = options.spec
    spec = SweepSpec.from_mapping({}, assignments) if given is None else SweepSpec.from_yaml(given, assignments)
    return spec if options.warm_start is None else _warm_started(spec, options)


def _warm_started(spec: Any, options: argparse.Namespace) -> Any:
    """The spec with the best points of an earlier run; where the run is there already, with those it began with."""
    from dataclasses import replace

    from results.store import RunFolder
    from sweep.spec import SweepSpec
    from sweep.warm_start import best_points

    folder = RunFolder(options.out or Path("runs") / spec.name)
    if folder.holds_run():
        return replace(spec, enqueue=SweepSpec.from_yaml(folder.spec).enqueue)
    return replace(spec, enqueue=(*spec.enqueue, *best_points(options.warm_start, spec.space)))


def _print_plan(spec: Any, local: bool) -> None:
    from search_spaces.describe import describe_space
    from sweep.estimate import has_gpu, memory_lines  # torch from here on

    slots = 1 if local else os.cpu_count() or 1
    size = spec.cohort_size(slots, on_gpu=has_gpu(spec))
    print(spec.to_yaml())
    print(describe_space(spec.space))
    most = spec.trials * spec.ladder.rungs_images[-1]
    lanes = "1 lane" if size == 1 else f"{size} lanes"
    print(
        f"\n{spec.trials} trials in {-(-spec.trials // size)} cohorts of up to {lanes}, {slots} at a time\n"
        f"about {spec.ladder.expected_images(spec.trials):,} images shown to discriminators, {most:,} without pruning"
    )
    print(f"{memory_lines(spec, size, slots)}\nnothing was started (--dry-run)")


def _print_outcome(table: Any, folder: Any) -> None:
    from results.text import confirmation_text, disk_text, trials_text

    print(trials_text(table, table.trials.head(TOP_TRIALS), reasons=False, width=width()))
    if table.contenders.empty:
        print(
            f"no trial has a score ({table.endings}); the table's reasons say why, most often rates that are too high"
        )
        return
    if folder.best_samples.exists():
        print(f"samples of the best: {folder.best_samples}")
    best, base = table.best(), table.baseline()
    print(f"best: trial {best['trial']}, {table.objective} {best['score']:.4g}", end="")
    if base is not None and best["trial"] != 0:
        print(f"; the defaults (trial 0) reach {base['score']:.4g}")
    else:
        print("; the defaults (trial 0) were not beaten" if best["trial"] == 0 else "; the defaults have no score")
    if found := confirmation_text(table, width()):
        print(found)
    print(disk_text(folder))
    print(f"next: gan-sweep export {shlex.quote(str(folder.path))} -o best.yaml")


def _raise_interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt
