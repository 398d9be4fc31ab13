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
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_runs
from curve_array import run_folder, runs
from events import Clock
from test_processes import Room, ignored, nowhere

from benchmarks.first_sweep import family_of
from benchmarks.kills import differences
from gan_core.config.input_error import InputError
from results.curves import load_curves
from results.store import JsonLines
from results.table import ResultsTable
from sweep.ledger.endings import PlaceError
from sweep.ledger.owners import NoLongerOwner
from sweep.runners.loading import uncollected
from sweep.runners.local.runner import run_local
from sweep.runners.progress import LIVE_SECONDS, ProgressDisplay
from sweep.runners.ray import processes
from sweep.runners.ray.asking import OutOfReach
from sweep.runners.ray.cluster import (
    LOOPBACK_VARIABLE,
    _environment,
    _init,
    _prepare_token,
    _start,
)
from sweep.runners.ray.files import line_to
from sweep.runners.ray.head import PULSE_SECONDS, Head
from sweep.runners.ray.processes import Processes
from sweep.runners.ray.runner import _say_lost, run_ray
from sweep.runners.ray.searcher import study_searcher
from sweep.runners.ray.study_actor import RemoteStudy, _study_class
from sweep.runners.ray.titles import title_of
from sweep.runners.signals import ending_as_ctrl_c, remembered_handlers
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


def quiet(spec: SweepSpec) -> ProgressDisplay:
    return ProgressDisplay(spec.ladder, spec.objective, [], io.StringIO())


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
    here, there = run_folder(spec, tmp_path / "local"), run_folder(spec, tmp_path / "ray")
    run_local(spec, here, quiet(spec))
    said = io.StringIO()
    run_ray(spec, there, ProgressDisplay(spec.ladder, spec.objective, [], said))
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
        (self.deaths / f"title-{self.seeds[0]}-{self.rungs}").write_bytes(Path("/proc/self/cmdline").read_bytes())
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

    def save_midway(self, path):
        raise AssertionError("no rung takes minutes")

    def load_midway(self, path, midway):
        raise AssertionError("nothing is saved between rungs")

    def save_lane(self, lane, path):
        path.write_text("")

    save_generator = save_lane

    def take_over(self, sources, configs):
        raise AssertionError("this is no population")

    def load_lanes(self, places):
        self.rungs = json.loads(places[0][0].read_text())[1]


def test_a_cohort_whose_process_dies_goes_on_from_its_rung_and_one_that_keeps_dying_fails(
    tmp_path, ray_by_value, monkeypatch
):
    monkeypatch.setattr(processes, "RESTARTS", 1)
    spec = tiny_spec("trials=3", "lanes_per_cohort=1", "sampler=random", "ladder.keep_fraction=1.0")
    folder = run_folder(spec, tmp_path / "run")
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    from sweep.proposals.seeds import derived_seed

    doomed, raising = derived_seed(spec.seed, "trial", 1), derived_seed(spec.seed, "trial", 2)

    def build(configs, _=()):
        return DyingArray([c.seed for c in configs], deaths, {doomed}, raising)

    run_ray(spec, folder, quiet(spec), build=build)
    trials = ResultsTable.load(folder.path).trials.set_index("trial")
    assert trials["outcome"].to_dict() == {0: "completed", 1: "failed", 2: "failed"}
    assert trials.loc[1, "reason"] == "died 2 times: its process was killed"
    assert trials.loc[2, "reason"] == "died 2 times: MemoryError: the card is full"
    assert (deaths / str(doomed)).read_text() == "xx"
    assert (deaths / str(derived_seed(spec.seed, "trial", 0))).read_text() == "x"
    rows = JsonLines(folder.rows).read()
    assert len({(row["trial"], row["rung"]) for row in rows}) == len(rows) == 3 + 2 * 2
    for rung in (1, 2, 3):
        title = (deaths / f"title-{derived_seed(spec.seed, 'trial', 0)}-{rung}").read_text().rstrip("\0")
        assert title == f"ray::gan-sweep:{spec.name} cohort 0, rung {rung - 1}, 1 lane"


