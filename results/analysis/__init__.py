"""What can be learnt from the rows of a run, a module for each question. Functions take a `TrialTable` and return tidy
DataFrames; `ResultsTable` has them as methods. Optuna is loaded where a question needs it.
"""
