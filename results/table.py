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

    def replicates(self) -> "pd.DataFrame":
        """The trainings of finalists from other seeds: one row per replicate, those of the winner first, then in the
        order of `confirmed`. Empty for a search that was not confirmed.

        Columns: trial, replicate; value, the lowest value of the first objective that it reached (the highest if more
        is better), infinitely bad if it failed, and missing before its first score; outcome and reason of its last row;
        images_seen, in all; seconds, of training and scoring; failed, whether it died or ended without a score.
        """
        from results.analysis import across_seeds

        return across_seeds.replicates(self)

    def finalists(self) -> "pd.DataFrame":
        """What their replicates say of the finalists: the rows and columns of `confirmed`, the winner first, and more
        columns, in which failed replicates count as worse than all others too. Empty for a search without confirmation.

        interquartile_mean: the mean of the middle half of the replicates, which Agarwal et al. (2021, "Deep
        reinforcement learning at the edge of the statistical precipice") recommend for few seeds; with five seeds, of
        three. low, high: its 95% interval by the percentile bootstrap (9,999 resamples, with a fixed seed), missing for
        one seed; with so few seeds it is rather too narrow. probability_of_improvement: that a replicate of the winner
        is better than one of this finalist, equal ones counting half (Mann and Whitney's statistic as a share of all
        pairs). chance_of_order: the p value of the exact test of `results.confirmation.chance_of_order` of the winner
        against this finalist; with several finalists, several tests are made. Both are missing for the winner.
        """
        from results.analysis import across_seeds

        return across_seeds.finalists(self)