def test_an_address_where_nothing_answers_is_refused_at_once(tmp_path):
    spec = tiny_spec()
    with pytest.raises(InputError, match="no Ray cluster answers at '127.0.0.1:9'"):
        run_ray(spec, run_folder(spec, tmp_path / "run"), quiet(spec), address="127.0.0.1:9")


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
    processes have the priority of the command, and Ray's files lie where nobody else may go. It prints how far it is to
    a pipe, which cannot be pickled as Tune does with what it is given.
    """
    sizes = ["ladder.rungs_images=[2048, 8192, 24576]", "lanes_per_cohort=2", "trials=8"]
    cores = len(os.sched_getaffinity(0))
    spec = tiny_spec(*sizes, f"resources.cpus_per_cohort={cores}")
    undisturbed = run_folder(spec, tmp_path / "undisturbed")
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
    (session,) = {path for pid in family for path in re.findall(r"((?:/[\w.-]+)+/gs-\w+)/ray/", command_line(pid))}
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
    assert "trials 8/8 done" in third.stdout
    mine, theirs = (ResultsTable.load(p).frame.drop(columns=TIMING) for p in (undisturbed.path, out))
    assert mine.equals(theirs)


def test_more_gpus_than_there_are_end_the_command_with_one_line(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path)}
    run = command("run", "--out", str(tmp_path / "run"), "--set", "resources.gpus_per_cohort=64")
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "resources.gpus_per_cohort: a cohort asks for 64 GPUs" in done.stderr


# ---- the head


def test_a_head_that_does_not_answer_is_waited_for(tmp_path, monkeypatch):
    session = tmp_path / "ray" / "session_1"
    session.mkdir(parents=True)
    pauses = []
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))  # not listening yet: a connection is refused, as after its death

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                head.listen()

        monkeypatch.setattr("sweep.runners.ray.head.time", SimpleNamespace(sleep=pause))
        (session / "gcs_server_port_1").write_text(str(head.getsockname()[1]))
        Head(tmp_path).wait()
    assert pauses == [PULSE_SECONDS] * 3


def test_what_is_lost_is_said_first_and_then_what_is_not_safe_yet_is_taken_to_safety(tmp_path, capsys):
    spec, said = tiny_spec(), list[str]()
    folder = run_folder(spec, tmp_path / "run")
    _say_lost(folder, quiet(spec), lambda: said.append(capsys.readouterr().err), "the head died")
    line = f"gan-sweep: the head died; what was reported is in {folder.path}; run the same command again to continue\n"
    assert said == [line]


def test_a_handler_that_ray_or_tune_sets_is_ours_again_and_a_signal_meanwhile_interrupts(monkeypatch):
    monkeypatch.setattr("ray.get", lambda answer: answer)

    def init(**_: object) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))  # as `ray.init` does
        os.kill(os.getpid(), signal.SIGTERM)

    with ending_as_ctrl_c():
        ours = signal.getsignal(signal.SIGUSR1)
        searcher = study_searcher(Processes(None, 1, Room(1), nowhere, ignored, remembered_handlers()))
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # as `Tuner.fit` sets its own
        searcher.suggest("a Tune trial")
        assert signal.getsignal(signal.SIGUSR1) is ours
        with pytest.raises(KeyboardInterrupt):
            _init(SimpleNamespace(init=init))
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_a_cluster_that_does_not_start_is_a_fault_of_the_place(monkeypatch):
    """And where Ray was imported by somebody who did not say so, a warning tells that it listens beyond loopback."""

    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.\nMore of Ray's words.")

    ray = SimpleNamespace(init=init, util=SimpleNamespace(get_node_ip_address=lambda: "192.0.2.1"))
    with (
        pytest.warns(UserWarning, match=f"listens beyond loopback .*set {LOOPBACK_VARIABLE}=0"),
        pytest.raises(
            PlaceError, match=r"^Ray did not start \(The current node timed out during startup.\); try again"
        ),
    ):
        _start(ray)


def test_a_local_cluster_leaves_the_environment_as_it_was_but_for_its_token(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "host:1")
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    before = dict(os.environ)
    with _environment({"RAY_ADDRESS": None, "RAY_TMPDIR": "folder"}):
        assert ("RAY_ADDRESS" in os.environ, os.environ["RAY_TMPDIR"]) == (False, "folder")
    assert dict(os.environ) == before
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    _prepare_token()
    token = os.environ["RAY_AUTH_TOKEN"]
    assert len(token) == 64
    _prepare_token()
    assert os.environ["RAY_AUTH_TOKEN"] == token


SESSION = """
import os, sys
import ray
from sweep.ledger.callbacks import Callback
from sweep.run import run_sweep
from sweep.spec.sweep_spec import SweepSpec

