"""The command `gan-sweep doctor`."""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from gan_core.config.version import code_version
from results.printable import printable
from sweep.commands.arguments import ADDRESS_HELP, path
from sweep.commands.terminal import FAILED
from sweep.runners.cores import usable_cores

ABOUT = "Look at this machine, or at every node of a Ray cluster, for what a sweep needs there."
WRITTEN_BYTES, APPENDS = 32 * 2**20, 20  # for the speed of a folder: at once, and as a run appends its rows


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    part.add_argument("--address", metavar="RAY", help=f"{ADDRESS_HELP}; without it this machine alone is looked at")
    part.add_argument("-o", "--out", type=path, metavar="DIR", help="the folder where runs would lie; runs by default")
    part.add_argument("--data-root", type=path, metavar="DIR", help="the folder that holds MNIST/raw and the like")


def execute(options: argparse.Namespace) -> int:
    """Prints what was found, and returns the exit code: 1 where something would keep a sweep from training."""
    from sweep.runners.ray.address import running_cluster

    folder, address = _existing(options.out or Path("runs")), running_cluster(options.address)
    paths = [] if options.data_root is None else [str(options.data_root.absolute())]
    reports, token = _here(paths) if address is None else _on_cluster(address, folder, paths)
    for report in reports:
        print(printable(report.line))
    if paths:
        print(printable(f"data root: {paths[0]}"))
    print(printable(f"folder of runs: {_writing(folder)}"))
    if token:
        print(f"token: {token}")
    faults = [f"{one.node}: {fault}" for one in reports for fault in one.faults(code_version())]
    faults += [f"{one.node}: {one.trouble}" for one in reports if one.trouble]
    for fault in faults:
        print(printable(f"fault: node {fault}"))
    if faults:
        print("1 fault" if len(faults) == 1 else f"{len(faults)} faults")
        return FAILED
    print("nothing was found that would keep a sweep from training")
    return 0


def _here(paths: list[str]) -> tuple[list[Any], str]:
    from sweep.runners.look import look
    from sweep.runners.ray.nodes import NodeReport

    found = look(None, paths, True)
    gpus = float(len(found["gpus"]))
    return [NodeReport(node=f"{found['host']} (this one)", cpus=float(usable_cores()), gpus=gpus, found=found)], ""


def _on_cluster(address: str, folder: Path, paths: list[str]) -> tuple[list[Any], str]:
    from sweep.runners.ray.address import access_of
    from sweep.runners.ray.cluster import connected_to_ray
    from sweep.runners.ray.files import marked
    from sweep.runners.ray.node_table import living_nodes
    from sweep.runners.ray.nodes import Look

    with connected_to_ray(address, _say_lost) as head, marked(folder / f".look-{os.getpid()}") as home:
        reports = Look(living_nodes(), home, paths, gpus=True).reports()
        host, port = head.address() or ("", 0)
        return reports, access_of(f"{host}:{port}").value


def _say_lost(lost: str) -> None:
    print(f"gan-sweep: {lost}", file=sys.stderr, flush=True)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one around it that exists."""
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())


def _writing(folder: Path) -> str:
    """How fast a folder is written by this machine, in words."""
    trial = folder / f".gan-sweep-doctor-{os.getpid()}"
    try:
        with open(trial, "xb", buffering=0) as file:
            began = time.monotonic()
            file.write(os.urandom(2**20) * (WRITTEN_BYTES // 2**20))
            os.fsync(file.fileno())
            speed = WRITTEN_BYTES / (time.monotonic() - began)
            began = time.monotonic()
            for _ in range(APPENDS):
                file.write(b"x" * 1000)
                os.fsync(file.fileno())
            append = (time.monotonic() - began) / APPENDS
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}"
    finally:
        trial.unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free
    return f"{folder}: {speed / 1e6:,.0f} MB/s, {append * 1000:.1f} ms for a row, {free / 1e9:,.0f} GB free"
