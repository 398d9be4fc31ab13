"""A report in a real Chromium: what is seen, and what is not done."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evil_runs import EVIL, made_run
from table_rows import row, stored

from results.printable import printable
from results.report.page import report
from results.report.runs import ReportedRun
from results.store import JsonLines, RunFolder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with 30 trials, two finalists and pictures."""
    folder = tmp_path_factory.mktemp("evil")
    path = folder / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("results.analysis.importance.MOST_PERMUTATIONS", 2)  # 50 take seconds
        path.write_bytes(report([ReportedRun.load(made_run(folder, confirmed=True))]))
    return path


class Opened:
    """A page with what it asked for and complained of."""

    def __init__(self, browser: Any, file: Path) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.page, self.asked, self.said = self.context.new_page(), list[str](), list[str]()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-drawn]", timeout=60_000)

    @property
    def requests(self) -> list[str]:
        """What was asked for besides the file itself; data in the page are asked for without a request."""
        return [url for url in self.asked[1:] if not url.startswith(("data:", "blob:"))]

    def shown_trials(self) -> list[int]:
        return [int(text) for text in self.page.locator("tbody tr[data-trial] button").all_text_contents()]


@pytest.fixture(scope="module")
def opened(browser: Any, file: Path) -> Iterator[Opened]:
    found = Opened(browser, file)
    yield found
    found.context.close()


def test_it_asks_for_nothing_and_complains_of_nothing(opened):
    assert opened.asked[0].startswith("file:")
    assert (opened.requests, opened.said) == ([], [])
    assert opened.page.evaluate("document.querySelectorAll('.drawing svg.main-svg').length") > 0


def test_texts_of_the_run_stay_text(opened):
    assert opened.page.evaluate("window.evil") is None
    assert opened.page.locator("img[src='x']").count() == 0
    reason = opened.page.locator("td.reason").first.text_content()
    assert reason == printable(EVIL)
    assert "<script>window.evil=1</script>" in opened.page.locator("h1").text_content()


def test_a_script_that_got_into_the_page_would_not_run(opened):
    opened.page.evaluate(
        "document.head.append(Object.assign(document.createElement('script'), {textContent: 'window.evil = 2'}))"
    )
    assert opened.page.evaluate("window.evil") is None
    assert "Content Security Policy" in opened.said.pop()


def test_a_column_sorts_both_ways_and_what_is_missing_comes_last(opened):
    button = opened.page.locator("thead button", has_text="trial")
    button.click()
    assert opened.shown_trials() == list(range(30))
    button.click()
    assert opened.shown_trials() == list(range(29, -1, -1))
    assert opened.page.locator("th[aria-sort=descending]").count() == 1


def test_a_brush_keeps_the_trials_that_pass_it_and_a_click_lets_go(opened):
    page = opened.page
    axis = page.locator("g[data-axis='lane.generator_lr'] .catch")
    axis.scroll_into_view_if_needed()
    box, at = axis.bounding_box(), lambda share: box["y"] + 6 + share * (box["height"] - 18 - 6) / 1.09
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, at(-0.01))
    page.mouse.down()
    page.mouse.move(x, at(0.2), steps=4)
    page.mouse.move(x, at(0.355), steps=4)
    page.mouse.up()
    kept = set(opened.shown_trials())
    assert kept == set(range(19, 30))  # the upper third of the logarithmic axis, where 10^(-4 + t / 20) lies
    assert page.locator("output").first.text_content() == f"{len(kept)} of 30 trials"
    page.mouse.click(x, at(0.9))
    assert len(opened.shown_trials()) == 30


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("diverged", {3}),
        ("generator_lr >= 0.00251, beta1 = 0", {28}),
        ("trial < 2", {0, 1}),
        ("nothing of this", set()),
    ],
)
def test_what_is_typed_filters_the_table(opened, typed, kept):
    opened.page.fill("input", typed)
    assert set(opened.shown_trials()) == kept
    opened.page.locator("button[data-clear]").last.click()
    assert len(opened.shown_trials()) == 30


def test_a_trial_shows_its_picture_under_the_pointer_by_keyboard_and_by_touch(opened):
    page, picture = opened.page, opened.page.locator("#glance img")
    page.locator("tr[data-trial='7'] td").first.hover()
    assert picture.get_attribute("alt") == "samples of trial 7"
    assert page.evaluate("document.querySelector('#glance img').naturalWidth") > 0
    page.keyboard.press("Escape")
    assert not page.locator("#glance").is_visible()
    page.locator("tr[data-trial='8'] button").focus()
    assert picture.get_attribute("alt") == "samples of trial 8"
    page.locator("tr[data-trial='9'] button").click()
    assert picture.get_attribute("alt") == "samples of trial 9"


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(opened, width, scheme):
    opened.page.emulate_media(color_scheme=scheme)
    opened.page.set_viewport_size({"width": width, "height": 900})
    opened.page.wait_for_timeout(500)  # figures are drawn again a moment after the width has changed
    drawing = opened.page.evaluate("document.querySelector('.drawing svg.main-svg').clientWidth")
    assert width - 100 <= drawing + (width > 1120) * 160 <= width
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    paper = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) > 384) == (scheme == "light")
    assert (opened.requests, opened.said) == ([], [])


def test_it_prints_on_a_few_pages(opened):
    printed = opened.page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert 2 <= printed.count(b"/Type /Page\n") <= 20
    assert (opened.requests, opened.said) == ([], [])


def test_a_page_that_is_written_again_loads_itself_and_keeps_what_was_typed(browser, tmp_path):
    file, rows = tmp_path / "report.html", [row(0, 0, 3.0), row(1, 0, 2.0)]
    run = stored(tmp_path, rows)
    file.write_bytes(report([ReportedRun.load(run)], renewed_seconds=2))
    found = Opened(browser, file)
    found.page.fill("input", "trial > 0")
    assert found.shown_trials() == [1]
    JsonLines(RunFolder(run).rows).append([row(2, 0, 1.0)])
    file.write_bytes(report([ReportedRun.load(run)]))
    found.page.wait_for_selector("tr[data-trial='2']", timeout=20_000)
    assert found.page.input_value("input") == "trial > 0"
    assert found.shown_trials() == [2, 1]
    assert found.said == []
    assert {url for url in found.asked if not url.startswith(("data:", "blob:"))} == {file.as_uri()}
    found.context.close()


def test_without_scripts_the_verdict_and_the_samples_are_there(browser, file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator(".verdict").text_content().startswith("Trial 20 is the best")
    assert page.locator(".samples img").count() >= 3
    context.close()
