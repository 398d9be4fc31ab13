"""The results of a sweep: its checked rows, its trials, and what can be learnt from them, `ResultsTable`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from results.trial_table import TrialTable

if TYPE_CHECKING:
    import pandas as pd


class ResultsTable(TrialTable):
    """The table of a run and its analyses, each a tidy DataFrame with one row per thing it is about. `results.plots`
    has a figure for each of them, by the same name and with the same arguments.
    """

    def pareto(self) -> "pd.DataFrame":
        """The trials of a search with several objectives: one row per trial, in the order of `trials`.

        Columns: trial; outcome; the objectives with their own values, at the trial's best rung by the first objective
        (`seconds` in total); pareto_rank, missing where a trial is dead or has no score; front, whether no other trial
        is better in all of them (`pareto_rank` 1); images_trained. Raises ResultsError if the run has one objective.
        """
        from results.analysis import fronts

        return fronts.pareto(self)

    def hypervolume(self, reference: "Mapping[str, float] | None" = None) -> "pd.DataFrame":
        """How the Pareto front came forward: the hypervolume that trials dominate, once each trial had its last row.

        reference: objective -> the worst value that counts; a trial that is worse in any objective adds nothing. By
        default it lies beyond the worst values on the final front by a tenth of the front's extent (by a tenth of the
        extent of all trials, or by 0.1, where the front has none), so that both ends of the front count. Volumes of two
        runs can be compared only with one reference for both.

        Columns: trials, how many had ended or have their last row here; trial, the last of them; elapsed_seconds, wall
        time since the sweep began; device_seconds and images, what the search had cost by then; hypervolume, in the
        product of the objectives' units; `reference.NAME`, the reference in each objective. Raises ResultsError if the
        run has one objective, and for a reference without a finite value of each.
        """
        from results.analysis import fronts

        return fronts.hypervolume(self, reference)
