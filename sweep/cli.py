"""The command line: one short function a command. Heavy packages are imported by the command that needs them."""

import argparse
import json
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gan_core.config import LARGEST_SEED, InputError
from results.store import ResultsError
from sweep.loading import leave

BAD_INPUT, INTERRUPTED = 2, 130
TOP_TRIALS = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0; 2 after one line about bad input; 130 after Ctrl-C."""
    warnings.showwarning = _warn_in_one_line
    typed = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(typed)
    options.typed = typed
    try:
        return options.command(options)
    except (InputError, ResultsError) as error:
        print(f"gan-sweep: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def run(options: argparse.Namespace) -> int:
    """gan-sweep run"""
    spec = _spec(options)
    if options.dry_run:
        _print_plan(spec, options.local)
        return 0
    from results.store import RunFolder
    from sweep.run import is_finished, run_sweep

    folder = RunFolder(options.out or Path("runs") / spec.name)
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


def results(options: argparse.Namespace) -> int:
    """gan-sweep results"""
    from results.store import RunFolder

    RunFolder(options.run).require()  # before pandas is loaded
    from results.table import ResultsTable
    from results.text import confirmation_text, trials_text

    table = ResultsTable.load(options.run)
    trials = table.trials if options.top is None else table.trials.head(options.top)
    if options.csv:
        try:
            table.frame.to_csv(options.csv, index=False)
        except OSError as error:
            raise InputError(f"cannot write {options.csv}: {error.strerror or error}") from error
        print(f"{len(table.frame)} rows in {options.csv}")
    elif options.json:
        print(json.dumps(table.records(trials), indent=1))
    else:
        print(trials_text(table, trials, reasons=True, width=_width()))
        if found := confirmation_text(table, _width()):
            print(f"\n{found}")
    return 0


def export(options: argparse.Namespace) -> int:
    """gan-sweep export"""
    from results.export import export_trial, write_export

    text = export_trial(options.run, options.trial)
    write_export(text, options.output)
    print(text.splitlines()[0].removeprefix("# "))
    print(f"written to {options.output}; train it: gan-sweep train {options.output}")
    return 0


def train(options: argparse.Namespace) -> int:
    """gan-sweep train"""
    from gan_core.config import GanConfig
    from results.export import ExportedConfiguration

    exported = ExportedConfiguration.read(options.config)
    values = {**exported.configuration, **({} if options.seed is None else {"seed": options.seed})}
    config = GanConfig.unflatten(values)
    from sweep.final import conditions_of, train_final  # torch from here on
    from sweep.run import check_files

    home = options.output or Path("models") / Path(options.config).stem
    conditions = conditions_of(config, exported, options.data_root, options.skip_corrupt_images)
    check_files(config.structure, conditions, options.download)
    return train_final(config, exported, home, options.images or exported.images, conditions)


def verify(options: argparse.Namespace) -> int:
    """gan-sweep verify"""
    from results.export import ExportedConfiguration

    exported = ExportedConfiguration.read(options.config)
    from sweep.verify import verify_first_rung  # torch from here on

    return verify_first_rung(exported, options.data_root, options.skip_corrupt_images, options.download)


def sample(options: argparse.Namespace) -> int:
    """gan-sweep sample"""
    if options.output.suffix not in (".png", ".npy"):
        raise InputError(f"the output must end in .png (a grid) or .npy (the samples), got {options.output}")
    from sweep.final import write_samples

    write_samples(options.model, options.n, options.seed, options.output, options.choice)
    print(f"{options.n} samples in {options.output}")
    return 0


def spaces(options: argparse.Namespace) -> int:
    """gan-sweep spaces"""
    from search_spaces.describe import describe_space
    from search_spaces.space import SearchSpace, shipped_spaces

    if options.name is None:
        names = shipped_spaces()
        width = max(map(len, names))
        for name in names:
            print(f"{name:{width}}  {SearchSpace.load(name).about}")
        return 0
    print(describe_space(SearchSpace.load(options.name)))
    return 0


def dashboard(options: argparse.Namespace) -> int:
    """gan-sweep dashboard"""
    from sweep.dashboard import serve

    return serve(options.run, options.port)


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

    print(trials_text(table, table.trials.head(TOP_TRIALS), reasons=False, width=_width()))
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
    if found := confirmation_text(table, _width()):
        print(found)
    print(disk_text(folder))
    print(f"next: gan-sweep export {shlex.quote(str(folder.path))} -o best.yaml")


def _width() -> int | None:
    """Of the terminal, in characters; None where the output is no terminal."""
    return os.get_terminal_size().columns if sys.stdout.isatty() else None


def _raise_interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _warn_in_one_line(
    message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    print(f"gan-sweep: warning: {message}", file=sys.stderr)


def _whole(low: int, high: int = LARGEST_SEED) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            bound = f"at most {high}" if value > high else f"at least {low}"
            raise argparse.ArgumentTypeError(f"must be a whole number of {bound}, got {text!r}")
        return value

    return parse


class _Parser(argparse.ArgumentParser):
    """Usage errors in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gan-sweep", description="Hyperparameter sweeps for GANs: launch, look, export, train, sample."
    )
    commands = parser.add_subparsers(dest="name_of_command", required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        part = commands.add_parser(name, help=about, description=about)
        part.set_defaults(command=command)
        return part

    part = add("run", run, "Run a sweep, or go on with an interrupted one. Without SPEC: the 8x8 digits, 32 trials.")
    part.add_argument("spec", nargs="?", type=Path, metavar="SPEC", help="a sweep's YAML file")
    part.add_argument("--name", help="the run's name; its folder is runs/NAME")
    part.add_argument("--out", type=Path, metavar="DIR", help="the run's folder, instead of runs/NAME")
    part.add_argument("--trials", type=_whole(1), metavar="N", help="how many configurations are tried")
    assignment = "a spec key (ladder.keep_fraction=0.5), or a hyperparameter to fix (lane.beta1=0.5)"
    part.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=assignment)
    _add_data_options(part)
    part.add_argument("--address", metavar="RAY", help="a running Ray cluster (host:port); without it one starts here")
    part.add_argument("--local", action="store_true", help="train in this process, without Ray")
    extend = "go on with a run that is there with more trials, further rungs, another budget or other confirmations"
    part.add_argument("--extend", action="store_true", help=extend)
    warm = "try the best trials of this earlier run first, after trial 0"
    part.add_argument("--warm-start", type=Path, metavar="RUN", help=warm)
    part.add_argument("--dry-run", action="store_true", help="print what would be done and its cost; start nothing")

    part = add("results", results, "Print a run's trials, best first.")
    part.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    part.add_argument("--top", type=_whole(1), metavar="N", help="only the best N trials")
    part.add_argument("--csv", type=Path, metavar="FILE", help="write every row (each trial at each rung) instead")
    part.add_argument(
        "--json", action="store_true", help="print the trials as JSON records, a finalist's with its confirmation"
    )

    part = add("export", export, "Write a trial's configuration as a YAML file that trains.")
    part.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    part.add_argument("--trial", type=_whole(0), metavar="N", help="this trial instead of the best")
    part.add_argument("-o", "--output", type=Path, default=Path("best.yaml"), metavar="FILE", help="default: best.yaml")

    part = add("train", train, "Train the final model from an exported configuration; run again to go on after Ctrl-C.")
    part.add_argument("config", type=Path, metavar="CONFIG", help="a file written by `gan-sweep export`")
    part.add_argument("-o", "--output", type=Path, metavar="DIR", help="the model's folder; default: models/<CONFIG>")
    part.add_argument("--images", type=_whole(1), metavar="N", help="real images shown to D; default: the file's")
    part.add_argument("--seed", type=_whole(0), metavar="S", help="another seed than the trial's own")
    _add_data_options(part)

    part = add("verify", verify, "Train an exported configuration to its first rung again, and compare.")
    part.add_argument("config", type=Path, metavar="CONFIG", help="a file written by `gan-sweep export`")
    _add_data_options(part)

    part = add("sample", sample, "Draw samples from a trained model.")
    part.add_argument("model", type=Path, metavar="MODEL", help="a model's folder")
    part.add_argument("-n", type=_whole(1), default=64, metavar="N", help="how many; default: 64")
    part.add_argument("--seed", type=_whole(0), default=0, metavar="S", help="of the latents; default: 0")
    asked = "of this class (cgan) or categorical code (infogan); without it they take turns"
    part.add_argument("--class", type=_whole(0), dest="choice", metavar="K", help=asked)
    form = ".png: a grid; .npy: the samples, [N, C, H, W] in [-1, 1], [N, 2] or [N]; default: grid.png"
    part.add_argument("-o", "--output", type=Path, default=Path("grid.png"), metavar="FILE", help=form)

    part = add("spaces", spaces, "List the search spaces that come with the package, or print one.")
    part.add_argument("name", nargs="?", metavar="NAME", help="a shipped space, or a space's YAML file")

    part = add("dashboard", dashboard, "Show a run in optuna-dashboard, also while it goes on; it is only read.")
    part.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    port = "of 127.0.0.1; 0: one that is free; default: 8080"
    part.add_argument("--port", type=_whole(0, 65_535), default=8080, metavar="N", help=port)
    return parser


def _add_data_options(part: argparse.ArgumentParser) -> None:
    part.add_argument("--data-root", type=Path, metavar="DIR", help="the folder that holds MNIST/raw and the like")
    part.add_argument("--download", action="store_true", help="let torchvision fetch a missing data set")
    skip = "leave out pictures of images:FOLDER that cannot be read, instead of refusing it"
    part.add_argument("--skip-corrupt-images", action="store_true", help=skip)


if __name__ == "__main__":
    leave(main())
