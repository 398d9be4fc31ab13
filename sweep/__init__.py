"""Hyperparameter sweeps over GANs: proposals, early stopping, records, and the processes that train.

`run.run_sweep` runs a sweep, both for Python and for the command line; `spec.sweep_spec.SweepSpec` describes one
completely. Each package imports only those before it in this list: `ladder`, `spec`, `proposals`, `tracking`, `ledger`,
`cohorts`, `runners`, `planning`, `winner`, `commands`. All may import `gan_core`, `search_spaces` and `results`.
"""
