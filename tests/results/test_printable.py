"""Text from files is printed without characters that would move the cursor or change colours."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from curve_array import curve_spec
from PIL import Image
from table_rows import row, stored
from tiny_runs import TINY, settings

from gan_core.config.input_error import shown
from results.printable import printable, printable_lines
from results.store import RunFolder
from sweep.runners.progress import ProgressDisplay

COLOURED = "\x1b[31m\x07"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 8x8, déjà vu 数字", "plain 8x8, déjà vu 数字"),
        (COLOURED, r"\x1b[31m\x07"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\u202egnp", r"\u202egnp"),
        ("\x9b2J\ud800\u2028", r"\x9b2J\ud800\u2028"),
    ],
)
def test_what_is_printed_is_printable(text, shown):
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_line_ends_of_our_own_stay():
    assert printable_lines("a\x1b\nb") == "a\\x1b\nb"


def test_a_quoted_value_is_printable():
    assert shown(COLOURED) == repr(COLOURED)
    assert shown({COLOURED: [COLOURED]}).isprintable()


def test_texts_of_rows_and_names_reach_the_terminal_printable(gan_sweep, tmp_path):
    texts: dict[str, Any] = dict.fromkeys(
        ("reason", "signs", "protocol", "data_digest", "device", "objective"), COLOURED
    )
    texts |= {"structure.dataset": COLOURED, f"fidelity.{COLOURED}": 1.0}
    rows = [row(trial, 0, 1.0 + trial, **{**texts, f"lane.{COLOURED}": trial}) for trial in range(2)]
    stored(tmp_path / COLOURED, rows)
    spec = RunFolder(tmp_path / COLOURED / "run").spec
    spec.write_text(json.dumps({"name": COLOURED, "ladder": {"rungs_images": [100]}}))
    for arguments in (["results", spec.parent], ["export", spec.parent, "-o", "x.yaml"], ["export", "none" + COLOURED]):
        answer = gan_sweep(*arguments)
        assert printable(r"\x1b[31m\x07") in answer.out + answer.err
        assert printable_lines(answer.out + answer.err) == answer.out + answer.err
    assert Path("x.yaml").read_text().splitlines()[0].count(r"\x1b") == 2


def test_what_those_who_watch_are_told_is_printable(capsys):
    with ProgressDisplay(curve_spec().ladder, COLOURED, []) as watch:
        watch.say(f"went wrong: {COLOURED}")
        watch.now(COLOURED)
    assert capsys.readouterr().out == "went wrong: \\x1b[31m\\x07\n[0:00] \\x1b[31m\\x07\n"


def test_names_of_folders_and_files_are_printable(gan_sweep):
    folder = Path("pictures") / COLOURED
    folder.mkdir(parents=True)
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (60, 8, 8)).astype(np.uint8)):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / f"{COLOURED}.png").write_text("no picture")
    answer = gan_sweep("data", "images:pictures")
    assert answer.code == 2
    assert r"\x1b[31m\x07" in answer.out
    assert printable_lines(answer.out + answer.err) == answer.out + answer.err


def test_a_runs_name_with_a_colour_does_not_colour_what_is_said_of_it(gan_sweep, digits_run):
    shutil.copytree(digits_run, COLOURED)
    answer = gan_sweep("run", "--local", "--out", COLOURED, *settings(*TINY))
    assert answer.code == 0
    assert "is finished" in answer.out
    new = gan_sweep("run", "--local", "--out", f"{COLOURED} 2", *settings(*TINY))
    assert "next: gan-sweep export" in new.out
    assert "\x1b" not in answer.out + answer.err + new.out + new.err
