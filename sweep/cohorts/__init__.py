"""One cohort: it trains arrays to a rung, asks the study, and goes on with the lanes that may.

`cohort.CohortRun` climbs the ladder, `arrays` trains, `checkpoints` writes, `best_rungs` keeps pictures, and
`contracts` says what is asked of arrays and of the study. May import `sweep.ladder` and `sweep.ledger`, not torch.
"""
