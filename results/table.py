"""The results of a sweep: its checked rows, its trials, and what can be learnt from them, `ResultsTable`."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from results.trial_table import TrialTable

if TYPE_CHECKING:
    import pandas as pd
    from optuna import Study

Rung = int | Literal["first", "last"] | None


class ResultsTable(TrialTable):
    """The table of a run and its analyses, each a tidy DataFrame with one row per thing it is about. `results.plots`
    has a figure for each of them, by the same name and with the same arguments.

    In all of them: rung is a rung's number from 0, "first" or "last"; None stands for each trial's best rung, with the
    outcome of its last. ResultsError is raised for a rung that no trial reached. Scores are those of the first
    objective and not negated, also where more is better. Dead trials are those that diverged, collapsed, failed or ran
    out of memory. A parameter is what was drawn: the dotted name of a hyperparameter, or its `.ratio` or `.complement`.
    parameters: the names of those that are wanted, in this order; None: all. ResultsError is raised for an unknown one.
    """

    def compare(
        self, *others: TrialTable, score: float | None = None, names: Sequence[str] | None = None
    ) -> "pd.DataFrame":
        """The run beside others: one row for each, this one first. With several objectives, the first counts.

        score: to be reached, for the costs below; by default the worst of the runs' best scores, which each has
        reached. names: of the runs, this one included; by default those of their folders.

        Columns: run; space_differs, the hyperparameters whose ranges or values differ from those of this run, "unknown"
        without a spec (`differences` has the values); trials, and how many of them are dead or break limits
        (limits_broken); best_trial and best, its score, of those that keep the limits; median, of all trials at their
        best rungs, dead ones as the worst; confirmed_trial and confirmed_median, of the winner from other seeds;
        device_seconds and images, what the search cost; score_to_reach, and device_seconds_to_score, images_to_score
        and trials_to_score, what the search had cost when it did (missing if it never did). The last three compare this
        run with that of the row: probability_of_improvement, that a score of this run is better, equal ones counting
        half; chance_of_order, the p value of a two-sided rank sum test, that they differ so clearly by chance; tested,
        which scores: those of the replicates of both confirmed winners (an exact test), or else of all trials at the
        first rung that both ladders have, by their limits first, those that died by then as the worst. The trials of a
        sampler that learns depend on each other, so that the latter is a rough guide.

        Raises ResultsError, which says what differs, for runs with other objectives or another protocol of scores; also
        without another table, for a score that is no number, and for names that are not one for each run.
        """
        from results.analysis import comparison

        return comparison.compare((self, *others), score, names)

    def contour(self, a: str, b: str, rung: Rung = None) -> "pd.DataFrame":
        """The scores over two parameters. One row for each trial that has both: trial, score (NaN if it has none),
        outcome, dead, breaks_limits, and a column for each of the two. Raises ResultsError for a name that was not
        drawn, or twice the same.
        """
        from results.analysis import landscape

        return landscape.contour(self, a, b, rung)

    def cost(self) -> "pd.DataFrame":
        """Where the device-seconds of the run went, confirmations included: one row for each part, in five divisions of
        the whole.

        Columns: by, how the whole is divided: "phase" (search or confirmation), "outcome" (how the training ended),
        "rung" (on the way to it), "structure" (the hyperparameters of structure that differ, in words) or "node"; name,
        of the part; seconds of training and scoring, over all lanes; images shown to discriminators; trials, how many
        have rows in it, where each replicate counts as one; share of the seconds of the run, which add up to 1 in each
        division. The largest part comes first, rungs come in their order.
        """
        from results.analysis import costs

        return costs.cost(self)

    def curves(self, metric: str = "d_loss", by_trial: bool = True) -> "pd.DataFrame":
        """A metric of all trials of the search against the images that were shown to the discriminator: `d_loss`,
        `g_loss`, `score`, or any column `fidelity.…`, `report.…` or `health.…`. Losses and health are means since the
        point before, from the run's curves, which have many points between rungs. Other metrics, and trials without a
        curve, have a point at each rung.

        by_trial: one row for each point of a trial: trial, images_seen, metric, value (NaN where there was none), best
        (whether the trial is among the 5 best), outcome (of the trial) and died (whether it is the last value of a dead
        trial). Otherwise one row for each number of images: images_seen, metric, median, q25 and q75 over trials, and
        trials, of how many: later points have the survivors alone. Raises ResultsError for an unknown metric.
        """
        from results.analysis import curves

        return curves.curves(self, metric, by_trial)

    def differences(self, *others: TrialTable, names: Sequence[str] | None = None) -> "pd.DataFrame":
        """What differs between the specs of this run and of others: one row for each setting that does. Columns:
        setting, a hyperparameter or another key of the spec by its dotted name, and one for each run, with the value or
        the range in words, missing where a spec does not have it. names: as in `compare`, and raised like there.
        """
        from results.analysis import comparison

        return comparison.differences((self, *others), names)

    def expected_best(self, budget: int | None = None) -> "pd.DataFrame":
        """What the best of k trials reaches, for each k up to a budget, which is a number of trials; None: all there
        are. One row for each k, or for at most 200 of them.

        Where trials are independent (the sampler is `random` or `qmc`, without a population), these are k of the drawn
        trials that have ended, and all subsets of k count alike. This is unbiased, whereas subsets with repetition
        (Dodge et al. 2019) are too pessimistic (Tang et al. 2020). For k close to all trials the subsets are nearly the
        same, so that the band closes without reason. A dead trial, and one that breaks limits, counts as infinitely
        bad, a pruned one with its best score. Trial 0 and `enqueue` were not drawn and do not count. That
        pruning depends on the other trials is left aside. Elsewhere it is the best score so far, of this search in its
        order.

        Columns: kind, "best of k random trials" or "best so far"; trials, k; device_seconds and images, what k such
        trials cost on average, or what the first k had cost; best, the median of the best of k, or the best so far; low
        and high, the 5% and 95% quantiles of the best of k, between which nine in ten such searches end; expected, the
        mean of the best of k, infinite if k trials may all be so bad; expected_if_any, the mean over those subsets in
        which one has a score; chance_of_score, their share. Raises ResultsError for a budget that is no number of
        trials or larger than there are, and if no trial that counts has a score.
        """
        from results.analysis import expected_best

        return expected_best.expected_best(self, budget)

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

    def history(self) -> "pd.DataFrame":
        """The search row by row, in the order in which rows were recorded.

        Columns: trial, rung and score of the row; what had been spent by then: trials (how many had a row), images (all
        that were shown to discriminators), device_seconds and elapsed_seconds (wall time); best, the best score so far,
        of trials that are not dead in the end; improved, whether this row made it so; default, the score of trial 0,
        which has the default values of the space (NaN if it has none); finalist, whether this is the best rung of a
        trial that was confirmed, so that it was found here. Rows that break limits come behind those that keep them.
        """
        from results.analysis import history

        return history.history(self)

    def hypervolume(self, reference: Mapping[str, float] | None = None) -> "pd.DataFrame":
        """How the Pareto front came forward: the hypervolume that trials dominate, once each trial had its last row.

        reference: objective -> the worst value that counts; a trial that is worse in any objective, or breaks limits,
        adds nothing. By default it lies beyond the worst values on the final front by a tenth of the front's extent (by
        a tenth of the extent of all trials, or by 0.1, where the front has none), so that both ends of the front count.
        Volumes of two runs can be compared only with one reference for both.

        Columns: trials, how many had ended or have their last row here; trial, the last of them; elapsed_seconds, wall
        time since the sweep began; device_seconds and images, what the search had cost by then; hypervolume, in the
        product of the objectives' units; `reference.NAME`, the reference in each objective. Raises ResultsError if the
        run has one objective, and for a reference without a finite value of each.
        """
        from results.analysis import fronts

        return fronts.hypervolume(self, reference)

    def importance(self, rung: int | Literal["first", "last", "both"] = "first") -> "pd.DataFrame":
        """How much each parameter decides whether a trial is among the best at a rung, by Optuna's PED-ANOVA (Watanabe
        et al. 2023; for conditional parameters arXiv 2601.20800). One row for each parameter and rung, the most
        important first. rung: here also "both", the first (where all trials are) and the last.

        Columns: rung; parameter; importance, its share, which sum to 1; noise, the 95% quantile of its importance where
        scores are shuffled among trials, in the same unit; above_noise, which one in twenty parameters that decide
        nothing is; trials, on which this rests; top_trials, the best of them (a tenth, and at least 5); permutations,
        how often scores were shuffled (50, or down to 20 for many trials). Dead trials count as worse than all others,
        and trials that break limits as worse than those that keep them. Of more than 2,000 trials, so many are drawn at
        random, always the same. Raises ResultsError for a rung that too few trials reached.
        """
        from results.analysis import importance

        if isinstance(rung, bool) or not isinstance(rung, int | str):
            return importance.importance(self, rung)  # which refuses it
        if rung not in self._importances:
            self._importances[rung] = importance.importance(self, rung)
        return self._importances[rung].copy()

    @cached_property
    def _importances(self) -> "dict[int | str, pd.DataFrame]":
        """Rung -> importance there, which takes seconds for thousands of trials."""
        return {}

    def outcomes(self, bins: int = 5) -> "pd.DataFrame":
        """How trials ended, by region of each parameter: one row for each parameter, region and outcome.

        bins: into how many intervals the range of a number is divided, of equal length on the scale of the space (log
        where that is). Categories, and whole numbers of which there are no more, are a region each. Columns: parameter;
        region, in words; low and high, the ends of an interval, both included for whole numbers, missing for
        categories; outcome; trials, how many of the region ended so; share, of all trials of the region, missing where
        there are none. Trials in which a parameter is idle are in the region "not drawn". Of a trial in a population,
        the values at its end count. Raises ResultsError if bins is no whole number from 1 to 100.
        """
        from results.analysis import endings

        return endings.outcomes(self, bins)

    def parallel(self, parameters: Sequence[str] | None = None, rung: Rung = None) -> "pd.DataFrame":
        """Scores and parameters. One row for each trial, by number: trial, score (NaN if it has none), outcome, dead,
        breaks_limits, and a column for each parameter, missing where it is idle.
        """
        from results.analysis import landscape

        return landscape.parallel(self, parameters, rung)

    def pareto(self) -> "pd.DataFrame":
        """The trials of a search with several objectives: one row per trial, in the order of `trials`.

        Columns: trial; outcome; the objectives with their own values, at the trial's best rung by the first objective
        (`seconds` in total); images_trained; pareto_rank, missing where a trial is dead or has no score; limits_kept,
        whether it keeps the limits of its objectives; front, whether it does and no other trial is better in all
        objectives (`pareto_rank` 1). Raises ResultsError if the run has one objective.
        """
        from results.analysis import fronts

        return fronts.pareto(self)

    def rank(self, parameters: Sequence[str] | None = None, rung: Rung = None) -> "pd.DataFrame":
        """What `parallel` returns, with a column `rank` after the score: from 0, the best trial, to 1, the worst that
        has a score and is not dead, in the order of limits and scores; equal scores share their mean rank; NaN for
        other trials.
        """
        from results.analysis import landscape

        return landscape.rank(self, parameters, rung)

    def replicates(self) -> "pd.DataFrame":
        """The trainings of finalists from other seeds: one row per replicate, those of the winner first, then in the
        order of `confirmed`. Empty for a search that was not confirmed.

        Columns: trial, replicate; score, the best that it reached, infinitely bad if it failed, and missing before its
        first; outcome and reason of its last row; images_seen, in all; seconds, of training and scoring; failed,
        whether it died or ended without a score that keeps the limits.
        """
        from results.analysis import across_seeds

        return across_seeds.replicates(self)

    def savings(self) -> "pd.DataFrame":
        """What pruning has saved: one row for each rung at which trials were pruned.

        A pruned trial has saved the images from there to the last rung, and as many seconds as it would have taken for
        them at its own pace until then. Columns: rung; trials that were pruned there; images and seconds that they
        saved; share, these seconds as a share of what the search would have cost without pruning. Trials that a spent
        budget cut off count as pruned, as in the table.
        """
        from results.analysis import costs

        return costs.savings(self)

    def search_study(self, rung: Rung = None) -> "Study":
        """An Optuna study in memory of the trials of the search. Trial n of the run is trial n of the study. It has the
        run's objectives, with their own values and directions, the ranges of the space, the constraint `limits` where
        limits are broken, and as intermediate values the score by images seen. It has no figure here: all of
        `optuna.visualization` draws it.

        Where a rung is given, trials with a score there are COMPLETE; those that were pruned before it are PRUNED, and
        those that died there or before FAIL, without a value. At their best rungs, trials that went all the way are
        COMPLETE and pruned ones PRUNED. All others are RUNNING.
        """
        from results.analysis import search_study

        return search_study.search_study(self, rung)

    def select(
        self,
        *,
        columns: Sequence[str] = (),
        where: str | None = None,
        sort: str | None = None,
        all_rungs: bool = False,
        top: int | None = None,
    ) -> "pd.DataFrame":
        """One row for each trial of the search, as in `trials`; with all_rungs one for each trial and rung, with those
        of replicates, in the order in which they were recorded.

        where: a condition, such as `fidelity < 5 and outcome == "completed"`; see `results.where.meets` for what it may
        hold. sort: the column to sort by, `-COLUMN` for the largest first; missing values come last. top: only the
        first so many of these. columns: only these, in this order. A column may be named without what stands before its
        first dot, where that is unambiguous. If finalists were confirmed, trials also have the columns of `confirmed`,
        as `confirmed.median` and so on. Raises InputError for a column that is not there and a condition that is none.
        """
        from results.selection import select

        return select(self, columns=columns, where=where, sort=sort, all_rungs=all_rungs, top=top)

    def signs_before_death(self, between_rungs: bool = True) -> "pd.DataFrame":
        """Which signs of trouble came before trials died, and how early: one row for each sign that was seen, the one
        that the most dead trials had first. Dead are here those that diverged or collapsed; trials that failed or ran
        out of memory do not count at all, and all others are survivors, so far.

        between_rungs: also look at the points of the run's curves, with the thresholds of the run. Otherwise only the
        rungs count, which no trial reaches that dies before the first; scores, and so missing classes, low coverage and
        memorisation, are known at rungs alone. Columns: sign, as in the column `signs` of the rows; dead, how many dead
        trials had it before they died, of_dead that were seen at all before; dead_share, their ratio; survivors,
        of_survivors and survivors_share likewise, at any time; median_images_before_death, between the first time that
        a dead trial had it and its death.
        """
        from results.analysis import endings

        return endings.signs_before_death(self, between_rungs)

    def slices(self, parameters: Sequence[str] | None = None, rung: Rung = None) -> "pd.DataFrame":
        """The scores over each parameter. One row for each parameter and trial that has it: parameter, value, trial,
        score (NaN if it has none), outcome, dead and breaks_limits.
        """
        from results.analysis import landscape

        return landscape.slices(self, parameters, rung)

    def timeline(self) -> "pd.DataFrame":
        """Which cohorts were trained when, and on which machine: one row for each cohort and rung.

        Columns: node, the machine; slot, the place on it; cohort and rung; begins_seconds and ends_seconds since the
        sweep began, without pauses; seconds of training and scoring, over the lanes; lanes that were trained; device,
        as in the rows; confirmation, whether they are replicates of finalists. A rung begins when the one before was
        judged, and the first when the cohort was handed out. Times and nodes are recorded and slots are not: the
        cohorts of a node are packed on as few slots as possible, in the order in which they begin. Cohorts that have no
        row yet are missing. Raises ResultsError if `cohorts.jsonl` was changed.
        """
        from results.analysis import slots

        return slots.timeline(self)

    def _repr_html_(self) -> str:
        """What a notebook shows of the table: its best trials, and how it can be analysed."""
        from results.table_html import table_html

        return table_html(self)
