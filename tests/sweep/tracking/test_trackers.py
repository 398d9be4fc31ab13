"""Each tracker has every row once, whoever was killed when; none of them can end a sweep."""

import importlib
import json
import math
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_runs import ROW

from gan_core.config.input_error import InputError
from results.pictures import draw_samples
from results.rows import Outcome, ResultRow
from results.store import RunFolder
from results.trial_run import TrialRun
from sweep.spec import tracking
from sweep.spec.tracking import parse_tracking, plain_tracking, require_installed
from sweep.tracking import event_file, trackers
from sweep.tracking.tracked_row import TrackerFailed, is_best_so_far, numbers
from sweep.tracking.trackers import TRACKERS, Point, Trackers, open_trackers

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the viewers' own packages
    pytest.mark.usefixtures("unsynced"),
]

SPEC = {"name": "tiny", "trials": 3, "objective": "fidelity", "sampler": "tpe", "seed": 0}
OPTIONS = {"tensorboard": {}, "mlflow": {}, "wandb": {"mode": "offline"}}
RUNGS_IMAGES = (256, 512, 1024)

Seen = dict[int, dict[str, list[tuple[int, float]]]]  # trial -> name -> (images seen, value)


def row(trial: int, rung: int, outcome: Outcome = Outcome.RUNNING, **values: Any) -> ResultRow:
    score = 4.0 + trial - rung if trial != 2 else 6.0 + rung  # trial 2 gets worse
    given = {
        "images_seen": RUNGS_IMAGES[rung],
        "score": score,
        "best_score": score if trial != 2 else 6.0,
        "fidelity": {"fid": score, "fid_floor": 0.125},
        "health": {"d_gradient": 0.25 * (rung + 1), "penalty": math.nan},
        "hyperparameters": {
            **{"lane.beta1": 0.5 + trial / 8, "structure.loss": "hinge", "lane.nesterov": True, "seed": 7},
            "lane.ema_half_life_images": 500.0 * (rung + 1),
        },
    }
    return replace(ROW, trial=trial, rung=rung, outcome=outcome, **{**given, **values})


ROWS = [
    *(row(trial, 0) for trial in range(3)),
    row(0, 1),
    row(1, 1, Outcome.PRUNED, reason="rank 3 of 3"),
    row(2, 1, Outcome.DIVERGED, score=math.nan, fidelity={}, reason="a loss of NaN"),
    row(0, 2, Outcome.COMPLETED),
]


def expected(rows: list[ResultRow]) -> Seen:
    seen: Seen = {}
    for told in rows:
        for name, value in numbers(told).items():
            seen.setdefault(told.trial, {}).setdefault(name, []).append((told.images_seen, value))
    return seen


def test_the_average_that_was_scored_is_a_number_of_its_row():
    assert [numbers(row(0, rung))["scored/ema_half_life_images"] for rung in range(3)] == [500.0, 1000.0, 1500.0]


def tell(folder: RunFolder, name: str, rows: list[ResultRow]) -> list[str]:
    """What one owner does, from its start to its end. The notes it leaves."""
    opened = open_trackers({name: OPTIONS[name]}, folder, SPEC)
    for told in rows:
        opened.row(told)
    opened.close()
    return opened.notes


def seen_by_tensorboard(folder: RunFolder) -> Seen:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen: Seen = {}
    for home in sorted(folder.tensorboard.iterdir()):
        events = EventAccumulator(str(home), size_guidance={"scalars": 0}).Reload()
        seen[int(home.name[-4:])] = {
            name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]
        }
    return seen


def mlflow_runs(folder: RunFolder) -> tuple[Any, list[Any]]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder.mlflow / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    return client, list(client.search_runs([experiment.experiment_id]))


