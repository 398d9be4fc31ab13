"""All processes of a run score with what the first of them has offered."""

from pathlib import Path

import pytest
import torch
from curve_array import curve_spec, run_cohorts, run_folder
from test_transfer import line_to

from gan_core.fidelity.fitted import Fitted, protocol_in
from results.store import ResultsError, RunFolder
from sweep.cohorts.file_server import FileServer
from sweep.cohorts.shared_features import FeaturesInFolder, SharedFeatures
from sweep.cohorts.transfer import FetchedFeatures

SPEC = curve_spec()


def written(path: Path, value: float, protocol: str = "curve") -> Path:
    Fitted({"part/name": torch.full((400,), value)}, "digest", "kind", None, protocol).write(path)
    return path


@pytest.fixture(params=["in sight", "apart"])
def features(request, tmp_path) -> SharedFeatures:
    folder = RunFolder(tmp_path / "run").create()
    if request.param == "in sight":
        return FeaturesInFolder(folder)
    return FetchedFeatures(line_to(FileServer(folder)), tmp_path)


def test_the_first_to_offer_decides_and_all_others_get_the_same(features, tmp_path):
    assert features.fetch() is None
    mine, other = written(tmp_path / "mine", 1), written(tmp_path / "other", 2)
    assert features.offer(mine).read_bytes() == mine.read_bytes()
    assert features.offer(other).read_bytes() == mine.read_bytes()
    assert features.offer(mine).read_bytes() == mine.read_bytes()
    found = features.fetch()
    assert found is not None
    assert found.read_bytes() == mine.read_bytes()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"features.safetensors", ".features.lock"}


def test_a_damaged_file_counts_as_none_and_is_replaced(features, tmp_path):
    mine = written(tmp_path / "mine", 1)
    (tmp_path / "run" / "features.safetensors").write_bytes(mine.read_bytes()[:-1])
    assert features.fetch() is None
    assert features.offer(mine).read_bytes() == mine.read_bytes()


def test_a_run_that_was_scored_otherwise_takes_no_features_and_stays_as_it_was(features, tmp_path):
    run = run_folder(SPEC, tmp_path / "run")
    run_cohorts(SPEC, run)  # by the protocol "curve", as an earlier version, which kept no features
    with pytest.raises(ResultsError, match="was scored by curve, and a cohort would be by another now"):
        features.offer(written(tmp_path / "other", 1, "another"))
    assert features.fetch() is None
    assert not list(run.path.glob(".features-*"))
    assert protocol_in(features.offer(written(tmp_path / "mine", 2))) == "curve"


@pytest.mark.parametrize("name", ["", "../x", "0" * 63, "0" * 63 + "G", "0" * 64 + "\n"])
def test_a_file_is_offered_by_its_digest_alone(tmp_path, name):
    server = FileServer(RunFolder(tmp_path / "run").create())
    with pytest.raises(ValueError, match="is no SHA-256"):
        server.put_features(name, 0, b"x")
    assert list((tmp_path / "run").iterdir()) == []
