"""The commands of `deploy/kuberay` and `deploy/jobs` run as they stand, as jobs of a Ray cluster of two hosts, which is
started as KubeRay starts it. They need `ray[default]`.
"""

import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from events import LONGEST_SECONDS
from hosts import ROOT, Hosts, hosts_up

from results.table import ResultsTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
TINY = {"space": "digits", "trials": 6, "execution": "replayed", "lanes_per_cohort": 2, "seed": 3}
TINY |= {"ladder": {"rungs_images": [64_000, 128_000]}}


class Cluster:
    """Host 0 is the head, which has no CPU for trials, and host 1 a worker. They and whoever submits see `folder` as
    /mnt, and nothing else there.
    """

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        self.hosts, self.folder = hosts, folder
        self.env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.dashboard = f"http://{hosts.address(0)}:8265"
        (hosts.folder / "gan-sweep").write_text(f'#!/bin/sh\nexec {sys.executable} -m sweep "$@"\n')
        (hosts.folder / "gan-sweep").chmod(0o755)
        self.env["PATH"] = f"{hosts.folder}:{BIN}:/usr/bin:/bin"

    def start(self, host: int, *command: str | Path, cwd: Path = ROOT, **options: Any) -> subprocess.Popen[Any]:
        mounted = f'mount --bind {self.folder} /mnt && cd {cwd} && exec "$@"'
        return self.hosts.start(host, "sh", "-c", mounted, "sh", *command, env=self.env, **options)

    def run(self, host: int, *command: str | Path, **options: Any) -> str:
        process = self.start(host, *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said
        return said

    def up(self, head: dict[str, str], worker: dict[str, str]) -> None:
        """Starts Ray with these options of `ray start` on head and worker, and returns when both are there."""
        common = [f"{BIN}/ray", "start", "--block", "--object-store-memory=80000000", "--disable-usage-stats"]
        given = [[f"--{name}={value}" for name, value in options.items()] for options in (head, worker)]
        for host, options in enumerate(given):  # apart, as on two disks: what a job takes along is unpacked there
            options.append(f"--temp-dir={self.hosts.folder}/node{host}/tmp/ray")
        address = self.hosts.address(0)
        self.start(0, *common, "--head", f"--node-ip-address={address}", "--dashboard-host=0.0.0.0", *given[0])
        self.start(1, *common, f"--address={self.hosts.ray}", *given[1])
        deadline = time.monotonic() + LONGEST_SECONDS
        asked = (sys.executable, "-c", f"import ray; ray.init('{self.hosts.ray}'); print(len(ray.nodes()), 'nodes')")
        while "2 nodes" not in self.hosts.run(0, *asked, env=self.env).stdout:
            assert time.monotonic() < deadline

    def rows(self, run: str) -> int:
        path = self.folder / run / "rows.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("aiohttp", reason="jobs need ray[default]")
    (tmp_path / "shared").mkdir()
    with hosts_up(2) as hosts:
        yield Cluster(hosts, tmp_path)


class RayJob:
    """The shipped RayJob, of which the ConfigMap is mounted, with another sweep."""

    def __init__(self, cluster: Cluster) -> None:
        objects = yaml.safe_load_all((DEPLOY / "kuberay" / "gan-sweep.yaml").read_text())
        self._cluster, self._kinds = cluster, {each["kind"]: each for each in objects}
        self._spec = self._kinds["RayJob"]["spec"]["rayClusterSpec"]
        (cluster.folder / "sweep").mkdir()
        for name, text in self._kinds["ConfigMap"]["data"].items():
            self.write(name, text)
        self.write("sweep.yaml", yaml.safe_dump(TINY))
        for variable in self._spec["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]:
            cluster.env[variable["name"]] = variable["value"]

    def write(self, name: str, text: str) -> None:
        """Writes a file of the ConfigMap."""
        (self._cluster.folder / "sweep" / name).write_text(text)

    def up(self) -> None:
        """Starts the RayCluster."""
        (worker,) = self._spec["workerGroupSpecs"]
        labels = {"labels": ",".join(f"{name}={value}" for name, value in worker["labels"].items())}
        head = self._spec["headGroupSpec"]["rayStartParams"]
        self._cluster.up(head, {**worker["rayStartParams"], **labels, "num-cpus": "2"})

    def submit(self, name: str) -> None:
        """Submits the job as KubeRay does."""
        typed = shlex.split(self._kinds["RayJob"]["spec"]["entrypoint"])
        address = f"--address={self._cluster.dashboard}"
        self._cluster.run(0, "ray", "job", "submit", address, "--no-wait", "--submission-id", name, "--", *typed)

    def followed(self, name: str) -> str:
        """The log of the job, to its end."""
        return self._cluster.run(0, "ray", "job", "logs", f"--address={self._cluster.dashboard}", "--follow", name)


def check_table(run: Path) -> None:
    table = ResultsTable.load(run)
    assert sorted(table.trials["trial"]) == list(range(TINY["trials"]))
    assert set(table.trials["outcome"]) <= {"completed", "pruned"}
    assert not table.frame.duplicated(["trial", "images_seen"]).any()


def test_the_entrypoint_of_the_ray_job_goes_on_in_a_new_cluster(cluster):
    job = RayJob(cluster)
    for attempt in ("first", "second"):
        job.up()
        before = cluster.rows("shared/runs/digits")
        job.submit(attempt)
        if attempt == "first":
            deadline = time.monotonic() + 300
            while cluster.rows("shared/runs/digits") < 2:
                assert time.monotonic() < deadline, cluster.run(0, "ray", "job", "logs", "first")
                time.sleep(0.2)
            submit = ("ray", "job", "submit", f"--address={cluster.dashboard}", "--")
            watched = cluster.run(0, *submit, "gan-sweep", "watch", "--once", "/mnt/shared/runs/digits")
            assert re.search(r"^node node1: [12] of 2 places in use", watched, re.MULTILINE), watched
            for host in (0, 1):  # new pods have new processes, and no file of Ray's
                cluster.hosts.kill(host)
                shutil.rmtree(cluster.hosts.folder / f"node{host}" / "tmp" / "ray", ignore_errors=True)
    said = job.followed("second")
    assert "going on with /mnt/shared/runs/digits" in said
    assert 2 <= before < cluster.rows("shared/runs/digits")
    assert "succeeded" in said
    check_table(cluster.folder / "shared" / "runs" / "digits")


def test_bad_input_ends_the_ray_job_as_stopped_which_kuberay_does_not_try_again(cluster):
    job = RayJob(cluster)
    job.write("sweep.yaml", yaml.safe_dump(TINY | {"trails": 7}))
    job.up()
    job.submit("wrong")
    said = job.followed("wrong")
    assert "gan-sweep: unknown key 'trails' in the spec; did you mean 'trials'?" in said
    assert "Job 'wrong' was stopped" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_job_takes_its_folder_along_but_for_runs_and_data(cluster):
    own = cluster.folder / "own"
    (own / "runs").mkdir(parents=True)
    (own / "runs" / "large").write_bytes(bytes(2**20))
    (own / "sweep.yaml").write_text(yaml.safe_dump(TINY))
    environment = DEPLOY / "jobs" / "runtime-env.yaml"
    written = environment.read_text()
    text = " ".join(line.lstrip("# ").rstrip("\\") for line in written.splitlines() if line.startswith("#   "))
    typed = shlex.split(text.replace("runtime-env.yaml", str(environment)))
    cluster.up({"num-cpus": "1"}, {"num-cpus": "1"})
    at = typed.index("submit") + 1
    said = cluster.run(1, *typed[:at], f"--address={cluster.dashboard}", *typed[at:], cwd=own)
    assert "trials 6/6 done" in said
    assert "succeeded" in said
    check_table(cluster.folder / "shared" / "runs" / "mnist")
    taken = [path.name for path in (cluster.hosts.folder / "node0").rglob("_ray_pkg_*/*")]
    assert "sweep.yaml" in taken
    assert "runs" not in taken