def seen_by_mlflow(folder: RunFolder) -> Seen:
    client, runs = mlflow_runs(folder)
    return {
        int(run.data.tags["gan_sweep.trial"]): {
            name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        for run in runs
        if "gan_sweep.trial" in run.data.tags
    }


def records_of(path: Path) -> list[Any]:
    """What an offline run recorded. Its file is a log of LevelDB's after seven bytes."""
    protocol: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    content, place, parts, found = path.read_bytes(), 7, b"", []
    while place + 7 <= len(content):
        if 32_768 - place % 32_768 < 7:  # the rest of a block, too short for a head
            place += 32_768 - place % 32_768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(protocol.Record.FromString(parts))
            parts = b""
    return found


def wandb_records(folder: RunFolder) -> list[tuple[int, Any]]:
    """(trial, record) of all offline runs, the earlier first. wandb's service flushes a file a moment after `finish`
    has returned.
    """
    found = []
    for path in sorted(folder.wandb.glob("offline-run-*/run-*.wandb")):
        deadline = time.monotonic() + 60
        while not (records := records_of(path)) or records[-1].WhichOneof("record_type") != "exit":
            assert time.monotonic() < deadline, f"{path} has no end"
            time.sleep(0.02)
        found += [(int(path.stem[-4:]), record) for record in records]
    return found


def seen_by_wandb(folder: RunFolder) -> Seen:
    seen: Seen = {}
    for trial, record in wandb_records(folder):
        if record.WhichOneof("record_type") == "history":
            items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            for name, value in items.items():
                if not name.startswith("_") and name not in ("images_seen", "samples"):
                    seen.setdefault(trial, {}).setdefault(name, []).append((items["_step"], value))
    return seen


SEEN: Mapping[str, Callable[[RunFolder], Seen]] = {
    "tensorboard": seen_by_tensorboard,
    "mlflow": seen_by_mlflow,
    "wandb": seen_by_wandb,
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> RunFolder:
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    folder = RunFolder(tmp_path / "run").create()
    for trial in range(3):
        draw_samples(np.full((4, 1, 8, 8), trial / 4, np.float32), folder.trial_samples(TrialRun(trial)))
    return folder


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_has_every_number_of_every_row_at_the_images_it_was_seen_at(folder, name):
    assert tell(folder, name, ROWS) == []
    seen = SEEN[name](folder)
    wanted = expected(ROWS)
    assert [len(wanted[trial]["d_loss"]) for trial in range(3)] == [3, 2, 2]
    assert seen.keys() == wanted.keys()
    for trial, names in wanted.items():
        assert seen[trial].keys() == names.keys()
        for column, points in names.items():
            assert [step for step, _ in seen[trial][column]] == [step for step, _ in points]
            np.testing.assert_allclose([v for _, v in seen[trial][column]], [v for _, v in points], rtol=1e-7)


@pytest.mark.parametrize("name", TRACKERS)
def test_an_owner_that_tells_all_rows_again_adds_what_was_missing_and_nothing_else(folder, name):
    assert tell(folder, name, ROWS[:4]) == []
    assert sum(len(names["d_loss"]) for names in SEEN[name](folder).values()) == 4
    assert tell(folder, name, ROWS) == []
    once = SEEN[name](folder)
    assert tell(folder, name, ROWS) == []
    assert SEEN[name](folder) == once
    assert {trial: len(names["d_loss"]) for trial, names in once.items()} == {0: 3, 1: 2, 2: 2}


def test_wherever_a_writer_of_events_was_killed_the_next_owner_loses_and_doubles_nothing(folder):
    assert tell(folder, "tensorboard", ROWS) == []
    path = folder.tensorboard / "trial-0000" / "events.out.tfevents.0000000000.gan-sweep"
    whole, wanted = path.read_bytes(), seen_by_tensorboard(folder)[0]
    cuts = [*range(0, 60), *range(60, len(whole), 211), len(whole) - 1]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        tell(folder, "tensorboard", ROWS)
        assert event_file.whole_records(path)[0] == 4
    assert seen_by_tensorboard(folder)[0] == wanted
    assert len(cuts) > 70
    path.write_bytes(whole + bytes(100))  # what a power cut may leave
    assert event_file.whole_records(path) == (4, len(whole))


def test_the_events_hold_the_picture_of_each_best_rung(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert tell(folder, "tensorboard", ROWS) == []
    shown = {}
    for trial in range(3):
        events = EventAccumulator(str(folder.tensorboard / f"trial-{trial:04d}"), size_guidance={"images": 0}).Reload()
        shown[trial] = events.Images("samples")
    assert {trial: [image.step for image in images] for trial, images in shown.items()} == {
        0: [256, 512, 1024],
        1: [256, 512],
        2: [256],  # it got worse, and died
    }
    png = folder.trial_samples(TrialRun(0)).read_bytes()
    assert shown[0][-1].encoded_image_string == png
    assert (shown[0][-1].width, shown[0][-1].height) == Image.open(folder.trial_samples(TrialRun(0))).size


def test_the_tab_of_hyperparameters_lists_the_trials_that_ended(folder):
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import backend_context, list_session_groups

    api: Any = importlib.import_module("tensorboard.plugins.hparams.api_pb2")
    tell(folder, "tensorboard", ROWS[:-1])  # trial 0 has not ended
    multiplexer = EventMultiplexer(tensor_size_guidance={"scalars": 0}).AddRunsFromDirectory(str(folder.tensorboard))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder.tensorboard))
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    request = api.ListSessionGroupsRequest(start_index=0, slice_size=10)
    request.allowed_statuses.extend([api.STATUS_SUCCESS, api.STATUS_FAILURE, api.STATUS_RUNNING])
    experiment = context.experiment_from_metadata(
        RequestContext(), "", True, context.hparams_metadata(RequestContext(), ""), []
    )
    for metric in experiment.metric_infos:
        request.col_params.add(metric=metric.name)
    found = list_session_groups.Handler(RequestContext(), context, "", request).run().session_groups
    lines = {group.sessions[0].name: (group, group.sessions[0]) for group in found}
    assert sorted(lines) == ["trial-0001", "trial-0002"]
    group, session = lines["trial-0001"]
    assert session.status == api.STATUS_SUCCESS
    assert lines["trial-0002"][1].status == api.STATUS_FAILURE
    assert group.hparams["lane.beta1"].number_value == 0.625
    assert group.hparams["structure.loss"].string_value == "hinge"
    assert group.hparams["lane.nesterov"].bool_value is True
    assert group.hparams["outcome"].string_value == "pruned"
    values = {value.name.tag: value.value for value in session.metric_values}
    assert values["best_score"] == 4.0


def test_mlflow_nests_trials_in_a_sweep_with_parameters_outcomes_and_pictures(folder):
    assert tell(folder, "mlflow", ROWS) == []
    client, runs = mlflow_runs(folder)
    (parent,) = [run for run in runs if "gan_sweep.trial" not in run.data.tags]
    trials = {int(run.data.tags["gan_sweep.trial"]): run for run in runs if run is not parent}
    assert {run.data.tags["mlflow.parentRunId"] for run in trials.values()} == {parent.info.run_id}
    assert {t: run.info.status for t, run in trials.items()} == {0: "FINISHED", 1: "FINISHED", 2: "FAILED"}
    assert parent.info.status == "FINISHED"
    assert parent.data.params["sampler"] == "tpe"
    assert parent.data.metrics["best_score"] == 2.0
    assert trials[1].data.params["lane.beta1"] == "0.625"
    assert (trials[2].data.tags["outcome"], trials[2].data.tags["reason"]) == ("diverged", "a loss of NaN")
    (artifact,) = client.list_artifacts(trials[0].info.run_id, "samples")
    kept = client.download_artifacts(trials[0].info.run_id, artifact.path)
    assert Path(kept).read_bytes() == folder.trial_samples(TrialRun(0)).read_bytes()
    assert len(list(folder.mlflow.rglob("trial-0000.png"))) == 1


def test_an_interrupted_sweep_goes_on_in_the_same_mlflow_runs(folder):
    tell(folder, "mlflow", ROWS[:5])
    before = {run.info.run_id: run.info.status for run in mlflow_runs(folder)[1]}
    assert sorted(before.values()) == ["FINISHED", "KILLED", "KILLED", "KILLED"]
    assert tell(folder, "mlflow", ROWS) == []
    after = {run.info.run_id: run.info.status for run in mlflow_runs(folder)[1]}
    assert after.keys() == before.keys()
    assert sorted(after.values()) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]


