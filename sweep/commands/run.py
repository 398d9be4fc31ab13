"""The command `gan-sweep run`."""

import argparse
import os
import shlex
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from gan_core.config.input_error import InputError, nearest, shown
from gan_core.files.addresses import without_secrets
from results.printable import printable
from sweep.commands.arguments import ADDRESS_HELP, add_data_options, place, whole_number
from sweep.commands.terminal import FAILED, INTERRUPTED, width

TOP_TRIALS = 8

ABOUT = "Run a sweep, or go on with an interrupted one. Without SPEC: the 8x8 digits, 32 trials."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    part.add_argument("spec", nargs="?", metavar="SPEC", help="a sweep's YAML file, or a shipped space's name")
    part.add_argument("--space", metavar="SPACE", help="search this space: a shipped one's name or a YAML file")
    part.add_argument("--name", help="the run's name; its folder is runs/NAME")
    out = "the run's folder, instead of runs/NAME, or its address in an object store (s3://bucket/run)"
    part.add_argument("-o", "--out", type=place, metavar="DIR", help=out)
    part.add_argument("--trials", type=whole_number(1), metavar="N", help="how many configurations are tried")
    part.add_argument(
        "--seed", type=whole_number(0), metavar="S", help="seed of the sampler and, with its number, of each trial"
    )
    assignment = (
        "a spec key (ladder.keep_fraction=0.5), a hyperparameter to fix (lane.beta1=0.5), or a range to search it in "
        "('lane.beta1={low: 0.0, high: 0.5}')"
    )
    part.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=assignment)
    add_data_options(part)
    part.add_argument("--address", metavar="RAY", help=f"{ADDRESS_HELP}; without either, Ray starts here")
    part.add_argument("--local", action="store_true", help="train in this process, without Ray")
    extend = "go on with an existing run with more trials, further rungs, another budget or other confirmations"
    part.add_argument("--extend", action="store_true", help=extend)
    warm = "try the best trials of this earlier run first, after trial 0"
    part.add_argument("--warm-start", type=place, metavar="RUN", help=warm)
    part.add_argument("--quiet", action="store_true", help="print the results, and not how far the sweep is")
    part.add_argument("--dry-run", action="store_true", help="print what would be done and its cost; start nothing")


def execute(options: argparse.Namespace) -> int:
    """Runs the sweep and prints its results; with --dry-run, prints what would be run. Returns the exit code."""
    spec = _spec(options)
    from results.stored_run import run_folder
    from sweep.run import check_run, is_finished, run_sweep
    from sweep.spec.sampler import SamplerConfig, unsearched

    home = options.out or Path("runs") / spec.name
    folder = run_folder(home)
    if options.dry_run:
        check_run(spec, folder, download=options.download, extend=options.extend)
        _print_plan(spec, options.local)
        return 0
    finished = folder.holds_run() and is_finished(spec, folder)
    note = unsearched(spec.sampler, spec.trials, len(spec.objectives))
    if note and spec.sampler != SamplerConfig() and not finished:  # the default sampler is no choice to comment on
        print(note)
    try:
        table = run_sweep(
            spec,
            home,
            local=options.local,
            address=options.address,
            download=options.download,
            extend=options.extend,
            progress=not options.quiet,
        )
    except KeyboardInterrupt:
        again = without_secrets(shlex.join(["gan-sweep", *options.typed]))
        with suppress(OSError):  # the terminal may be closed
            said = printable(f"interrupted; what was reported is in {folder.shown}. Go on with: {again}")
            print(f"\n{said}", file=sys.stderr)
        return INTERRUPTED
    if finished:
        table_of = shlex.join(["gan-sweep", "results", folder.shown])
        print(printable(f"{folder.shown} is finished: {spec.trials} trials. See them: {table_of}"))
    else:
        from results.text import trials_text  # imports pandas, which was loaded while Ray started

        print(trials_text(table, table.trials.head(TOP_TRIALS), reasons=False, width=width()))
    if table.contenders.empty:
        print(_without_winner(table))
        return FAILED
    if not finished:
        _print_winner(table, run_folder(home))
    return 0