class CtrlC(Callback):
    def row(self, row):
        raise KeyboardInterrupt

def check_session():
    assert ray.is_initialized() and dict(os.environ) == environment
    assert ray.get(theirs) == [1, 2, 3]
    assert ray.get(ray.remote(num_cpus=2)(lambda x: x + 1).remote(1), timeout=60) == 2  # every core is free again

ray.init(num_cpus=2, namespace="theirs", include_dashboard=False, log_to_driver=False)
theirs, environment = ray.put([1, 2, 3]), dict(os.environ)
spec = SweepSpec.from_mapping({}, sys.argv[2:])
try:
    run_sweep(spec, sys.argv[1], progress=False, callbacks=[CtrlC()])
except KeyboardInterrupt as interrupt:
    kept = interrupt  # as a notebook keeps it, with its traceback
    check_session()
table = run_sweep(spec, sys.argv[1], progress=False)
check_session()
try:
    run_sweep(spec, sys.argv[1] + "-elsewhere", address="192.0.2.1:6379", progress=False)
except ValueError as error:
    print(error)
ray.shutdown()
print(len(table.trials), kept)
"""


def test_the_session_that_a_program_began_is_used_and_left_running(tmp_path, digits_run):
    """Also where the sweep is interrupted, as in a notebook. With one slot, its rows are those of a local sweep."""
    environment = {**os.environ, "HOME": str(tmp_path), LOOPBACK_VARIABLE: "0"}
    done = subprocess.run(
        [sys.executable, "-c", SESSION, str(tmp_path / "run"), *tiny_runs.TINY, "resources.cpus_per_cohort=2"],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused, said = done.stdout.splitlines()
    assert refused.startswith("this program is connected to Ray at 127.0.0.1:")
    assert "the sweep was given '192.0.2.1:6379'; leave the address out to use that session, or call" in refused
    assert said.strip() == "4"
    assert differences(tmp_path / "run", digits_run) == []


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


class Link:
    """What a process sees of Ray while its link may be cut: `get` and `wait` for answers that are functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exceptions: Any = importlib.import_module("ray").exceptions
        self.cut: list[Any] = []
        for name in ("get", "wait"):
            monkeypatch.setattr(f"ray.{name}", getattr(self, name))

    def get(self, answer, timeout=None):
        if self.cut:
            raise self.cut.pop(0)
        return answer

    def wait(self, answers, timeout):
        assert timeout == 0
        return ([], answers) if self.cut else (answers, [])


def test_a_study_that_ends_nothing_is_told_as_often_as_people_look(monkeypatch):
    told: list[int] = []
    study = SimpleNamespace(
        note_images=SimpleNamespace(remote=lambda owner, trials, images: told.append(images) is None)
    )
    Link(monkeypatch)
    now = iter(range(100))
    monkeypatch.setattr(
        "sweep.runners.ray.study_actor.time", SimpleNamespace(monotonic=lambda: next(now) * LIVE_SECONDS / 4)
    )
    seen = range(64, 64 * 65, 64)
    watching, cutting = (RemoteStudy(study, may_cut) for may_cut in (False, True))
    assert all(watching.note_images(0, runs(0), images) for images in seen[:10])
    assert told == [64, 320, 576]  # a quarter of a period passes from one question to the next
    told.clear()
    assert all(cutting.note_images(0, runs(0), images) for images in seen)
    assert told == [64, 2_112]  # of the first step at once


def test_training_waits_for_no_answer_to_a_note_and_uses_it_once_it_has_come(monkeypatch):
    """While the link is cut no more notes pile up than one in ANSWER_SECONDS."""
    told: list[int] = []
    study = SimpleNamespace(
        note_images=SimpleNamespace(remote=lambda owner, trials, images: told.append(images) is not None)
    )
    link, clock = Link(monkeypatch), Clock()
    monkeypatch.setattr("sweep.runners.ray.study_actor.time", clock)
    remote = RemoteStudy(study, may_cut=True)
    link.cut = [link.exceptions.ActorUnavailableError("cut", None)] * 99
    for images in range(2_000, 62_000, 2_000):  # one a second
        assert remote.note_images(0, runs(0), images)
        clock.tick()
    assert told == [2_000, 22_000, 42_000]
    link.cut = []
    assert not remote.note_images(0, runs(0), 64_000)  # the study has answered that it is to end
    remote.note_images(0, runs(0), 66_000)
    link.cut = [link.exceptions.ActorUnavailableError("cut", None)]
    monkeypatch.setattr("ray.wait", lambda answers, timeout: (answers, []))
    assert remote.note_images(0, runs(0), 68_000)  # an answer that was lost decides nothing


