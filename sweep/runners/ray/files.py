"""Files between a run's folder and processes that do not see it: the file server of a run as an actor."""

import importlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gan_core.config.conditions import Conditions
from results.store import ResultsError, RunFolder, read_whole, write_atomically
from sweep.cohorts.brought_data import packed_images
from sweep.cohorts.file_server import FileServer
from sweep.cohorts.transfer import Line
from sweep.runners.ray.asking import answer_of

ANSWER_SECONDS = 30.0  # for the first answer to a call
PATIENCE_SECONDS = 300.0  # within which the driver's node answers, or a cohort begins again elsewhere


class Home(NamedTuple):
    """Where the driver is. node: the id of its node. path: of a file in the run's folder. mark: what that holds."""

    node: str
    path: Path
    mark: str

    def is_here(self) -> bool:
        """Whether this process is on the driver's node."""
        return importlib.import_module("ray").get_runtime_context().get_node_id() == self.node

    def is_in_sight(self) -> bool:
        """Whether this process sees the run's folder: a path that exists may be another folder, on another disk."""
        try:
            return read_whole(self.path) == self.mark.encode()
        except ResultsError:
            return False


@contextmanager
def marked(path: Path) -> Iterator[Home]:
    """Makes a file in the folder of a run, by which other processes recognise the folder, and removes it in the end."""
    home = Home(importlib.import_module("ray").get_runtime_context().get_node_id(), path, secrets.token_hex(16))
    write_atomically(path, home.mark)
    try:
        yield home
    finally:
        with suppress(OSError):
            path.unlink()


def start_file_server(folder: RunFolder, conditions: Conditions, study: Any) -> Any:
    """Starts the `FileServer` of a run as an actor on this node, and returns its handle at once. It is not part of the
    study, whose handle this is, so that a large file delays no verdict, and has the umask of this process. Where its
    node is out of reach, Ray repeats the call.
    """
    ray = importlib.import_module("ray")
    umask = os.umask(0o077)  # the only way to ask for it
    os.umask(umask)
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    server = ray.remote(_file_server_class()).options(num_cpus=0, scheduling_strategy=here, max_task_retries=-1)
    return server.remote(umask, folder, partial(_check_owner, study), partial(packed_images, conditions))


def _file_server_class() -> type[FileServer]:
    class FileServerActor(FileServer):
        """The file server in a process of its own, which Ray starts with another umask."""

        def __init__(self, umask: int, *given: Any) -> None:
            os.umask(umask)
            super().__init__(*given)

    return FileServerActor


def _check_owner(study: Any, owner: int) -> None:
    importlib.import_module("ray").get(study.check_owner.remote(owner))


def line_to(server: Any) -> Line:
    """A line to the actor. Waiting for an answer raises as `answer_of` does."""

    def send(method: str, *given: Any, **named: Any) -> Callable[[], Any]:
        def call() -> Any:
            return getattr(server, method).remote(*given, **named)

        return partial(answer_of, call, call(), ANSWER_SECONDS, PATIENCE_SECONDS)

    return send
