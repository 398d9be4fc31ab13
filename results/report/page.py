"""The page: one HTML file that makes no request. Its text is in the file itself, so that it can be read without
scripts; figures, the table and small pictures are data that its script draws.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from results.plots.style import plotly_script
from results.printable import printable_lines
from results.report.compared import compared, distinct_names
from results.report.described import described
from results.report.pictures import small
from results.report.runs import ReportedRun
from results.store import ResultsError

SCRIPTS = ("start.js", "figures.js", "parallel.js", "table.js", "page.js")
MOST_BYTES = 6_000_000  # of a page
FOR_PICTURES = 2_400_000  # characters, at most, of the small pictures of trials
SPARE = 40_000  # characters for what a page has around its data
# No request to anywhere, and no script but the two of these digests, so what a name or a reason in a run holds is never
# run. Plotly sets the styles of elements, and makes what a person saves of a figure from data of the page.
POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
    "form-action 'none'"
)


def report(runs: Sequence[ReportedRun], *, renewed_seconds: int = 0) -> bytes:
    """The page of a run, or of several with their comparison, as HTML in UTF-8 of at most about MOST_BYTES.

    renewed_seconds: how often a browser loads the page again, because its file is written again; 0: never. Raises
    ResultsError where plotly or jinja2 is missing, and where files of a run are damaged.
    """
    template, library = _template(), _library()
    names = distinct_names(runs)
    found = [described(run, name, number) for number, (run, name) in enumerate(zip(runs, names, strict=True))]
    comparison = compared(runs) if len(runs) > 1 else None
    figures = {figure.key: figure.plain for part in found for figure in part.figures}
    figures |= {figure.key: figure.plain for figure in (comparison.figures if comparison else ())}
    figures = {key: plain for key, plain in figures.items() if plain}
    script = "".join(_file(name) for name in SCRIPTS)
    static = sum(part.characters for part in found) + len(script) + (len(library.packed) if figures else 0) + SPARE
    data = {"figures": figures, "runs": [part.data for part in found]}
    left = min(FOR_PICTURES, MOST_BYTES - static - len(_packed(_json(data))))
    for part in found:
        pictures = part.data["pictures"] = small(part.pictured, part.trials, left // len(found))
        if len(pictures) < len(part.pictured):
            part.pictures_note = (
                f"The pictures of {len(pictures):,} of {part.trials:,} trials are in this page, those of the best ones "
                "and of typical failures first; samples/ in the folder of the run has all."
            )
    page = template.render(
        title=" and ".join(names) if len(runs) < 4 else f"{len(runs)} runs",
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        renewed_seconds=renewed_seconds,
        policy=POLICY.format(scripts=f"{_digest(script)} {library.digest}"),
        style=_file("style.css"),
        script=script,
        plotly=library.packed if figures else "",
        data=_packed(_json(data)),
        runs=found,
        comparison=comparison,
    )
    return page.encode()


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def _packed(text: str) -> str:
    """A text compressed and in base64, in which nothing can end the element of a page that holds it."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _digest(script: str) -> str:
    """The source by which a Content-Security-Policy allows this very script, and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@dataclass(frozen=True)
class _Library:
    packed: str
    digest: str


@cache
def _library() -> _Library:
    """Plotly's script, which is 4.8 MB as it is and 2 MB like this. It is compressed once a process."""
    script = plotly_script()
    return _Library(_packed(script), _digest(script))


@cache
def _file(name: str) -> str:
    return resources.files("results.report").joinpath(name).read_text("utf-8")


@cache
def _template() -> Any:
    """Every value in it is escaped, but for those that the template calls safe: the page's style and script."""
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise ResultsError("a report needs jinja2: pip install 'gan-sweep[report]'") from error
    environment = Environment(
        autoescape=True, finalize=_readable, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_file("page.html"))


def _readable(value: Any) -> Any:
    """A text without characters that are no text, before it is escaped; what the template calls safe as it is."""
    return printable_lines(value) if type(value) is str else value