def test_a_row_that_mlflow_has_but_had_not_noted_is_kept_once(folder):
    from sweep.tracking.mlflow_tracker import ROWS_TAG

    assert tell(folder, "mlflow", ROWS) == []
    once = seen_by_mlflow(folder)
    client, runs = mlflow_runs(folder)
    for run in runs:
        if "gan_sweep.trial" in run.data.tags:
            client.set_tag(run.info.run_id, ROWS_TAG, "1")  # as if killed before it was set
    assert tell(folder, "mlflow", ROWS) == []
    assert seen_by_mlflow(folder) == once


def test_wandb_has_a_run_a_trial_of_one_group_with_its_configuration_and_outcome(folder):
    assert tell(folder, "wandb", ROWS) == []
    records = wandb_records(folder)
    runs = {trial: record.run for trial, record in records if record.WhichOneof("record_type") == "run"}
    assert sorted(runs) == [0, 1, 2]
    assert len({run.run_group for run in runs.values()}) == 1
    assert {run.project for run in runs.values()} == {"gan-sweep"}
    config = {item.key: json.loads(item.value_json) for item in runs[1].config.update}
    assert (config["lane.beta1"], config["structure.loss"]) == (0.625, "hinge")
    exits = {t: r.exit.exit_code for t, r in records if r.WhichOneof("record_type") == "exit"}
    assert exits == {0: 0, 1: 0, 2: 1}
    summary: dict[int, dict[str, Any]] = {}
    for trial, record in records:
        if record.WhichOneof("record_type") == "summary":
            summary.setdefault(trial, {}).update(
                {item.key or item.nested_key[0]: item.value_json for item in record.summary.update}
            )
    assert json.loads(summary[2]["outcome"]) == "diverged"
    assert all(path.is_relative_to(folder.wandb) for path in folder.path.rglob("offline-run-*"))
    assert len(list(folder.wandb.glob("offline-run-*/files/media/images/*.png"))) == 6