def _spec(options: argparse.Namespace) -> Any:
    from results.stored_run import run_folder
    from sweep.proposals.warm_start import warm_started
    from sweep.spec.sweep_spec import SweepSpec

    assignments: list[Any] = list(options.set)
    file, space = _file_or_space(options.spec)
    typed = {
        "space": options.space or space,
        "trials": options.trials,
        "name": options.name,
        "seed": options.seed,
        "data_root": None if options.data_root is None else str(options.data_root),
        "skip_corrupt_images": options.skip_corrupt_images or None,
    }
    assignments += [(key, value) for key, value in typed.items() if value is not None]
    spec = SweepSpec.from_mapping({}, assignments) if file is None else SweepSpec.from_yaml(file, assignments)
    if options.warm_start is None:
        return spec
    return warm_started(spec, run_folder(options.out or Path("runs") / spec.name), options.warm_start)


def _file_or_space(named: str | None) -> tuple[Path | None, str | None]:
    """What SPEC names: a file, a shipped space, or nothing. Where both exist, the file is taken, as it was before
    spaces could be named here, and a warning says so.
    """
    from search_spaces.space import shipped_spaces

    if named is None:
        return None, None
    path, shipped = Path(os.path.expanduser(named)), shipped_spaces()
    if named not in shipped:
        if not path.suffix and not os.path.lexists(path):
            raise InputError(f"{shown(named)} is no file and no shipped space; {nearest(named, shipped)}")
        return path, None
    if not os.path.isfile(path):
        return None, named
    warnings.warn(f"{named} is read as the file of that name; for the shipped space: --space {named}", stacklevel=2)
    return path, None


def _print_plan(spec: Any, local: bool) -> None:
    from results.printable import printable_lines
    from search_spaces.describe import describe_space
    from sweep.planning.estimate import has_gpu, memory_lines  # imports torch
    from sweep.planning.time_estimate import time_lines
    from sweep.runners.cores import usable_cores
    from sweep.spec.sampler import unsearched

    slots, on_gpu = 1 if local else usable_cores(), has_gpu(spec)
    size = spec.cohort_size(slots, on_gpu=on_gpu)
    print(spec.to_yaml())
    print(printable_lines(describe_space(spec.space)))
    shown_to = "seen" if spec.trainer else "shown to discriminators"
    most = spec.trials * spec.ladder.rungs_images[-1]
    trials, cohorts, lanes = (
        f"1 {noun}" if count == 1 else f"{count} {noun}s"
        for count, noun in ((spec.trials, "trial"), (-(-spec.trials // size), "cohort"), (size, "lane"))
    )
    print(
        f"\n{trials} in {cohorts} of up to {lanes}, {slots} at a time\n"
        f"about {spec.ladder.expected_images(spec.trials):,} images {shown_to}, {most:,} without pruning"
    )
    if note := unsearched(spec.sampler, spec.trials, len(spec.objectives)):
        print(note)
    if spec.trainer:
        print("time and memory: not known of your own training before it has run\nnothing was started (--dry-run)")
        return
    print(memory_lines(spec, size, slots))
    print(f"{time_lines(spec, slots, size, 'cuda' if on_gpu else 'cpu')}\nnothing was started (--dry-run)")


def _without_winner(table: Any) -> str:
    """Explains in one line why no trial has a score: how they ended, and the commonest reason of the commonest end."""
    ends = table.trials
    commonest = ends["outcome"].value_counts().index[0]
    reason = ends.loc[ends["outcome"] == commonest, "reason"].value_counts().index[0]
    hint = "; most often rates are too high" if commonest == "diverged" else ""
    return printable(f"no trial has a score ({table.endings}); {commonest}: {reason or 'no reason is known'}{hint}")


def _print_winner(table: Any, folder: Any) -> None:
    from results.objectives import natural, score_name
    from results.text import confirmation_text, disk_text, noise_text

    if folder.best_samples.exists():
        print(f"samples of the best: {printable(folder.best_samples)}")
    best, base = table.best(), table.baseline()
    objective = table.objective
    reached = f"{printable(score_name(objective))} {natural(objective, best['score']):.4g}"
    if breaks := table.breaks(best):
        print(f"no trial keeps the limits; nearest: trial {best['trial']}, {reached}, breaks {breaks}", end="")
    else:
        print(f"best: trial {best['trial']}, {reached}", end="")
    if table.is_baseline(best):
        print("; the defaults (trial 0) were not beaten")
    elif base is not None:
        print(f"; the defaults (trial 0) reach {natural(objective, base['score']):.4g}")
    else:
        print("; the defaults have no score")
    if found := confirmation_text(table):
        print(found)
    if found := noise_text(table):
        print(found)
    print(disk_text(folder))
    print(printable(f"next: gan-sweep export {shlex.quote(folder.shown)} -o best.yaml"))
