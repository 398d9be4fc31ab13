"""The command line. Each command is a module of this package, which imports heavy packages only when it runs."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from gan_core.config.input_error import InputError, shortened
from gan_core.config.version import code_version
from results.output import StreamError
from results.printable import printable, printable_lines
from results.store import ResultsError
from sweep.commands import (
    dashboard,
    data,
    doctor,
    export,
    export_model,
    report,
    results,
    run,
    sample,
    show,
    spaces,
    train,
    verify,
    watch,
)
from sweep.commands import list as list_runs
from sweep.commands.streams import with_streams
from sweep.commands.terminal import BAD_INPUT, FAILED, INTERRUPTED
from sweep.ledger.endings import PlaceError, described
from sweep.runners.loading import leave
from sweep.runners.signals import ending_as_ctrl_c

COMMANDS = (  # as --help lists them
    *(run, watch, list_runs, results, show, report, export, train, verify, sample, export_model),
    *(spaces, data, dashboard, doctor),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0: success. 1: the machine stopped it, no trial has a score, a verification failed, or standard output cannot be
    written. 2: bad input, explained in one line. 130: Ctrl-C, or a signal that is treated in the same way.
    """
    warnings.showwarning = _warn_in_one_line
    typed = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(typed)
    options.typed = typed
    try:
        with ending_as_ctrl_c():
            return options.command(options)
    except (PlaceError, ImportError, MemoryError) as error:
        print(f"gan-sweep: {printable(error if isinstance(error, PlaceError) else described(error))}", file=sys.stderr)
        return FAILED
    except (InputError, ResultsError) as error:
        if theirs := getattr(error, "theirs", ""):  # of a person's own code, whose author needs the traceback
            print(printable_lines(theirs.rstrip()), file=sys.stderr)
        print(f"gan-sweep: {printable(error)}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except StreamError as error:
        print(f"gan-sweep: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # the reader of what `-o` writes has gone, as with `| head`
        return 0


def _warn_in_one_line(
    message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    print(f"gan-sweep: warning: {printable(message)}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """A parser that reports usage errors in one line."""

    def error(self, message: str) -> NoReturn:
        brief = " ".join(map(shortened, message.split(" ")))
        self.exit(BAD_INPUT, f"{self.prog}: {brief}; see {self.prog} --help\n")


class _Version(argparse.Action):
    """Prints the version and exits."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(f"{parser.prog} {code_version()}")
        parser.exit()


def name_of(module: ModuleType) -> str:
    """The name by which a person types the command of a module."""
    return module.__name__.rpartition(".")[2].replace("_", "-")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gan-sweep",
        description="Hyperparameter sweeps for GANs: run a sweep, see its results, train the best model, sample it.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version, with a digest of the core")
    commands = parser.add_subparsers(dest="name_of_command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        name = name_of(module)
        part = commands.add_parser(name, help=module.ABOUT, description=module.ABOUT)
        part.set_defaults(command=module.execute)
        module.add_arguments(part)
    return parser


if __name__ == "__main__":
    leave(with_streams(main))
