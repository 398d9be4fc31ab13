"""Ray places cohorts and restarts them; the table is the study's, whatever happens to processes."""

import gc
import importlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from curve_array import runs

from benchmarks.first_sweep import family_of
from gan_core.config.gan import InputError
from results.curves import load_curves
from results.store import JsonLines, RunFolder
from results.table import ResultsTable
from sweep.runners.loading import uncollected
from sweep.runners.local.runner import run_local
from sweep.runners.progress import LIVE_SECONDS, Watch
from sweep.runners.ray.runner import RESTARTS, _searcher, run_ray, slots
from sweep.runners.ray.start import SIGNAL_HANDLERS, _lean_node, _wait_for_head, leave_signals_alone, running_cluster
from sweep.runners.ray.study_actor import RemoteStudy, _study_class
from sweep.spec.sweep_spec import SweepSpec

pytestmark = pytest.mark.filterwarnings("ignore")

TINY = [
    "structure.discriminator_width=16",
    "structure.generator_width=16",
    "structure.latent_size=4",
    "ladder.rungs_images=[128, 256, 512]",
    "ladder.keep_fraction=0.5",
]
TIMING = ["seconds", "elapsed_seconds", "device"]


def tiny_spec(*assignments: str) -> SweepSpec:
    return SweepSpec.from_mapping({}, [*TINY, *assignments])


def folder_for(spec: SweepSpec, path: Path) -> RunFolder:
    folder = RunFolder(path).create()
    folder.spec.write_text(spec.to_yaml())
    return folder


def quiet(spec: SweepSpec) -> Watch:
    return Watch(spec.ladder, spec.objective, [], open(os.devnull, "w"))  # noqa: SIM115


@pytest.fixture
def ray_by_value():
    """Functions of this file travel to Ray's workers, which cannot import it."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray reads it when it is imported
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_the_local_runner_and_ray_give_the_same_table(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_SWEEP_CACHE", os.environ.get("GAN_SWEEP_CACHE", str(tmp_path / "cache")))
    spec = tiny_spec("trials=6", "lanes_per_cohort=2", f"resources.cpus_per_cohort={len(os.sched_getaffinity(0))}")
    here, there = folder_for(spec, tmp_path / "local"), folder_for(spec, tmp_path / "ray")
    run_local(spec, here, quiet(spec))
    said = io.StringIO()
    run_ray(spec, there, Watch(spec.ladder, spec.objective, [], said))
    lines = said.getvalue().splitlines()
    assert [line.partition("] ")[2] for line in lines[:2]] == ["starting Ray", "starting the processes that train"]
    assert "trials 6/6 done" in lines[-1]
    assert not re.search(r"speed 0\b", said.getvalue())
    mine, theirs = (ResultsTable.load(f.path).frame.drop(columns=TIMING) for f in (here, there))
    assert mine.equals(theirs)
    assert len(mine) > 8
    assert load_curves(here.path).equals(load_curves(there.path))
    assert len(load_curves(here.path)) == len(mine)  # these rungs are shorter than a block of steps
    assert set(mine["outcome"]) == {"completed", "pruned", "running"}
    assert "running" not in set(mine.groupby("trial").tail(1)["outcome"])
    assert not list(there.checkpoints.glob("cohort-*"))
    assert sum(1 for _ in there.checkpoints.rglob("generator.safetensors")) == spec.keep_checkpoints


class DyingArray:
    """Scores by its trial's seed alone; its process is killed at the second rung, once or each time, or it raises."""

    choices = 0

    def __init__(self, seeds, deaths: Path, always: set[int], raises: int):
        self.seeds, self.deaths, self.always, self.raises, self.rungs = list(seeds), deaths, always, raises, 0

    def train_to(self, images, on_step=None):
        from gan_core.config.reports import FidelityReport, LaneReport

        self.rungs += 1
        if self.rungs == 2 and self.seeds == [self.raises]:
            raise MemoryError("the card is full")
        if self.rungs == 2:
            for seed in self.seeds:
                died = self.deaths / str(seed)
                if seed in self.always or not died.exists():
                    with died.open("a") as file:
                        file.write("x")
                    os.kill(os.getpid(), signal.SIGKILL)
        scores = [{"fidelity": seed % 97 + 1e6 / images} for seed in self.seeds]
        found = [FidelityReport(score, "formula", "none") for score in scores]
        return [LaneReport(images, 1.0, 1.0, fidelity, {}, (), None, 0.0, "cpu") for fidelity in found]

    def score(self):
        raise AssertionError("nothing is cut")

    def keep(self, lanes):
        self.seeds = [self.seeds[lane] for lane in lanes]

    def picture(self, lane, count):
        import numpy as np

        return np.zeros((1, 1, 2, 2), np.float32)

    def save(self, path):
        path.write_text(json.dumps([self.seeds, self.rungs]))

    def save_lane(self, lane, path):
        path.write_text("")

    save_generator = save_lane

    def take_over(self, sources, configs):
        raise AssertionError("this is no population")

    def load_lanes(self, places):
        self.rungs = json.loads(places[0][0].read_text())[1]


