"""Figures of scores over hyperparameters: Optuna's own, over a study made of the rows, with the trials that died."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from results.analysis import drawn
from results.analysis.drawn import Parameter, chosen
from results.analysis.rung_rows import died, is_scored, places, rows_at
from results.analysis.search_study import broken_limits, frozen_trials, study_of
from results.limits import violations
from results.objectives import directed, higher_is_better
from results.plots.style import DEAD, as_text, axis_type, figure, graph_objects
from results.store import ResultsError
from results.table import ResultsTable, Rung

if TYPE_CHECKING:
    from optuna import Study
    from plotly.graph_objects import Figure

MOST_TRIALS = 2_000  # that are drawn; a browser is slow with more points
MOST_OF_CONTOUR = 300  # Optuna's contour has a cell for each pair of values
MOST_IN_RANKS = 500  # each in a panel for each pair of parameters
MOST_RANKED = 4  # parameters of which each pair has a panel
PANELS_ABREAST, PANEL_PIXELS = 3, 280
AMONG_RANKS = "black"  # of trials that died, where colours are ranks
BREAKING = "#cccccc"  # trials that break limits where others keep them, in Optuna's grey
BEYOND = 0.08  # of the scores' span, by which dead trials are drawn beyond the worst one


@dataclass(frozen=True)
class _Landscape:
    """study: of the trials with a score that are drawn. scores: theirs, not negated. dead: the parameters with their
    values in the trials that died. numbers: of these trials. drawn, died: in words, how many trials are
    drawn, and how many crosses.
    """

    study: "Study"
    scores: np.ndarray
    dead: list[Parameter]
    numbers: np.ndarray
    drawn: str
    died: str


def slices(table: ResultsTable, parameters: Sequence[str] | None = None, rung: Rung = None) -> "Figure":
    """Draws `ResultsTable.slices`: a panel for each parameter, with later trials darker, and trials that died as orange
    crosses beyond the worst score. Raises ResultsError as it does, if no trial has a score, and if nothing was drawn.
    """
    land = _landscape(table, parameters, rung)
    label = as_text(directed([table.objective]))
    made = figure(f"{label} of {land.drawn}{land.died}", showlegend=False)
    rows, abreast = ceil(len(land.dead) / PANELS_ABREAST), min(PANELS_ABREAST, len(land.dead))
    made.set_subplots(rows=rows, cols=abreast, shared_yaxes=True, vertical_spacing=0.3 / rows)
    for place, parameter in enumerate(land.dead):
        _add_slice(made, land, parameter, table, {"row": place // abreast + 1, "col": place % abreast + 1})
    made.update_yaxes(type=axis_type(land.scores), exponentformat="power")
    made.update_xaxes(exponentformat="power", selector={"type": "log"})
    made.update_yaxes(title_text=label, col=1)
    made.update_layout(height=PANEL_PIXELS * rows + 80)
    return made


def contour(table: ResultsTable, a: str, b: str, rung: Rung = None) -> "Figure":
    """Draws `ResultsTable.contour`: the score over two parameters, interpolated between trials, or its logarithm where
    scores span two decades; trials that died are orange crosses. Raises ResultsError as it does, and if fewer than two
    trials with different values of both have a score.
    """
    from optuna.visualization import plot_contour

    table.contour(a, b, rung)  # which says what is wrong with the names
    land = _landscape(table, [a, b], rung, most=MOST_OF_CONTOUR, is_pair=True)
    for parameter, place in zip(land.dead, ("a", "b"), strict=True):
        if len({trial.params[place] for trial in land.study.get_trials(deepcopy=False) if trial.params}) < 2:
            raise ResultsError(f"all {land.drawn} have the same {parameter.name}; choose one that differs")
    label = as_text(directed([table.objective]))
    label = f"log10 of {label}" if axis_type(land.scores) == "log" else label
    made: Any = plot_contour(land.study, params=["a", "b"], target_name=label)
    _restyle(made, f"{label} of {land.drawn}{land.died}")
    names = [parameter.name for parameter in land.dead]
    made.update_xaxes(title_text=names[0])
    made.update_yaxes(title_text=names[1])
    made.add_trace(_crosses_over(land, 0, 1))
    return made


def rank(table: ResultsTable, parameters: Sequence[str] | None = None, rung: Rung = None) -> "Figure":
    """Draws `ResultsTable.rank`: a panel for each pair of parameters, where a point is a trial, blue for the best and
    red for the worst ranks, and a black cross one that died. Without names, for the four most important parameters.
    Raises ResultsError as it does, if no trial has a score, and for fewer than two parameters.
    """
    from optuna.visualization import plot_rank

    land = _landscape(table, parameters or _ranked(table, rung), rung, MOST_IN_RANKS)
    names = [parameter.name for parameter in land.dead]
    if len(names) < 2:
        raise ResultsError(f"rank needs at least two hyperparameters that differ, got {', '.join(names) or 'none'}")
    label = as_text(directed([table.objective]))
    made: Any = plot_rank(land.study, params=names, target_name=label)
    _restyle(made, f"Rank of {land.drawn} by {label}{land.died}")
    if len(names) == 2:
        made.add_trace(_crosses_over(land, 0, 1, AMONG_RANKS))
        return made
    for x in range(len(names)):
        for y in range(len(names)):
            if x != y:
                made.add_trace(_crosses_over(land, x, y, AMONG_RANKS), row=y + 1, col=x + 1)
    made.update_layout(height=PANEL_PIXELS * 0.8 * len(names))
    return made


def _landscape(
    table: ResultsTable,
    names: Sequence[str] | None,
    rung: Rung,
    most: int = MOST_TRIALS,
    is_pair: bool = False,
) -> _Landscape:
    """is_pair: only the trials that have all parameters, which are called `a` and `b` in the study, because Optuna
    sorts them; and with the logarithms of scores that span two decades.
    """
    rows = rows_at(table, rung)
    parameters = [_as_text(parameter) for parameter in chosen(drawn.parameters(table, rows), names)]
    if not parameters:
        raise ResultsError("no hyperparameter differs between the trials of this search")
    has_all = np.all([parameter.exists for parameter in parameters], axis=0)
    scored = np.flatnonzero(is_scored(rows) & (has_all | (not is_pair)))
    if not len(scored):
        raise ResultsError(f"no trial that is not dead has a score there: {table.endings}")
    order = scored[np.argsort(places(table, rows)[scored], kind="stable")]
    kept = np.sort(order[np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int)])
    scores = rows["score"].to_numpy(float)[kept] * (-1.0 if higher_is_better(table.objective) else 1.0)
    values = np.log10(scores) if is_pair and axis_type(scores) == "log" else scores
    shown = [replace(parameter, values=parameter.values[kept]) for parameter in parameters]
    shown = [replace(parameter, name=name) for parameter, name in zip(shown, "ab", strict=True)] if is_pair else shown
    there = rows.iloc[kept]
    is_breaking = violations(there, table.objectives) > 0
    trials = frozen_trials(
        shown,
        ["COMPLETE"] * len(kept),
        values[:, None].tolist(),
        [{}] * len(kept),
        there["outcome"].tolist(),
        broken_limits(table, there) if is_breaking.any() and not is_breaking.all() else None,
    )
    numbers, dead = rows["trial"].to_numpy(), died(rows)
    some = "" if len(kept) == len(order) else f" of {len(order):,}, evenly from the best to the worst"
    return _Landscape(
        study_of(dict(zip(numbers[kept].tolist(), trials, strict=True)), [table.objective]),
        scores,
        [replace(parameter, values=parameter.values[dead]) for parameter in parameters],
        numbers[dead],
        f"{len(kept):,} trials{some}{_breaking(is_breaking)}",
        f"; {dead.sum():,} died (crosses)" if dead.any() else "",
    )


def _as_text(parameter: Parameter) -> Parameter:
    """The parameter with a name and choices that Plotly shows as they are."""
    texts = {choice: as_text(choice) if isinstance(choice, str) else choice for choice in parameter.choices}
    values = np.array([texts.get(value, value) for value in parameter.values.tolist()], object)
    return replace(parameter, name=as_text(parameter.name), choices=tuple(texts.values()), values=values)


def _ranked(table: ResultsTable, rung: Rung) -> list[str]:
    """The most important parameters, or the first ones where importance cannot be told."""
    try:
        names = table.importance("first" if rung is None else rung)["parameter"].tolist()
    except ResultsError:
        names = [parameter.name for parameter in drawn.parameters(table, rows_at(table, rung))]
    return names[:MOST_RANKED]


def _add_slice(made: Any, land: _Landscape, dead: Parameter, table: ResultsTable, panel: dict[str, int]) -> None:
    """Optuna's slice of one parameter, as a panel. dead: its values in the trials that died."""
    from optuna.visualization import plot_slice

    theirs: Any = plot_slice(land.study, params=[dead.name])
    keeping = theirs.data[0]
    keeping.update(marker={"showscale": False}, hovertemplate="trial %{marker.color}: %{x}, %{y:.4g}<extra></extra>")
    made.add_trace(keeping, **panel)
    breaking = [
        trial
        for trial in land.study.get_trials(deepcopy=False)
        if dead.name in trial.params and any(trial.constraints.values())
    ]
    if breaking:  # Optuna 5.0 leaves them out of its slices of categories
        x = [_category(dead, trial.params[dead.name]) for trial in breaking]
        said = {"text": [f"trial {trial.number} breaks limits" for trial in breaking], "hoverinfo": "text+x+y"}
        shared = {"mode": "markers", "marker": {"color": BREAKING}, "name": "breaks limits", **said}
        made.add_trace(graph_objects().Scatter(x=x, y=[trial.value for trial in breaking], **shared), **panel)
    x = [_category(dead, value) for value in dead.values[dead.exists].tolist()]
    y = _beyond(land.scores, higher_is_better(table.objective))
    made.add_trace(_crosses(x, [y] * len(x), land.numbers[dead.exists]), **panel)
    made.update_xaxes(
        {"automargin": False, **theirs.layout.xaxis.to_plotly_json(), "title": {"text": dead.name}}, **panel
    )


