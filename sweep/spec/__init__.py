"""The description of a sweep, read from a YAML file: the only input of a run.

`sweep_spec.SweepSpec` holds it; the other modules are its sections and their parsers. This package imports
`gan_core.config`, `gan_core.files`, `search_spaces`, `results` and `sweep.ladder`. It never loads torch, Ray or Optuna.
"""
