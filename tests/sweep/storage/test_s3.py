"""Runs in a real server that speaks S3: `pip install moto[server]`, then `python -m pytest -m slow`."""

import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny_runs import settings

from gan_core.files.object_store import open_store
from results.manifest import LEASE, MANIFEST
from results.table import ResultsTable

ROOT = Path(__file__).absolute().parents[3]
TIMING = ["seconds", "elapsed_seconds"]
LONGEST_SECONDS = 120.0
SERVER = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"
SWEEP = settings("ladder.rungs_images=[20000, 60000]", "lanes_per_cohort=2")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not (find_spec("moto") and find_spec("flask")), reason="needs moto[server]"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with the bucket `bucket`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("server") / "log").open("w")
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stdout=log, stderr=log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "id")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
        eventually(lambda: socket.create_connection(("127.0.0.1", port)).close() is None)
        make_bucket(f"127.0.0.1:{port}")
        yield process
    process.kill()
    process.wait()


def make_bucket(endpoint: str) -> None:
    import pyarrow.fs

    options = f"endpoint_override={endpoint}&scheme=http&allow_bucket_creation=true"
    pyarrow.fs.FileSystem.from_uri(f"s3://bucket/run?{options}")[0].create_dir("bucket")


def eventually(holds) -> None:
    """Waits for an event that another process makes."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def command(cache: Path, *arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "GAN_SWEEP_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "sweep", *arguments],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def sweep(cache: Path, out: str, trials: int = 4) -> subprocess.Popen:
    return command(cache, "run", "gaussian", "--trials", str(trials), "--local", "--out", out, *SWEEP)


def table(run: str):
    return ResultsTable.load(run).frame.drop(columns=TIMING)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    said, _ = (process := sweep(out.with_name("cache"), str(out))).communicate()
    assert process.returncode == 0, said
    return table(str(out))


def test_a_sweep_that_is_killed_goes_on_at_once_on_its_machine_and_after_a_sigterm_on_another(
    server, undisturbed, tmp_path
):
    address = "s3://bucket/killed"
    store = open_store(address)
    first = sweep(tmp_path / "a", address)
    eventually(lambda: b"rows.jsonl" in (store.read(MANIFEST) or b""))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = sweep(tmp_path / "a", address)
    eventually(lambda: any("trial-0000/generator" in key for key in store.list()))
    second.send_signal(signal.SIGTERM)
    said, _ = second.communicate()
    assert (second.returncode, LEASE in store.list()) == (130, False), said
    third = sweep(tmp_path / "b", address)
    said, _ = third.communicate()
    assert third.returncode == 0, said
    assert f"fetching {address} (" in said
    assert "hush" not in said
    assert table(address).equals(undisturbed)


def test_a_store_that_stops_for_a_minute_delays_the_copy_alone(server, undisturbed, tmp_path):
    address = "s3://bucket/stopped"
    store = open_store(address)
    process = sweep(tmp_path, address)
    eventually(lambda: store.read(MANIFEST) is not None)
    server.send_signal(signal.SIGSTOP)
    try:
        time.sleep(60)  # as long as the outage is to last
    finally:
        server.send_signal(signal.SIGCONT)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert table(address).equals(undisturbed)


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("s3://no-bucket/run", "there is no such bucket"),
        ("s3://bucket/run?endpoint_override=127.0.0.1:9&scheme=http", "it does not answer"),
    ],
)
def test_what_cannot_be_used_is_one_line_before_anything_starts(server, tmp_path, out, says):
    said, _ = (process := sweep(tmp_path, out)).communicate()
    assert process.returncode == 2
    assert len(said.splitlines()) == 1
    assert says in said
