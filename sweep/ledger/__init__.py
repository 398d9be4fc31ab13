"""Every row of a run and what follows from it: who goes on, which files are kept, how a run goes on after it stopped.

`study.LaneStudy` is the only owner of a run. `standings` holds the rows, `verdicts`, `agenda` and `openings` decide by
them, and `recorder` writes. May import `sweep.ladder`, `sweep.spec`, `sweep.proposals` and `sweep.tracking`.
"""
