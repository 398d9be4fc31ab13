"""The command `gan-sweep doctor`."""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gan_core.config.input_error import InputError
from gan_core.config.version import code_version
from gan_core.files.addresses import is_address
from results.printable import printable
from sweep.commands.arguments import ADDRESS_HELP, place
from sweep.commands.terminal import FAILED
from sweep.runners.cores import usable_cores

ABOUT = "Look at this machine, or at every node of a Ray cluster, for what a sweep needs there."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    part.add_argument("--address", metavar="RAY", help=f"{ADDRESS_HELP}; without it this machine alone is looked at")
    out = "the folder where runs would lie, runs by default, or an address in an object store (s3://bucket/runs)"
    part.add_argument("-o", "--out", type=place, metavar="DIR", help=out)
    root = "the folder that holds MNIST/raw and the like, or its address"
    part.add_argument("--data-root", type=place, metavar="DIR", help=root)


def execute(options: argparse.Namespace) -> int:
    """Prints what was found, and returns the exit code: 1 where something would keep a sweep from training."""
    from sweep.commands import speeds
    from sweep.runners.ray.address import running_cluster

    out, root, address = options.out or Path("runs"), options.data_root, running_cluster(options.address)
    folder = None if is_address(out) else _existing(Path(out))
    paths = [] if root is None else [str(root if is_address(root) else Path(root).absolute())]
    reports, token = _here(paths) if address is None else _on_cluster(address, folder, paths)
    for report in reports:
        print(printable(report.line))
    faults: list[str] = []
    for path in paths:
        _print_place("data root", path, speeds.reading if is_address(path) else str, faults)
    if folder is None:
        _print_place("store of runs", str(out), speeds.storing, faults)
    else:
        _print_place("folder of runs", folder, speeds.writing, faults)
    if token:
        print(f"token: {token}")
    faults += [f"node {one.node}: {fault}" for one in reports for fault in one.faults(code_version())]
    faults += [f"node {one.node}: {one.trouble}" for one in reports if one.trouble]
    for fault in faults:
        print(printable(f"fault: {fault}"))
    if faults:
        print("1 fault" if len(faults) == 1 else f"{len(faults)} faults")
        return FAILED
    print("nothing was found that would keep a sweep from training")
    return 0


def _print_place(name: str, where: Any, look: Callable[[Any], str], faults: list[str]) -> None:
    """Prints what a look at a place finds. Where it cannot be used, that is a fault instead."""
    try:
        print(printable(f"{name}: {look(where)}"))
    except InputError as error:
        faults.append(str(error))


def _here(paths: list[str]) -> tuple[list[Any], str]:
    from sweep.runners.look import look
    from sweep.runners.ray.nodes import NodeReport

    found = look(None, paths, True)
    gpus = float(len(found["gpus"]))
    return [NodeReport(node=f"{found['host']} (this one)", cpus=float(usable_cores()), gpus=gpus, found=found)], ""


def _on_cluster(address: str, folder: Path | None, paths: list[str]) -> tuple[list[Any], str]:
    from sweep.runners.ray.address import access_of
    from sweep.runners.ray.cluster import connected_to_ray
    from sweep.runners.ray.files import marked
    from sweep.runners.ray.node_table import living_nodes
    from sweep.runners.ray.nodes import Look

    with ExitStack() as stack:
        head = stack.enter_context(connected_to_ray(address, _say_lost))
        home = None if folder is None else stack.enter_context(marked(folder / f".look-{os.getpid()}"))
        reports = Look(living_nodes(), home, paths, gpus=True).reports()
        host, port = head.address() or ("", 0)
        return reports, access_of(f"{host}:{port}").value


def _say_lost(lost: str) -> None:
    print(f"gan-sweep: {lost}", file=sys.stderr, flush=True)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one around it that exists."""
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())
