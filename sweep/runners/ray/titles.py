"""How Ray's dashboard and the lists of the operating system name the processes that train."""

import importlib
from contextlib import suppress


def title_of(run: str, cohort: int, rung: int, lanes: int) -> str:
    """Of a cohort that trains to a rung, counted from 0 as in the table. run: the name of the run."""
    return f"gan-sweep:{run} cohort {cohort}, rung {rung}, {lanes} lane{'s' * (lanes != 1)}"


def show_title(title: str) -> None:
    """Names this process until the task of Ray in it ends, in the dashboard's list of a node's processes and in such as
    `top`. Ray reads the name of an actor itself once, when it is made, and a process trains one cohort after another.

    Ray has no public way to name a process. Where a version does not know this one, it keeps the name that Ray gave it.
    """
    with suppress(ImportError, AttributeError):
        importlib.import_module("ray._raylet").setproctitle(f"ray::{title}")
