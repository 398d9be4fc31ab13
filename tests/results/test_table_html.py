"""What a notebook shows of a table is what a person decides by, and no text of a run becomes markup."""

import math
from html.parser import HTMLParser

from table_rows import row, stored

from results.rows import Outcome
from results.table import ResultsTable
from results.table_html import MOST_TRIALS, NO_ANALYSES

EVIL = '<script>alert("1")</script>\x1b[31m\n'


class Page(HTMLParser):
    """The tags and the text of a page, and the cells of its table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.text, self.rows = set[str](), "", list[list[str]]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def table(path, *rows) -> ResultsTable:
    return ResultsTable.load(stored(path, list(rows)))


def test_the_best_trials_stand_first_with_a_line_about_the_run_and_what_it_can_be_asked(tmp_path):
    found = table(tmp_path, *(row(trial, 0, 20.0 - trial, Outcome.COMPLETED) for trial in range(12)))
    page = Page(found._repr_html_())
    assert page.tags == {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert f"{tmp_path / 'run'}: 12 trials (12 completed), by fidelity (lower is better)" in page.text
    assert "best: trial 11, fidelity 9; the defaults (trial 0): 20" in page.text
    assert "2 more trials and all columns: .trials, .frame (each rung), .select(where=...)." in page.text
    head, *rows = page.rows
    assert head[:5] == ["trial", "outcome", "images_seen", "fidelity", "fid"]
    assert [int(cells[0]) for cells in rows] == list(range(11, 11 - MOST_TRIALS, -1))


def test_texts_of_a_run_stay_text(tmp_path):
    rows = [row(t, 0, 1.0, Outcome.COMPLETED, **{"lane.loss": f"{EVIL}{t}", "signs": EVIL}) for t in range(2)]
    rows = [{**each, "objective": "-" + EVIL, f"fidelity.{EVIL}": 1.0} for each in rows]
    found = table(tmp_path / EVIL.strip().replace("/", ""), *rows)
    page = Page(found._repr_html_())
    assert page.tags == {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert "<script>" in page.text
    assert "\x1b" not in page.text


def test_a_run_without_a_score_says_so(tmp_path):
    page = Page(table(tmp_path, row(0, 0, math.nan, Outcome.DIVERGED))._repr_html_())
    assert "1 trial (1 diverged), by fidelity (lower is better); none has a score" in page.text


def test_every_analysis_of_the_table_is_named(tmp_path):
    page = Page(table(tmp_path, row(0, 0, 1.0))._repr_html_())
    public = [name for name in vars(ResultsTable) if not name.startswith("_")]
    assert set(NO_ANALYSES) <= set(public)
    assert [name for name in public if name not in NO_ANALYSES and f"{name}()" not in page.text] == []
