"""What all figures share: Plotly, loaded only when a figure is made, their colours, and how a figure is written."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from results.output import output
from results.printable import printable
from results.store import ResultsError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BEST, OTHER, DEAD, BASELINE = "#0072b2", "#999999", "#d55e00", "#009e73"  # of the palette of Okabe and Ito (2008)
COLOURS = (BEST, "#e69f00", BASELINE, "#cc79a7", "#56b4e9", DEAD, "#f0e442")
LOG_ABOVE = 100.0  # the ratio of the largest to the smallest number from which an axis is logarithmic
PICTURES = (".png", ".svg", ".pdf")  # which plotly writes with kaleido


def graph_objects() -> Any:
    """The module `plotly.graph_objects`. Raises ResultsError where plotly is not installed."""
    try:
        from plotly import graph_objects
    except ImportError as error:
        raise ResultsError("figures need plotly: pip install 'gan-sweep[report]'") from error
    return graph_objects


def as_text(name: object) -> str:
    """A name as a figure shows it: on one line, and with nothing in it that Plotly would take for a tag."""
    return escape(printable(name), quote=False)


def plotly_script() -> str:
    """Plotly's own script, which draws figures in a browser. Raises ResultsError where plotly is not installed."""
    graph_objects()
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def figure(title: str, x: str = "", y: str = "", **layout: Any) -> "Figure":
    """An empty figure with a title and named axes, in the style that all have. layout: further keys of its layout."""
    made = graph_objects().Figure()
    made.update_layout(
        title={"text": title},
        xaxis={"title": {"text": x}},
        yaxis={"title": {"text": y}},
        template="plotly_white",
        colorway=COLOURS,
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        hoverlabel={"align": "left"},
        **layout,
    )
    return made


def axis_type(values: Any) -> str:
    """The scale on which numbers are drawn: "log" where all that are finite are above 0 and span two decades."""
    numbers = np.asarray(values, float)
    numbers = numbers[np.isfinite(numbers)]
    spans = len(numbers) > 0 and numbers.min() > 0 and numbers.max() >= LOG_ABOVE * numbers.min()
    return "log" if spans else "linear"


def save(made: "Figure", path: str | Path) -> None:
    """Writes a figure as HTML that needs no network, or as .png, .svg or .pdf, for which kaleido must be installed.

    Raises ResultsError for another ending, where kaleido is missing, and if the file cannot be written.
    """
    path = Path(path).expanduser()
    ending = path.suffix.lower()
    if ending == ".html":
        content = made.to_html(include_plotlyjs=True).encode()
    elif ending in PICTURES:
        content = _picture(made, ending[1:])
    else:
        raise ResultsError(f"a figure is written as .html, {', '.join(PICTURES)}, got {path.name!r}")
    with output(path) as file:
        file.write(content)


def _picture(made: "Figure", kind: str) -> bytes:
    try:
        return made.to_image(kind)
    except (ImportError, ValueError, RuntimeError) as error:  # kaleido is missing, or finds no browser
        reason = str(error).strip().partition("\n")[0]
        raise ResultsError(
            f"a .{kind} needs kaleido and a Chrome (pip install kaleido), or write .html: {reason}"
        ) from error
