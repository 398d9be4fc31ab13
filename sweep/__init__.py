"""A sweep over configurations of GANs: its file, its proposals, its ladder, its record, and where its cohorts run.

`run.run_sweep` runs one, from Python as from the command line; `spec.sweep_spec.SweepSpec` is all that it is told.
"""
