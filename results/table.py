"""The results of a sweep: its checked rows, its trials, and what can be learnt from them, `ResultsTable`."""

from results.trial_table import TrialTable


class ResultsTable(TrialTable):
    """The table of a run and its analyses, each a tidy DataFrame with one row per thing it is about. `results.plots`
    has a figure for each of them, by the same name and with the same arguments.
    """
