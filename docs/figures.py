"""Draws the figures of the page "Analysing a sweep" from a run: `python docs/figures.py RUN` writes them below
`docs/pictures/analysis`. It needs kaleido and a Chrome.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # a checkout need not be installed

from results import plots
from results.table import ResultsTable

PLACE = Path(__file__).parent / "pictures" / "analysis"
WIDTH_PIXELS, HEIGHT_PIXELS = 900, 420


def main(run: str) -> None:
    """Draws every figure that the page shows."""
    table = ResultsTable.load(run)
    first, second = table.importance()["parameter"].head(2)
    figures = {
        "history": plots.history(table),
        "curves": plots.curves(table, "d_loss"),
        "fidelity": plots.curves(table, "score"),
        "importance": plots.importance(table, "both"),
        "parallel": plots.parallel(table),
        "slices": plots.slices(table),
        "contour": plots.contour(table, first, second),
        "rank": plots.rank(table, [first, second]),
        "expected_best": plots.expected_best(table),
        "replicates": plots.replicates(table),
        "outcomes": plots.outcomes(table),
        "signs": plots.signs_before_death(table),
        "cost": plots.cost(table),
        "savings": plots.savings(table),
        "timeline": plots.timeline(table),
    }
    PLACE.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.update_layout(width=WIDTH_PIXELS, height=max(HEIGHT_PIXELS, figure.layout.height or 0))
        plots.save(figure, PLACE / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1])
