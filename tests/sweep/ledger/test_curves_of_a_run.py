"""A run's curves: each point once in a file that is checked, as a frame, and in TensorBoard."""

import json
from pathlib import Path
from typing import Any

import pytest
from curve_array import CurveArray, curve_spec, opened, run_cohorts, run_folder, runs
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from results.curves import load_curves
from results.store import JsonLines, ResultsError, RunFolder

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.usefixtures("unsynced")]
SPEC = curve_spec(confirm={"top": 1, "seeds": 2})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = run_folder(SPEC, tmp_path_factory.mktemp("curves") / "run")
    run_cohorts(SPEC, folder)
    return folder


def test_the_frame_has_every_point_of_trials_and_confirmations_in_rising_images(finished):
    frame: Any = load_curves(finished.path)
    rows = JsonLines(finished.rows).read()
    assert list(frame.columns) == ["trial", "replicate", "images_seen", "d_loss", "g_loss"]
    assert len(frame) == 2 * len(rows)
    assert frame.groupby(["trial", "replicate"])["images_seen"].agg(lambda seen: seen.is_monotonic_increasing).all()
    ends = {(row["trial"], row["replicate"], row["images_seen"]) for row in rows}
    assert ends <= set(frame[["trial", "replicate", "images_seen"]].itertuples(index=False, name=None))
    assert set(frame["replicate"]) == {0, 1, 2}
    assert frame["d_loss"].notna().all()
    assert frame["g_loss"].isna().all()


def seen_in_tensorboard(folder: RunFolder) -> dict[int, list[tuple[int, float]]]:
    found = {}
    for home in sorted(folder.tensorboard.glob("trial-*/curve")):
        events = EventAccumulator(str(home), size_guidance={"scalars": 0}).Reload()
        assert events.Tags()["scalars"] == ["d_loss"]  # what is not a number is left out
        found[int(home.parent.name[-4:])] = [(event.step, event.value) for event in events.Scalars("d_loss")]
    return found


def expected_in_tensorboard(folder: RunFolder) -> dict[int, list[Any]]:
    expected: dict[int, list[Any]] = {}
    for point in JsonLines(folder.curves).read():
        if point["replicate"] == 0:
            expected.setdefault(point["trial"], []).append(
                (point["images_seen"], pytest.approx(point["d_loss"], rel=1e-6))
            )
    return expected


def test_tensorboard_shows_the_points_of_the_search(finished):
    assert seen_in_tensorboard(finished) == expected_in_tensorboard(finished)
    assert len(seen_in_tensorboard(finished)) == SPEC.trials


def test_an_owner_that_starts_again_logs_what_was_not_logged_and_nothing_twice(finished, tmp_path):
    expected = expected_in_tensorboard(finished)
    with opened(SPEC, finished):
        pass
    assert seen_in_tensorboard(finished) == expected
    path = next(finished.tensorboard.glob("trial-0001/curve/*"))
    path.write_bytes(path.read_bytes()[:-5])  # torn in its last point
    with opened(SPEC, finished):
        pass
    assert seen_in_tensorboard(finished) == expected


def test_a_run_of_an_earlier_version_goes_on_with_points_from_here_on(tmp_path):
    folder = run_folder(SPEC, tmp_path)
    with opened(SPEC, folder) as study:
        cohort = study.open_cohort(3)
        assert cohort is not None
        array = CurveArray(cohort.configs[:1])
        reports = [report.__class__(**{**vars(report), "curve": ()}) for report in array.train_to(100)]
        study.judge(0, 0, runs(0), reports)
        assert not folder.curves.exists()
        study.judge(0, 1, runs(0), array.train_to(300))
    assert load_curves(folder.path)["images_seen"].tolist() == [224, 320]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images_seen": "many"}, "line 2: images_seen is not such a number"),
        ({"images_seen": -1}, "line 2: images_seen is not such a number"),
        ({"trial": 1.5}, "line 2: trial is not such a number"),
        ({"d_loss": [1.0]}, "line 2: d_loss is not such a number"),
        ({"d_loss": True}, "line 2: d_loss is not such a number"),
        ({"images_seen": None}, "line 2: images_seen is not such a number"),
    ],
)
def test_a_point_that_was_changed_is_refused_with_its_line(finished, tmp_path, change: dict[str, Any], says: str):
    points = JsonLines(finished.curves).read()
    points[1] |= change
    folder = run_folder(SPEC, tmp_path)
    folder.curves.write_text("".join(json.dumps(point) + "\n" for point in points))
    with pytest.raises(ResultsError, match=says):
        load_curves(tmp_path)
    with pytest.raises(ResultsError, match=says), opened(SPEC, folder):
        pass


def lacking(path: Path, name: str) -> None:
    path.write_text(json.dumps({k: 1 for k in ("trial", "replicate", "images_seen") if k != name}) + "\n")


def test_points_without_images_or_of_no_trial_are_refused_and_so_is_a_folder_without_any(tmp_path):
    folder = run_folder(SPEC, tmp_path)
    with pytest.raises(ResultsError, match=r"curves\.jsonl is missing or empty"):
        load_curves(tmp_path)
    lacking(folder.curves, "images_seen")
    with pytest.raises(ResultsError, match="line 1 lacks images_seen"):
        load_curves(tmp_path)
    lacking(folder.curves, "replicate")
    assert load_curves(tmp_path)["images_seen"].tolist() == [1]
    with pytest.raises(ResultsError, match="line 1 is of no trial"), opened(SPEC, folder):
        pass