def test_a_cohort_whose_process_dies_goes_on_from_its_rung_and_one_that_keeps_dying_fails(tmp_path, ray_by_value):
    spec = tiny_spec("trials=4", "lanes_per_cohort=1", "sampler=random", "ladder.keep_fraction=1.0")
    folder = folder_for(spec, tmp_path / "run")
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    from sweep.proposals.seeds import derived_seed

    doomed, raising = derived_seed(spec.seed, "trial", 2), derived_seed(spec.seed, "trial", 3)

    def build(configs, _=()):
        return DyingArray([c.seed for c in configs], deaths, {doomed}, raising)

    run_ray(spec, folder, quiet(spec), build=build)
    trials = ResultsTable.load(folder.path).trials.set_index("trial")
    assert trials["outcome"].to_dict() == {0: "completed", 1: "completed", 2: "failed", 3: "failed"}
    assert trials.loc[2, "reason"] == "died 3 times: its process was killed"
    assert trials.loc[3, "reason"] == "died 3 times: MemoryError: the card is full"
    assert (deaths / str(doomed)).read_text() == "xxx"
    assert {(deaths / str(derived_seed(spec.seed, "trial", t))).read_text() for t in (0, 1)} == {"x"}
    rows = JsonLines(folder.rows).read()
    assert len({(row["trial"], row["rung"]) for row in rows}) == len(rows) == 2 * 3 + 2 * 2


def test_more_gpus_than_the_cluster_has_are_refused_in_one_line():
    spec = tiny_spec("resources.gpus_per_cohort=2")
    with pytest.raises(InputError, match=r"resources.gpus_per_cohort asks for 2, and the cluster has 1 in all"):
        slots(spec, {"CPU": 8.0, "GPU": 1.0})


@pytest.mark.parametrize(
    ("gpus", "cluster", "expected"),
    [
        ("auto", {"CPU": 2.0}, (2, {"cpu": 1.0, "gpu": 0.0})),
        ("auto", {"CPU": 16.0, "GPU": 3.0}, (3, {"cpu": 1.0, "gpu": 1.0})),
        ("0.25", {"CPU": 16.0, "GPU": 2.0}, (8, {"cpu": 1.0, "gpu": 0.25})),
        ("0.3", {"CPU": 16.0, "GPU": 2.0}, (6, {"cpu": 1.0, "gpu": 0.3})),  # fractions do not tile over two GPUs
        ("2", {"CPU": 16.0, "GPU": 5.0}, (2, {"cpu": 1.0, "gpu": 2.0})),
        ("0", {"CPU": 4.0, "GPU": 1.0}, (4, {"cpu": 1.0, "gpu": 0.0})),
    ],
)
def test_cohorts_fill_the_cluster(gpus, cluster, expected):
    assert slots(tiny_spec(f"resources.gpus_per_cohort={gpus}"), cluster) == expected


def test_an_address_where_nothing_answers_is_refused_at_once(tmp_path):
    spec = tiny_spec()
    with pytest.raises(InputError, match="no Ray cluster answers at '127.0.0.1:9'"):
        run_ray(spec, folder_for(spec, tmp_path / "run"), quiet(spec), address="127.0.0.1:9")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "sweep.commands.cli", *arguments]


def started(process: subprocess.Popen, rows: Path, seconds: float = 90) -> bool:
    """Waits for the first row of results."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if rows.exists() and rows.stat().st_size:
            return True
        time.sleep(0.05)
    return False


def listening_beyond_loopback(pids: set[int]) -> list[str]:
    """Listening TCP sockets of these processes at other addresses than 127.0.0.1 and ::1."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    loopback = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes and fields[1].split(":")[0] not in loopback:
                found.append(fields[1])
    return found


