"""How good samples are: distances to held-out real samples with their standard errors, and a scorer for each kind of
data.

Imports all packages before it. `scorers.build_scorer` makes the scorer of a data set; `features` are what images are
compared in; `examine` checks an extractor on the data before it is used.
"""
