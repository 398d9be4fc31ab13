"""The HTML of a report, without a browser: what it allows, what it escapes, how large it is, and what it says of runs
that are young.
"""

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from evil_runs import EVIL, made_run
from stores_in_memory import address
from table_rows import row, stored

from gan_core.files.object_store import open_store
from results.manifest import MANIFEST, Manifest, Piece
from results.report import page as pages
from results.report.page import MOST_BYTES, report
from results.report.runs import ReportedRun
from results.rows import Outcome
from results.store import ResultsError, RunFolder

__all__ = ["address"]  # a fixture


@pytest.fixture(scope="module", autouse=True)
def few_permutations():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("results.analysis.importance.MOST_PERMUTATIONS", 2)  # 50 take seconds
        yield


def text_of(*runs: ReportedRun, **options: Any) -> str:
    return report(runs, **options).decode()


def data_of(page: str) -> dict[str, Any]:
    """What the page hands to its script."""
    packed = re.findall(r'id="data">([\w+/=]*)<', page)
    return json.loads(gzip.decompress(base64.b64decode(packed[0])))


@pytest.fixture(scope="module")
def page(few_permutations: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """That of a run with 30 trials, two finalists and pictures."""
    return text_of(ReportedRun.load(made_run(tmp_path_factory.mktemp("evil"), confirmed=True)))


def test_the_policy_allows_the_scripts_of_the_page_and_nothing_else(page):
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[0].replace("&#39;", "'")
    assert policy.startswith("default-src 'none';")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    library = gzip.decompress(base64.b64decode(re.findall(r'id="plotly">([\w+/=]*)<', page)[0])).decode()
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (*scripts, library)]
    assert re.findall(r"script-src ([^;]*);", policy) == [" ".join(f"'sha256-{digest}'" for digest in digests)]
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert not re.search(
        r"url\(|@import|https?:", re.sub(r'id="plotly">[^<]*', "", page).replace("http://www.w3.org", "")
    )


def test_no_text_of_the_run_is_markup(page):
    assert "<img src=x" not in page
    assert "window.evil=1" in page  # it is there, as text
    assert page.count("<script") == page.count("</script>") == 3
    assert "\x1b" not in page


def test_the_table_has_each_trial_at_its_best_rung_in_order(page):
    run = data_of(page)["runs"][0]
    columns = {column["name"]: column for column in run["columns"]}
    assert columns["trial"]["values"][:4] == [20, 19, 21, 18]
    assert columns["trial"]["values"][-2:] == [4, 3]  # which died
    assert columns["fidelity.fidelity"]["values"][:4] == [1, 2, 2, 3]
    words = columns["outcome"]["words"]
    assert [words[place] for place in columns["outcome"]["values"][-2:]] == ["collapsed", "diverged"]
    assert (run["winner"], run["baseline"], run["contenders"]) == (0, 27, 28)
    assert [run["columns"][axis["column"]]["title"] for axis in run["axes"]][-1] == "fidelity"
    by_name = {run["columns"][axis["column"]]["name"]: axis for axis in run["axes"]}
    assert by_name["lane.generator_lr"]["log"]
    assert not by_name["lane.beta1"]["log"]
    assert set(run["pictures"]) == {str(trial) for trial in range(30)}


def test_pictures_take_what_is_left_of_the_budget_the_best_first(tmp_path, monkeypatch):
    run = ReportedRun.load(made_run(tmp_path))
    monkeypatch.setattr(pages, "FOR_PICTURES", 30_000)
    page = text_of(run)
    found = data_of(page)["runs"][0]
    assert 0 < len(found["pictures"]) < 10
    assert list(found["pictures"])[:3] == ["20", "19", "21"]
    assert sum(map(len, found["pictures"].values())) <= 30_000
    assert "of 30 trials are in this page" in page
    assert len(page) < MOST_BYTES