def _category(parameter: Parameter, value: Any) -> Any:
    """A value as it stands on the axis of Optuna's slice."""
    return repr(value) if parameter.choices else value


def _breaking(is_breaking: np.ndarray) -> str:
    if is_breaking.all():
        return ", all of which break limits"
    return f", {is_breaking.sum():,} of which break limits (grey)" if is_breaking.any() else ""


def _beyond(scores: np.ndarray, higher: bool) -> float:
    """Where trials without a score are drawn: a little beyond the worst score."""
    shown = np.log10(scores) if axis_type(scores) == "log" else scores
    span = shown.max() - shown.min() or 1.0
    place = shown.min() - BEYOND * span if higher else shown.max() + BEYOND * span
    return float(10**place if axis_type(scores) == "log" else place)


def _crosses_over(land: _Landscape, x: int, y: int, colour: str = DEAD) -> Any:
    """The trials that died, over the parameters of these places. Categories of texts are texts in Optuna's figures."""
    first, second = land.dead[x], land.dead[y]
    both = first.exists & second.exists
    points = [
        [str(v) if isinstance(v, str | bool) else v for v in each.values[both].tolist()] for each in (first, second)
    ]
    return _crosses(points[0], points[1], land.numbers[both], colour)


def _crosses(x: list[Any], y: list[Any], numbers: np.ndarray, colour: str = DEAD) -> Any:
    marker = {"color": colour, "symbol": "x", "size": 6, "opacity": 0.7}
    said = {"text": [f"trial {number} died" for number in numbers], "hoverinfo": "text"}
    return graph_objects().Scatter(x=x, y=y, mode="markers", marker=marker, name="died", showlegend=False, **said)


def _restyle(made: "Figure", title: str) -> None:
    """Gives a figure of Optuna the style of all."""
    style: Any = figure(title).layout
    made.update_layout(title=style.title, template=style.template, margin=style.margin, hoverlabel=style.hoverlabel)
    made.update_xaxes(exponentformat="power", selector={"type": "log"})
    made.update_yaxes(exponentformat="power", selector={"type": "log"})
