"""The parts of the page that are figures: which there are, what a reader should know of each, and in which order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gan_core.config.arguments import PREFIXES
from results import plots
from results.report.figures import Drawn, drawn, pairs, panels
from results.rows import MADE_BY, short
from results.store import ResultsError
from results.table import ResultsTable
from results.trial_columns import REPORTED

MOST_SLICES = 5
MOST_REPORTED = 6  # curves of what a person's own training reports
MOST_CURVES_BYTES = 20_000_000
UNWATCHED = (*PREFIXES, "proposed.")  # so begin columns of what was drawn
CURVES = {
    "score": "The score at each rung",
    "d_loss": "Loss of the discriminator",
    "g_loss": "Loss of the generator",
    "health.g_gradient": "Gradient of the generator",
}


@dataclass(frozen=True)
class Section:
    """key: its name in the page. title, lead: what it is about. figures: in their order. grid: how they stand, `one`
    below the other, in a `pair`, or `several` small ones side by side.
    """

    key: str
    title: str
    lead: str
    figures: list[Drawn] = field(default_factory=list)
    grid: str = "one"


def important(table: ResultsTable) -> list[str]:
    """The parameters that were drawn, the most important first; none where importance cannot be told."""
    try:
        return table.importance()["parameter"].tolist()
    except ResultsError:
        return []


def sections(table: ResultsTable, ranked: Sequence[str], key: str) -> list[Section]:
    """The sections of a run that are figures, but for parallel coordinates. ranked: the parameters that matter
    most. key: what the names of its figures begin with.
    """

    def one(name: str, title: str, *given: Any, of: ResultsTable = table, note: str = "") -> Drawn:
        names = "-".join([key, "figure", name, *(text for text in given if isinstance(text, str))])
        return drawn(names, title, lambda: getattr(plots, name)(of, *given), note)

    return [*_of_the_search(table, one), *_of_trials(table, ranked, one), *_of_finalists_and_cost(one)]


def _of_the_search(table: ResultsTable, one: Callable[..., Drawn]) -> list[Section]:
    """How it went."""
    found = [
        Section(
            "history",
            "History",
            "The best score so far, and what it had cost by then.",
            [one("history", "The best score so far"), _expected(table, one)],
        )
    ]
    if len(table.objectives) > 1:
        lead = "Trials on the front are those that no other trial beats in every objective."
        figures = [*_fronts(one), one("hypervolume", "How the front came forward")]
        found.append(Section("objectives", "Several objectives", lead, figures, "pair"))
    return found


def drawn_curves(table: ResultsTable) -> dict[str, str]:
    """The metrics whose curves are drawn, with their titles: those of CURVES, and what a person's own training reports,
    as far as there is a value of them. The score is drawn in any case.
    """
    reported = [name for name in table.frame.columns if name.startswith(REPORTED)][:MOST_REPORTED]
    known = {**CURVES, **{name: f"{short(name)}, as reported" for name in reported}}
    there = table.frame.notna().any()
    return {metric: title for metric, title in known.items() if metric == "score" or there.get(metric, False)}


def _of_trials(table: ResultsTable, ranked: Sequence[str], one: Callable[..., Drawn]) -> list[Section]:
    """How trials went, and what decided it."""
    light, at_rungs = _lighter(table)
    curves = list(drawn_curves(table).items())
    rungs = table.frame.loc[table.frame["replicate"] == 0, "rung"].nunique()
    ends = ("first", "last") if rungs > 1 else ("first",)
    return [
        Section(
            "curves",
            "Curves",
            "Each line is a trial, from its first image to its last; the best ones are highlighted.",
            [one("curves", title, metric, of=light, note=at_rungs) for metric, title in curves],
            "pair",
        ),
        Section(
            "importance",
            "Importance",
            "Which hyperparameters decide whether a trial is among the best. A bar within the noise says nothing. At "
            "the first rung all trials count, at the last only those that were not pruned.",
            [_own_title(one("importance", f"At the {end} rung.", end)) for end in ends],
            "pair",
        ),
        Section(
            "slices",
            "Slices",
            "The score over each of the hyperparameters that matter most. Stronger points are later trials; orange "
            "crosses are trials that died, drawn beyond the worst score.",
            _slices(one, ranked[:MOST_SLICES]),
            "several",
        ),
        Section(
            "outcomes",
            "Outcomes and signs",
            "How trials ended and where, and which signs of trouble came before.",
            [_outcomes(table, one), one("signs_before_death", "What came before", of=light, note=at_rungs)],
        ),
    ]


def _of_finalists_and_cost(one: Callable[..., Drawn]) -> list[Section]:
    """What other seeds say, and where the time went."""
    return [
        Section(
            "finalists",
            "Finalists",
            "The best trials of the search, trained again from other seeds: how much of their rank was luck.",
            [one("replicates", "Finalists from other seeds")],
        ),
        Section(
            "cost",
            "Cost",
            "Where the device time went, what pruning saved of it, and which cohort was trained where.",
            [
                one("cost", "Where the time went"),
                one("savings", "What pruning saved"),
                one("timeline", "Cohorts in time"),
            ],
        ),
    ]


def _fronts(one: Callable[..., Drawn]) -> list[Drawn]:
    """The Pareto front; of more than two objectives, a figure for each pair of them."""
    made = one("pareto", "The Pareto front")
    if made.missing or made.plain["data"][0]["type"] != "splom":
        return [made]
    return [replace(made, key=f"{made.key}-{n}", plain=pair) for n, pair in enumerate(pairs(made.plain))]


def _expected(table: ResultsTable, one: Callable[..., Drawn]) -> Drawn:
    """What a budget buys, where trials are independent; elsewhere it would be the figure of the history once more."""
    made = one("expected_best", "What a budget buys")
    if made.missing or table.expected_best()["kind"].iloc[0] != "best so far":
        return made
    said = "The trials of this search depend on each other, so it is not known what another number of them would reach."
    return replace(made, title=made.name, missing=said, plain={})


def _slices(one: Callable[..., Drawn], names: Sequence[str]) -> list[Drawn]:
    """The panels of one figure, each as a figure of its own, which fits a phone."""
    made = one("slices", "All hyperparameters", list(names) or None)
    if made.missing:
        return [made]
    found = panels(made.plain)
    for panel in found:
        for trace in panel["data"]:  # a scale of colours for each panel would take most of it
            trace["marker"] = {**trace.get("marker", {}), "showscale": False}
    titles = [panel["layout"]["xaxis"].pop("title")["text"] for panel in found]
    pairs = enumerate(zip(titles, found, strict=True))
    return [replace(made, key=f"{made.key}-{n}", title=title, note="", plain=panel) for n, (title, panel) in pairs]


def _own_title(made: Drawn) -> Drawn:
    """A figure under the name that the page gives it, with its own title as a note."""
    return made if made.missing else replace(made, title=made.name, note=f"{made.title} {made.note}".strip())


def _outcomes(table: ResultsTable, one: Callable[..., Drawn]) -> Drawn:
    """How trials ended, region by region; where all ended alike, a sentence instead."""
    outcomes = table.trials["outcome"].tolist()
    if len(set(outcomes)) > 1:
        return one("outcomes", "How trials ended")
    said = f"All {len(outcomes):,} trials are {str(outcomes[0]).replace('_', ' ')}, whatever their configuration."
    return Drawn("", "How trials ended", "How trials ended", missing=said)


def _lighter(table: ResultsTable) -> tuple[ResultsTable, str]:
    """The table of a run whose curves can be read in time; of a larger one, only what curves and signs need, without
    its folder, which leaves the points at rungs alone, and a note that says so.
    """
    curves = table.folder.curves if table.folder else None
    if curves is None or not curves.is_file() or curves.stat().st_size <= MOST_CURVES_BYTES:
        return table, ""
    kept = [name for name in table.frame.columns if not name.startswith(UNWATCHED) and name not in MADE_BY]
    note = "At rungs alone, because this run has so many points between them."
    return replace(table, folder=None, frame=table.frame[kept]), note