class Failing:
    """A tracker that takes one row and then no more."""

    def __init__(self, error: Exception) -> None:
        self.error, self.rows = error, 0

    def row(self, row: ResultRow, picture: Path | None, curve: Sequence[Point]) -> None:
        self.rows += 1
        if self.rows == 2:
            raise self.error

    def close(self) -> None:
        self.rows = -1


@pytest.mark.parametrize("error", [TrackerFailed("no\nnetwork"), OSError(28, "No space left on device")])
def test_a_tracker_that_fails_is_switched_off_with_one_line_and_the_others_go_on(folder, error):
    failing = Failing(error)
    factories = {"wandb": lambda *_: failing, "tensorboard": TRACKERS["tensorboard"]}
    opened = Trackers(factories, dict.fromkeys(factories, {}), folder, SPEC)
    for told in ROWS:
        opened.row(told)
    opened.close()
    assert failing.rows == 2
    assert len(opened.notes) == 1
    assert opened.notes[0].startswith("wandb is switched off, the sweep goes on without it: ")
    assert "\n" not in opened.notes[0]
    assert seen_by_tensorboard(folder).keys() == {0, 1, 2}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_tracker_with_a_bug_ends_no_sweep_and_is_noted_at_the_end(folder):
    opened = Trackers({"wandb": lambda *_: Failing(KeyError("bug"))}, {"wandb": {}}, folder, SPEC)
    for told in ROWS:
        opened.row(told)
    opened.close()
    assert len(opened.notes) == 1
    assert "wandb ended by an error of its own" in opened.notes[0]


def test_a_slow_tracker_delays_neither_the_rows_nor_for_ever_the_end(folder, monkeypatch):
    monkeypatch.setattr(trackers, "CLOSE_SECONDS", 0.0)
    network = threading.Event()

    class Slow(Failing):
        def row(self, row: ResultRow, picture: Path | None, curve: Sequence[Point]) -> None:
            network.wait()

    opened = Trackers({"wandb": lambda *_: Slow(OSError())}, {"wandb": {}}, folder, SPEC)
    for told in ROWS:
        opened.row(told)
    opened.close()
    assert "it lacks some" in opened.notes[0]
    network.set()


