"""Serves optuna-dashboard for a run, read-only and on the loopback interface."""

import errno
import re
from collections.abc import Callable, Generator, Iterable
from importlib.util import find_spec
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from gan_core.config.input_error import InputError
from gan_core.files.addresses import without_secrets
from results.store import JsonLines
from results.stored_run import run_folder
from sweep.proposals.journal_record import JournalCheck

HOST = "127.0.0.1"
READING = ("GET", "HEAD")
REFUSAL = b'{"reason": "this view only reads: a run is changed by its sweep alone"}'
# The host names under which a browser may reach the server, also through a tunnel. Others are refused, because a
# foreign page can make its own name resolve to this machine ("DNS rebinding").
NAMES = ("127.0.0.1", "localhost", "[::1]")
FOREIGN = b'{"reason": "this view is for this machine: open it as 127.0.0.1 or localhost"}'

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class ReadOnlyJournal(BaseJournalBackend):
    """Optuna's journal for reading; the file may grow, or not exist yet. Writing raises PermissionError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: JournalFileBackend | None = None

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        if self._file is None and self._path.exists():  # Optuna's backend would create the file
            self._file = JournalFileBackend(str(self._path))
        if self._file is not None:
            yield from self._file.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise PermissionError(f"{self._path} is only read here")


def read_only(application: Application) -> Application:
    """The application, restricted to reading: the dashboard itself lets anyone who reaches its port change the study.
    Answers 405 to methods that write, and 403 to requests addressed to a foreign host name.
    """

    def guarded(environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        host = re.sub(r":\d*$", "", environment.get("HTTP_HOST", HOST))
        if host.lower() not in NAMES:
            start_response("403 Forbidden", [("Content-Type", "application/json")])
            return [FOREIGN]
        if environment["REQUEST_METHOD"] in READING:
            return application(environment, start_response)
        start_response("405 Method Not Allowed", [("Content-Type", "application/json"), ("Allow", ", ".join(READING))])
        return [REFUSAL]

    return guarded


def open_dashboard(run: str | Path, port: int) -> WSGIServer:
    """A server for a run's dashboard on the loopback interface; `serve_forever` starts it. port 0 picks a free port.

    Raises ResultsError for a folder that is not a run and for a journal that was changed by hand, InputError where the
    package is missing or the port is taken.
    """
    folder = run_folder(run).require()  # of a store, as it is now
    if find_spec("optuna_dashboard") is None:
        raise InputError('the dashboard needs optuna-dashboard: pip install "gan-sweep[dashboard]"')
    JsonLines(folder.journal).read(JournalCheck())
    from optuna_dashboard import wsgi

    application = read_only(wsgi(JournalStorage(ReadOnlyJournal(folder.journal))))
    try:
        return make_server(HOST, port, application, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise InputError(f"port {port} cannot be had ({error.strerror}); give another --port") from error


def serve(run: str | Path, port: int) -> int:
    """Prints the address of a run's dashboard and serves it until Ctrl-C. Returns the exit code; raises as
    `open_dashboard` does.
    """
    with open_dashboard(run, port) as server:
        address = f"http://{HOST}:{server.server_port}/dashboard"
        print(f"{address} shows {without_secrets(str(run))}, and only reads it; Ctrl-C ends it", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing: a page requests a dozen files, and again every few seconds."""