def command_line(pid: int) -> str:
    """A process's words, or nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def wait_for_end(pids: set[int], seconds: float = 20) -> set[int]:
    """Which of the processes are still there in the end; a zombie is gone."""
    deadline = time.monotonic() + seconds
    alive = pids
    while alive and time.monotonic() < deadline:
        alive = {p for p in alive if Path(f"/proc/{p}/status").exists() and "State:\tZ" not in _status(p)}
        time.sleep(0.1)
    return alive


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "State:\tZ"


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's /proc")
def test_an_interrupted_sweep_listens_on_loopback_alone_ends_with_130_and_resumes_to_the_undisturbed_table(tmp_path):
    """SIGTERM, then SIGKILL of the driver, then to the end: with one slot, the same table as never disturbed. Its
    processes have the priority of the command, and Ray's files lie where nobody else may go.
    """
    sizes = ["ladder.rungs_images=[2048, 8192, 24576]", "lanes_per_cohort=2", "trials=8"]
    cores = len(os.sched_getaffinity(0))
    spec = tiny_spec(*sizes, f"resources.cpus_per_cohort={cores}")
    undisturbed = folder_for(spec, tmp_path / "undisturbed")
    run_local(spec, undisturbed, quiet(spec))

    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home)}
    environment.setdefault("GAN_SWEEP_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "run"
    assignments = [part for a in (*TINY[:3], *sizes, "ladder.keep_fraction=0.5") for part in ("--set", a)]
    run = command("run", "--out", str(out), *assignments, "--set", f"resources.cpus_per_cohort={cores}")
    rows = out / "rows.jsonl"

    first = subprocess.Popen(run, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert started(first, rows)
    family = family_of(first.pid)
    assert len(family) > 3
    assert listening_beyond_loopback(family) == []
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in family} == {os.getpriority(os.PRIO_PROCESS, 0)}
    (session,) = {path for pid in family for path in re.findall(r"((?:/[\w.-]+)+/gs-\w+)/r/", command_line(pid))}
    assert Path(session).stat().st_mode & 0o777 == 0o700
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert said.strip().startswith("interrupted; what was reported is in")
    assert "Go on with: gan-sweep run" in said
    assert said.strip().count("\n") == 0  # and no dump of a stack of Ray's
    assert not Path(session).exists()
    assert wait_for_end(family) == set()
    assert not (home / ".ray").exists()
    before = len(JsonLines(rows).read())

    second = subprocess.Popen(run, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while len(JsonLines(rows).read()) <= before and second.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    second.kill()
    second.wait()

    third = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=200)
    assert third.returncode == 0, third.stderr
    mine, theirs = (ResultsTable.load(p).frame.drop(columns=TIMING) for p in (undisturbed.path, out))
    assert mine.equals(theirs)


def test_more_gpus_than_there_are_end_the_command_with_one_line(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path)}
    run = command("run", "--out", str(tmp_path / "run"), "--set", "resources.gpus_per_cohort=64")
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "resources.gpus_per_cohort asks for 64" in done.stderr


# ---- the head


def test_a_head_that_does_not_answer_is_waited_for(tmp_path):
    (tmp_path / "session_1").mkdir()
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))  # not listening yet: a connection is refused, as after its death
        (tmp_path / "session_1" / "gcs_server_port_1").write_text(str(head.getsockname()[1]))
        waiter = threading.Thread(target=_wait_for_head, args=(str(tmp_path),), daemon=True)
        waiter.start()
        waiter.join(timeout=0.3)
        assert waiter.is_alive()
        head.listen()
        waiter.join(timeout=10)
        assert not waiter.is_alive()


def test_what_a_local_cluster_leaves_out_are_steps_of_rays_own_start(ray_by_value):
    """A Ray that names them otherwise would take them again, a second longer, and nobody would see it."""
    lean = _lean_node()
    (rays, *_) = lean.__bases__
    for step in ("start_api_server", "start_ray_processes"):
        assert step in vars(lean)
        assert callable(vars(rays)[step])
    assert callable(rays.get_gcs_client)


def test_signals_are_left_to_us_where_ray_would_take_them(ray_by_value):
    """A Ray that names these steps otherwise would set its own handlers again, and nobody would see it."""
    for module, steps in SIGNAL_HANDLERS.items():
        known = importlib.import_module(module)
        assert all(callable(getattr(known, name)) for name in steps)
        leave_signals_alone(known)
        assert {name: getattr(known, name) for name in steps} == steps
    before = signal.getsignal(signal.SIGTERM)
    importlib.import_module("ray._private.utils").set_sigterm_handler(print)
    assert not importlib.import_module("ray.tune.tune")._setup_signal_catching().is_set()
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_ray_calls_local_is_our_own_cluster(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert [running_cluster(address) for address in (None, "local", "auto", "host:1")] == [None, None, "auto", "host:1"]
    for address, expected in (("local", None), ("host:2", "host:2")):
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert (running_cluster("auto"), running_cluster("host:1"), running_cluster(None)) == (expected, "host:1", None)
    with pytest.raises(InputError, match="must be host:port, got ' '"):
        running_cluster(" ")


@pytest.mark.parametrize("was_on", [True, False])
def test_packages_load_without_the_collector_which_is_then_as_it_was(was_on: bool):
    before = gc.isenabled()
    (gc.enable if was_on else gc.disable)()
    try:
        with pytest.raises(ImportError), uncollected():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() is was_on
    finally:
        (gc.enable if before else gc.disable)()


def test_what_dies_for_the_want_of_the_head_is_no_death_of_a_cohort(monkeypatch):
    class HeadIsLost(Exception):
        """Here the process would end."""

    def lost() -> None:
        raise HeadIsLost

    failed: list[tuple[int, int]] = []
    study = SimpleNamespace(note_death=SimpleNamespace(remote=lambda *arguments: failed.append(arguments)))
    monkeypatch.setattr("ray.get", lambda answer: answer)
    for wait, error in ((lost, HeadIsLost), (lambda: None, None)):
        searcher = _searcher(study, 1, 0, wait)
        searcher._cohorts["a Tune trial"] = 7
        if error is None:
            searcher.on_trial_complete("a Tune trial", error=True)
        else:
            with pytest.raises(error):
                searcher.on_trial_complete("a Tune trial", error=True)
            assert failed == []
    assert failed == [(7, RESTARTS + 1)]


def test_a_process_that_starts_before_the_study_takes_a_cohort_itself_and_its_death_counts_for_that(monkeypatch):
    failed, opened = list[tuple[int, int]](), iter((SimpleNamespace(number=2), None))
    study = SimpleNamespace(
        open_cohort=SimpleNamespace(remote=lambda size: next(opened)),
        taken_by=SimpleNamespace(remote={"first": 0, "second": None}.get),
        is_waiting=SimpleNamespace(remote=lambda: True),
        note_death=SimpleNamespace(remote=lambda *arguments: failed.append(arguments)),
    )
    monkeypatch.setattr("ray.get", lambda answer: answer)
    searcher = _searcher(study, 4, 2, lambda: None)
    asked = [searcher.suggest(name) for name in ("first", "second", "third", "fourth")]
    assert asked == [{"cohort": None}, {"cohort": None}, {"cohort": 2}, None]
    searcher.on_trial_complete("second", error=True)  # before it had taken any
    assert failed == []
    searcher.on_trial_complete("first", error=True)
    searcher.on_trial_complete("third", error=True)
    assert failed == [(0, RESTARTS + 1), (2, RESTARTS + 1)]


def test_a_study_that_ends_nothing_is_told_as_often_as_people_look(tmp_path, monkeypatch):
    told: list[int] = []
    study = SimpleNamespace(note_images=SimpleNamespace(remote=lambda trials, images: told.append(images) is None))
    monkeypatch.setattr("ray.get", lambda answer: answer)
    monkeypatch.setattr("ray.get_actor", lambda name, namespace: study)
    now = iter(range(100))
    monkeypatch.setattr(
        "sweep.runners.ray.study_actor.time", SimpleNamespace(monotonic=lambda: next(now) * LIVE_SECONDS / 4)
    )
    seen = range(64, 64 * 65, 64)
    watching, cutting = (RemoteStudy(RunFolder(tmp_path), may_cut) for may_cut in (False, True))
    assert all(watching.note_images(runs(0), images) for images in seen[:10])
    assert told == [64, 320, 576]  # a quarter of a period passes from one question to the next
    told.clear()
    assert all(cutting.note_images(runs(0), images) for images in seen)
    assert told == [64, 2_112]  # of the first step at once


def test_a_study_shows_what_processes_warn_of_once(tmp_path):
    spec = tiny_spec()
    study = _study_class()(spec, folder_for(spec, tmp_path / "run"))
    for line in ("no C compiler is installed", "another", "no C compiler is installed"):
        study.note_warning(line)
    assert study.snapshot().notes == ("no C compiler is installed", "another")
    study.close()


def test_what_a_process_warns_of_that_trains_reaches_the_study_once(tmp_path, monkeypatch):
    said: list[str] = []
    answers = {
        "note_images": SimpleNamespace(remote=lambda trials, images: True),
        "judge": SimpleNamespace(remote=lambda *given: []),
        "note_warning": SimpleNamespace(remote=said.append),
    }
    monkeypatch.setattr("ray.get", lambda answer: answer)
    monkeypatch.setattr("ray.get_actor", lambda name, namespace: SimpleNamespace(**answers))
    lines: list[str] = []
    monkeypatch.setattr("sweep.runners.ray.study_actor.told", lambda: lines)
    study = RemoteStudy(RunFolder(tmp_path), may_cut=True)
    assert study.note_images(runs(0), 64)
    assert said == []
    lines.append("no C compiler is installed")
    assert study.note_images(runs(0), 64)  # not due: it is told with the next note
    assert study.judge(0, 0, runs(0), []) == []
    lines.append("another")
    assert study.note_images(runs(0), 64_000)
    assert study.judge(0, 0, runs(0), []) == []
    assert said == lines
