"""Every row of a run and what follows from it: who goes on, what is kept, how a run goes on after a stop.

`study.LaneStudy` is the sole owner of a run; `standings` are what its rows say.
"""
