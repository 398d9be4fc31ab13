"""Pictures in a page: exact where they are small, in a size that fits many, and of typical failures."""

import base64
import io

import numpy as np
from PIL import Image
from table_rows import row, stored

from results.pictures import draw_samples
from results.report.pictures import LARGE_PIXELS, failures, large, small
from results.rows import Outcome
from results.table import ResultsTable


def opened(url: str) -> Image.Image:
    kind, _, data = url.partition(",")
    assert kind == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_picture_that_was_enlarged_is_embedded_as_it_was(tmp_path):
    draw_samples(np.random.default_rng(0).uniform(-1, 1, (64, 1, 8, 8)), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as drawn:
        assert drawn.size == (511, 511)  # 73 pixels, seven times as large
        whole = np.asarray(drawn)
    found = large(tmp_path / "a.png")
    assert found is not None
    assert found.pixels == (73, 73)
    assert np.array_equal(np.asarray(opened(found.url).convert("L")), whole[::7, ::7])


def test_a_large_picture_is_made_smaller_and_a_missing_one_is_none(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 900, 3), np.uint8)).save(tmp_path / "a.png")
    found = large(tmp_path / "a.png")
    assert found is not None
    assert found.pixels == opened(found.url).size == (LARGE_PIXELS, 347)
    assert large(tmp_path / "b.png") is None


def test_pictures_of_many_trials_are_smaller_and_stop_at_the_budget(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    paths = [(trial, tmp_path / "a.png") for trial in range(5)]
    sizes = {count: opened(small(paths[:1], count, 10**6)[0]).width for count in (10, 200, 5000)}
    assert sizes == {10: 256, 200: 192, 5000: 128}
    one = len(small(paths[:1], 5000, 10**6)[0])
    assert list(small(paths, 5000, 3 * one)) == [0, 1, 2]
    assert small(paths, 5000, 0) == {}


def test_a_typical_failure_is_in_the_middle_of_those_like_it(tmp_path):
    scores = {1: 5.0, 2: 9.0, 3: 7.0, 4: float("nan")}
    rows = [row(trial, 0, score, Outcome.COLLAPSED, signs="") for trial, score in scores.items()]
    rows += [row(5, 0, 1.0, Outcome.COMPLETED, signs="low_coverage oscillation")]
    rows += [row(6, 0, 2.0, Outcome.COMPLETED, signs="low_coverage"), row(7, 0, 3.0, Outcome.DIVERGED, signs="")]
    found = failures(ResultsTable.load(stored(tmp_path, rows)))
    assert found == [(7, "diverged"), (3, "collapsed"), (6, "low coverage"), (5, "oscillation")]
