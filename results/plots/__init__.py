"""Figures of a run (Plotly), one function for each analysis of `ResultsTable`, by the same name and with the same
arguments: `results.plots.curves(table, "score")` draws `table.curves("score")`. `save` writes a figure.

Modules are named by what their figures are about, because a module by the name of a function would hide it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from results.plots.across_seeds import replicates
    from results.plots.budgets import expected_best, history
    from results.plots.costs import cost, savings, timeline
    from results.plots.endings import outcomes, signs_before_death
    from results.plots.fronts import hypervolume, pareto
    from results.plots.hyperparameters import importance, parallel
    from results.plots.landscape import contour, rank, slices
    from results.plots.over_images import curves
    from results.plots.style import save

__all__ = [
    "contour",
    "cost",
    "curves",
    "expected_best",
    "history",
    "hypervolume",
    "importance",
    "outcomes",
    "parallel",
    "pareto",
    "rank",
    "replicates",
    "save",
    "savings",
    "signs_before_death",
    "slices",
    "timeline",
]


def __getattr__(name: str) -> Any:
    """A main name, whose module is loaded only now: Plotly and Optuna are loaded where a figure needs them."""
    match name:
        case "replicates":
            from results.plots import across_seeds as home
        case "expected_best" | "history":
            from results.plots import budgets as home
        case "cost" | "savings" | "timeline":
            from results.plots import costs as home
        case "outcomes" | "signs_before_death":
            from results.plots import endings as home
        case "hypervolume" | "pareto":
            from results.plots import fronts as home
        case "importance" | "parallel":
            from results.plots import hyperparameters as home
        case "contour" | "rank" | "slices":
            from results.plots import landscape as home
        case "curves":
            from results.plots import over_images as home
        case "save":
            from results.plots import style as home
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