def test_a_full_disk_switches_tensorboard_off(folder):
    folder.tensorboard.write_text("in the way")
    notes = tell(folder, "tensorboard", ROWS)
    assert len(notes) == 1
    assert "tensorboard is switched off" in notes[0]


def test_an_mlflow_server_that_does_not_answer_switches_mlflow_off(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    opened = open_trackers({"mlflow": {"uri": "http://127.0.0.1:9"}}, folder, SPEC)
    opened.row(ROWS[0])
    opened.close()
    assert len(opened.notes) == 1
    assert "mlflow is switched off" in opened.notes[0]


def test_wandb_without_a_key_asks_nobody_and_says_what_to_do(folder, monkeypatch):
    for variable in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(variable, raising=False)
    opened = open_trackers({"wandb": {}}, folder, SPEC)
    opened.row(ROWS[0])
    opened.close()
    assert len(opened.notes) == 1
    assert "wandb login" in opened.notes[0]
    assert "mode=offline" in opened.notes[0]


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        (None, {"tensorboard": {}}),
        ({}, {"tensorboard": {}}),
        ({"tensorboard": False}, {}),
        ({"tensorboard": True, "wandb": False}, {"tensorboard": {}}),
        (
            {"wandb": {"project": "p", "mode": "offline"}, "mlflow": None, "tensorboard": False},
            {"mlflow": {}, "wandb": {"project": "p", "mode": "offline"}},
        ),
        (
            {"mlflow": {"uri": "sqlite:////data/m.db", "experiment": "e"}},
            {"tensorboard": {}, "mlflow": {"uri": "sqlite:////data/m.db", "experiment": "e"}},
        ),
    ],
)
def test_what_is_asked_for_is_used_and_its_plain_values_read_back_the_same(values, chosen):
    assert parse_tracking(values) == chosen
    assert parse_tracking(plain_tracking(chosen)) == chosen


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["wandb"], "must map trackers"),
        ({"mflow": True}, "did you mean 'mlflow'?"),
        ({"mlflow": {"url": "http://a"}}, "did you mean 'uri'?"),
        ({"tensorboard": {"folder": "x"}}, "it has none"),
        ({"wandb": "offline"}, "must be true, false or a mapping"),
        ({"wandb": {"mode": "ofline"}}, "did you mean 'offline'?"),
        ({"wandb": {"project": 3}}, "must be a text, got 3"),
        ({"mlflow": {"uri": "file:///mlruns"}}, "takes folders no more"),
        ({"mlflow": {"uri": "mlruns"}}, "takes folders no more"),
        ({"mlflow": {"uri": "sqlite:///mlflow.db"}}, "needs an absolute path"),
    ],
)
def test_what_is_misspelt_is_refused_in_one_line_with_the_nearest(values, says):
    with pytest.raises(InputError) as refusal:
        parse_tracking(values)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_whose_package_is_missing_is_refused_with_the_command_that_installs_it(folder, monkeypatch, name):
    monkeypatch.setattr(tracking, "find_spec", lambda package: None)
    install = "tensorboard" if name == "tensorboard" else rf'"gan-sweep\[{name}\]"'
    with pytest.raises(InputError, match=rf"pip install {install}, or set tracking.{name}=false"):
        require_installed({name: {}})
    with pytest.raises(InputError):
        open_trackers({name: {}}, folder, SPEC)
    require_installed({})
    assert not folder.tracking.exists()


def test_a_picture_is_of_a_row_only_where_it_is_the_trials_best():
    assert [is_best_so_far(told) for told in ROWS] == [True, True, True, True, True, False, True]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_loads_no_torch_into_the_studys_process(folder, name):
    code = (
        "import sys\nfrom results.store import RunFolder\nfrom sweep.tracking.trackers import open_trackers\n"
        f"opened = open_trackers({{{name!r}: {OPTIONS[name]!r}}}, RunFolder(sys.argv[1]), {SPEC!r})\n"
        "opened.close()\nprint(opened.notes, sorted({'torch', 'ray'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code, folder.path], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[] []", done.stderr