def test_a_run_without_rows_says_so_and_how_it_was_begun(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    folder.spec.write_text("name: young\nseed: 7\n")
    page = text_of(ReportedRun.load(folder.path, "this run is going on"))
    assert "No trial has reached its first rung yet" in page
    assert "this run is going on" in page
    assert "seed: 7" in page
    assert data_of(page)["runs"] == [{"index": 0, "pictures": {}}]


def test_one_trial_is_enough(tmp_path):
    page = text_of(ReportedRun.load(stored(tmp_path, [row(0, 0, 3.0)]), "this run is going on"))
    assert "No trial is better than trial 0, the defaults of the space: fidelity 3" in page
    assert "No hyperparameter differs between the trials" in page


def test_a_run_in_which_all_died_says_so(tmp_path):
    page = text_of(ReportedRun.load(stored(tmp_path, [row(n, 0, float("nan"), Outcome.DIVERGED) for n in range(3)])))
    assert "No trial of this run has a score: 3 diverged." in page


def test_only_a_page_that_is_written_again_renews_itself(tmp_path):
    run = ReportedRun.load(stored(tmp_path, [row(0, 0, 3.0)]), "this run is going on")
    assert 'data-renewed-seconds="5"' in text_of(run, renewed_seconds=5)
    assert "data-renewed-seconds" not in re.sub(r"<script>.*", "", text_of(run), flags=re.DOTALL)


def test_several_runs_are_beside_each_other_with_names_of_their_own(tmp_path):
    paths = [made_run(tmp_path / name, 6) for name in ("one", "two")]
    page = text_of(*map(ReportedRun.load, paths))
    found = data_of(page)
    assert [run["index"] for run in found["runs"]] == [0, 1]
    assert {key.partition("-")[0] for key in found["figures"]} >= {"r0", "r1"}
    identifiers = re.findall(r' id="([^"]+)"', page)
    assert len(set(identifiers)) == len(identifiers)


def test_a_folder_that_is_no_run_and_damaged_files_are_one_line(tmp_path):
    with pytest.raises(ResultsError, match="is no run folder"):
        ReportedRun.load(tmp_path)
    run = made_run(tmp_path, 6)
    (run / "examination.json").write_text('{"findings": 3}')
    with pytest.raises(ResultsError, match="is no examination"):
        text_of(ReportedRun.load(run))
    (run / "examination.json").unlink()
    (run / "samples" / "trial-0000.png").write_bytes(b"no picture")
    with pytest.raises(ResultsError, match="trial-0000.png is no picture"):
        text_of(ReportedRun.load(run))


def test_a_run_in_a_store_is_reported_with_its_pictures(address, tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "cache"))
    there, files = made_run(tmp_path, 6), {}
    store = open_store(address)
    for path in filter(Path.is_file, there.rglob("*")):
        name, content = path.relative_to(there).as_posix(), path.read_bytes()
        files[name] = [Piece(f"{name}/0", len(content), hashlib.sha256(content).hexdigest())]
        store.write(f"{name}/0", content)
    store.write(MANIFEST, Manifest("driver", 9, files).to_bytes())
    page = text_of(ReportedRun.load(address))
    assert set(data_of(page)["runs"][0]["pictures"]) == {str(trial) for trial in range(6)}
    assert "Real samples" in page
    assert f"gan-sweep export {address} --trial" in page


def test_jinja2_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    pages._template.cache_clear()
    with pytest.raises(ResultsError, match="pip install 'gan-sweep\\[report\\]'"):
        text_of(ReportedRun.load(stored(tmp_path, [row(0, 0, 3.0)])))


def test_the_parts_of_the_page_are_installed_with_the_package():
    patterns = re.findall(r'"results.report" = \[(.*)\]', Path("pyproject.toml").read_text())[0]
    endings = {path.suffix for path in Path(pages.__file__).parent.iterdir() if path.suffix not in ("", ".py")}
    assert endings == {f".{each}" for each in re.findall(r'"\*\.(\w+)"', patterns)}


def test_what_is_evil_is_really_evil():
    assert "</script>" in EVIL
    assert not EVIL.isprintable()
