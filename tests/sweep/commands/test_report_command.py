"""`gan-sweep report`: where the page goes, and how it follows a sweep."""

import json
import os
import time
from pathlib import Path

import pytest
from table_rows import row, stored

from results.rows import Outcome
from results.store import JsonLines, RunFolder, exclusive


def test_the_page_of_a_real_run_has_real_samples_the_winner_and_trial_0(digits_run, gan_sweep):
    answer = gan_sweep("report", digits_run)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("written to report.html (")
    assert answer.out.endswith(" MB); open it in a browser\n")
    page = Path("report.html").read_text()
    samples = page[page.index('id="r0-samples"') : page.index('id="r0-history"')]
    assert samples.count("<img ") == 3
    assert "Real samples" in samples


def test_real_samples_are_drawn_like_generated_ones_and_evenly_from_the_held_out_split(digits_run):
    from PIL import Image

    from gan_core.data.dataset import load_dataset
    from results.pictures import draw_samples
    from sweep.cohorts.real_samples import real_samples

    dataset = load_dataset("digits")
    samples = real_samples(dataset)
    assert samples.shape == (64, 1, 8, 8)
    assert (samples[0] == dataset.held_out[0].numpy()).all()
    assert (samples[-1] == dataset.held_out[-1].numpy()).all()
    folder = RunFolder(digits_run)
    with Image.open(folder.real_samples) as real, Image.open(next(folder.samples.glob("trial-*.png"))) as generated:
        assert real.size == generated.size
    draw_samples(samples, Path(folder.path.parent / "same.png"))
    assert (folder.path.parent / "same.png").read_bytes() == folder.real_samples.read_bytes()


def test_numbers_are_drawn_as_a_histogram_and_a_picture_that_is_there_stays(tmp_path):
    from PIL import Image

    from gan_core.data.dataset import load_dataset
    from sweep.cohorts.real_samples import keep_real_samples, real_samples

    folder = RunFolder(tmp_path)
    keep_real_samples(folder, real_samples(load_dataset("gaussian")))
    with Image.open(folder.real_samples) as drawn:
        assert drawn.size == (640, 320)
    folder.real_samples.write_bytes(b"kept")
    keep_real_samples(folder, real_samples(load_dataset("gaussian")))
    assert folder.real_samples.read_bytes() == b"kept"


def test_standard_output_takes_the_page_and_nothing_else(tmp_path, gan_sweep, monkeypatch):
    read, write = os.pipe()
    there = os.dup(1)
    os.dup2(write, 1)
    os.set_blocking(write, False)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("results.report.page.report", lambda runs, renewed_seconds: b"<!doctype html>")
            assert gan_sweep("report", stored(tmp_path, [row(0, 0, 1.0)]), "-o", "-").code == 0
    finally:
        os.dup2(there, 1)
        os.close(write)
        os.close(there)
    with os.fdopen(read, "rb") as file:
        assert file.read() == b"<!doctype html>"


def test_watching_writes_again_until_the_sweep_has_ended(tmp_path, gan_sweep, monkeypatch):
    run = RunFolder(stored(tmp_path, [row(0, 0, 4.0)]))
    written, waited = [], []

    def report(runs, renewed_seconds):
        written.append((len(runs[0].table.frame), renewed_seconds))
        return b"page"

    lock = exclusive(run.driver_lock)
    lock.__enter__()

    def sleep(seconds):
        waited.append(seconds)
        JsonLines(run.rows).append([row(len(waited), 0, 3.0, Outcome.COMPLETED)])
        if len(waited) == 2:
            lock.__exit__(None, None, None)

    monkeypatch.setattr("results.report.page.report", report)
    monkeypatch.setattr(time, "sleep", sleep)
    answer = gan_sweep("report", run.path, "-o", "page.html", "--watch", "7")
    assert (answer.code, answer.err) == (0, "")
    assert waited == [7, 7]
    assert written == [(1, 7), (2, 7), (3, 0)]
    first, last = answer.out.splitlines()
    assert first == "written to page.html (0.0 MB), and again every 7 s; open it in a browser"
    assert last == "written to page.html (0.0 MB); open it in a browser"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["absent"], "absent is no run folder: it has no spec.yaml; give the folder of a run"),
        (["RUN", "-o", "-", "--watch"], "--watch writes a file again and again, which standard output cannot be"),
        (["RUN", "--watch", "0"], "--watch: must be a whole number of at least 1, got '0'"),
        (["RUN", "-o", "/proc/none/page.html"], "cannot write /proc/none/page.html"),
    ],
)
def test_bad_input_is_one_line(tmp_path, gan_sweep, monkeypatch, arguments, says):
    monkeypatch.setattr("results.report.page.report", lambda runs, renewed_seconds: b"page")
    run = stored(tmp_path, [row(0, 0, 1.0)])
    answer = gan_sweep("report", *(run if text == "RUN" else text for text in arguments))
    assert answer.code == 2
    assert says in answer.err
    assert answer.err.count("\n") == 1


def test_a_damaged_row_is_named_with_its_line(tmp_path, gan_sweep):
    run = stored(tmp_path, [row(0, 0, 1.0)])
    RunFolder(run).rows.write_text(json.dumps({"trial": 1}) + "\n")
    answer = gan_sweep("report", run)
    assert answer.code == 2
    assert "rows.jsonl, line 1" in answer.err
