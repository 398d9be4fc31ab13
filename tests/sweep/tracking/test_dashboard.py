"""The dashboard shows a run while it grows, and nobody changes the run through it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage

from gan_core.config.input_error import InputError
from results.store import ResultsError, RunFolder
from sweep.proposals.journal import Journal
from sweep.tracking import dashboard
from sweep.tracking.dashboard import ReadOnlyJournal, open_dashboard

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("unsynced"),
]
ROOT = Path(__file__).parents[3]
CACHED_SECONDS = 2.0  # how long optuna-dashboard shows the trials it last read


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "run").create()
    folder.spec.write_text("name: tiny\n")
    return folder


def study_of(folder: RunFolder) -> optuna.Study:
    """As the sweep's owner has it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(Journal(folder.journal))
    return optuna.create_study(storage=storage, study_name="gan-sweep", load_if_exists=True)


def add_trial(study: optuna.Study, beta1: float, value: float) -> None:
    trial = study.ask({"lane.beta1": optuna.distributions.FloatDistribution(0.0, 1.0)})
    trial.report(value + 1, step=256)
    study.tell(trial, value + beta1)


@pytest.fixture
def study(folder) -> optuna.Study:
    study = study_of(folder)
    add_trial(study, 0.5, 2.0)
    add_trial(study, 0.25, 1.0)
    return study


@pytest.fixture
def address(folder):
    """Of a running dashboard."""
    server = open_dashboard(folder.path, 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(address: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
    """Status and content of an answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address, data, headers, method=method), timeout=10
        ) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def shown_values(address: str) -> list[float]:
    status, content = ask(f"{address}/api/studies/0")
    assert status == 200
    return [trial["values"][0] for trial in json.loads(content)["trials"]]


def test_the_studies_and_trials_of_a_run_are_shown(study, address):
    status, content = ask(f"{address}/api/studies")
    assert status == 200
    assert [shown["study_name"] for shown in json.loads(content)["study_summaries"]] == ["gan-sweep"]
    assert shown_values(address) == [2.5, 1.25]
    assert ask(f"{address}/dashboard")[0] == 200


def test_a_run_that_grows_is_followed(study, address):
    assert len(shown_values(address)) == 2
    add_trial(study, 0.0, 0.5)
    deadline = time.monotonic() + CACHED_SECONDS + 60
    while len(values := shown_values(address)) == 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert values == [2.5, 1.25, 0.5]


def test_a_run_that_has_no_journal_yet_is_empty_and_gets_none(folder, address):
    status, content = ask(f"{address}/api/studies")
    assert (status, json.loads(content)["study_summaries"]) == (200, [])
    assert not folder.journal.exists()
    add_trial(study_of(folder), 0.5, 2.0)
    assert shown_values(address) == [2.5]


WRITES = [
    ("POST", "/api/studies", {"study_name": "mine", "directions": ["minimize"]}),
    ("POST", "/api/studies/0/rename", {"study_name": "mine"}),
    ("DELETE", "/api/studies/0", None),
    ("PUT", "/api/studies/0/note", {"body": "x", "version": 1}),
    ("PUT", "/api/studies/0/0/note", {"body": "x", "version": 1}),
    ("POST", "/api/trials/2/tell", {"state": "Complete", "values": [-1.0]}),
    ("POST", "/api/trials/0/user-attrs", {"user_attrs": {"a": 1}}),
    ("POST", "/api/studies/0/preference", {"mode": "ChooseWorst", "candidates": [0], "clicked": 0}),
    ("POST", "/api/studies/0/0/skip", None),
    ("PATCH", "/api/studies/0", None),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_whatever_would_change_a_run_is_refused_and_changes_nothing(folder, study, address, method, path, body):
    study.ask()  # a running trial, which could be told
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    status, content = ask(address + path, method, body)
    assert status == 405
    assert b"only reads" in content
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((name, 200) for name in ("127.0.0.1", "localhost:8080", "LOCALHOST:1", "[::1]:8080")),
        *((name, 403) for name in ("attacker.example", "attacker.example:8080", "127.0.0.1.attacker.example", "[::2]")),
        ("", 403),
    ],
)
def test_a_page_of_another_host_that_has_been_made_to_mean_this_machine_is_told_nothing(study, address, host, status):
    for path in ("/api/studies", "/dashboard"):
        request = urllib.request.Request(address + path, headers={"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                found, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                found, content = error.code, error.read()
        assert found == status
        assert (b"for this machine" in content) == (status == 403)


def test_behind_the_refusal_the_storage_itself_writes_nothing(folder, study):
    before = folder.journal.read_bytes()
    storage = JournalStorage(ReadOnlyJournal(folder.journal))
    mine = optuna.load_study(study_name="gan-sweep", storage=storage)
    assert [trial.value for trial in mine.trials] == [2.5, 1.25]
    writes = [mine.ask, lambda: mine.set_user_attr("a", 1), lambda: storage.delete_study(0)]
    for write in writes:
        with pytest.raises(PermissionError, match="only read"):
            write()
    assert folder.journal.read_bytes() == before
    assert sorted(path.name for path in folder.path.iterdir()) == ["optuna.jsonl", "spec.yaml"]


def test_a_line_that_is_being_written_waits_for_its_end(folder, study):
    storage = JournalStorage(ReadOnlyJournal(folder.journal))
    whole = folder.journal.read_bytes()
    add_trial(study, 0.0, 0.5)
    grown = folder.journal.read_bytes()
    for end in range(len(whole), len(grown), 7):
        folder.journal.write_bytes(grown[:end])
        assert len(storage.get_all_trials(0)) in (2, 3)
    folder.journal.write_bytes(grown)
    assert [trial.values for trial in storage.get_all_trials(0)] == [[2.5], [1.25], [0.5]]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="is no run folder"):
        open_dashboard(tmp_path, 0)


def test_a_port_in_use_is_refused_in_one_line(gan_sweep, folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = gan_sweep("dashboard", folder.path, "--port", str(port))
    assert answer.code == 2
    assert answer.err == f"gan-sweep: port {port} cannot be had (Address already in use); give another --port\n"


def test_without_the_extra_the_command_that_installs_it_is_said(folder, monkeypatch):
    monkeypatch.setattr(dashboard, "find_spec", lambda package: None)
    with pytest.raises(InputError, match=r'pip install "gan-sweep\[dashboard\]"'):
        open_dashboard(folder.path, 0)


def test_the_command_says_its_address_in_one_line_and_ctrl_c_ends_it_well(folder, study):
    command = [sys.executable, "-m", "sweep.commands.cli", "dashboard", str(folder.path), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = line.split()[0].removesuffix("/dashboard")
        assert shown_values(address) == [2.5, 1.25]
        with pytest.raises(OSError, match="refused"):  # on loopback alone
            socket.create_connection(("127.0.0.2", int(address.rpartition(":")[2])), timeout=2)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert line.startswith("http://127.0.0.1:")
    assert (rest.strip(), errors) == ("", "")