def test_a_study_that_is_out_of_reach_is_asked_again_and_not_for_ever(monkeypatch):
    link, clock, asked = Link(monkeypatch), Clock(), list[int]()
    monkeypatch.setattr("sweep.runners.ray.asking.time", clock)
    monkeypatch.setattr(clock, "sleep", clock.tick, raising=False)
    study = SimpleNamespace(
        check_owner=SimpleNamespace(remote=asked.append),
        note_warning=SimpleNamespace(remote=ignored),
        judge=SimpleNamespace(options=lambda name: SimpleNamespace(remote=lambda *given: [name])),
    )
    remote = RemoteStudy(study, may_cut=False)
    slow, away = link.exceptions.GetTimeoutError("slow"), link.exceptions.ActorUnavailableError("cut", None)
    link.cut = [slow, away, slow]
    remote.title = title_of("mnist", 12, 2, 8)
    assert remote.judge(4, 0, runs(0), []) == ["gan-sweep:mnist cohort 12, rung 2, 8 lanes"]
    link.cut = [away] * 999
    with pytest.raises(OutOfReach, match="no answer for 120 seconds"):
        remote.check_owner(4)
    assert asked == [4] * 121
    link.cut = [NoLongerOwner("late")]
    with pytest.raises(NoLongerOwner):
        remote.check_owner(4)
    link.cut = [link.exceptions.ActorDiedError()]
    with pytest.raises(link.exceptions.ActorDiedError):
        remote.check_owner(4)


def test_a_file_server_that_is_out_of_reach_is_asked_again_and_not_for_ever(monkeypatch):
    """What is sent at once is waited for later, and is sent again where an answer was lost."""
    link, clock, sent = Link(monkeypatch), Clock(), list[tuple[Any, ...]]()
    monkeypatch.setattr("sweep.runners.ray.asking.time", clock)
    monkeypatch.setattr(clock, "sleep", clock.tick, raising=False)
    put = SimpleNamespace(remote=lambda *given, **named: sent.append((*given, named)))
    line = line_to(SimpleNamespace(put=put))
    answers = [line("put", piece, midway=True) for piece in range(2)]
    assert sent == [(0, {"midway": True}), (1, {"midway": True})]
    link.cut = [link.exceptions.GetTimeoutError("slow")]
    assert [answer() for answer in answers] == [None, None]
    assert sent[2:] == [(0, {"midway": True})]
    link.cut = [link.exceptions.ActorUnavailableError("cut", None)] * 999
    with pytest.raises(OutOfReach, match="no answer for 300 seconds"):
        line("put", 2)()


def test_a_study_shows_what_processes_warn_of_once(tmp_path):
    spec = tiny_spec()
    study = _study_class()(spec, run_folder(spec, tmp_path / "run"), 0o022, None)
    for line in ("no C compiler is installed", "another", "no C compiler is installed"):
        study.note_warning(line)
    assert study.snapshot().notes == ("no C compiler is installed", "another")
    study.close()


def test_what_a_process_warns_of_that_trains_reaches_the_study_once(monkeypatch):
    said: list[str] = []
    answers = {
        "note_images": SimpleNamespace(remote=lambda owner, trials, images: True),
        "judge": SimpleNamespace(options=lambda name: SimpleNamespace(remote=lambda *given: [])),
        "note_warning": SimpleNamespace(remote=said.append),
    }
    Link(monkeypatch)
    lines: list[str] = []
    monkeypatch.setattr("sweep.runners.ray.study_actor.told", lambda: lines)
    study = RemoteStudy(SimpleNamespace(**answers), may_cut=True)
    assert study.note_images(0, runs(0), 64)
    assert said == []
    lines.append("no C compiler is installed")
    assert study.note_images(0, runs(0), 64)  # not due: it is told with the next note
    assert study.judge(0, 0, runs(0), []) == []
    lines.append("another")
    assert study.note_images(0, runs(0), 64_000)
    assert study.judge(0, 0, runs(0), []) == []
    assert said == lines
