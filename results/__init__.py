"""The results of a sweep: rows on disk, a pandas table of them, text, plots and exported configurations.

`table.ResultsTable` is the table of a run, `store.RunFolder` names the files of a run, `rows` defines a row, and
`export.export_trial` writes a configuration that can be trained. This package imports `gan_core.config` and
`gan_core.files` alone, and never loads torch, Ray or Optuna.
"""
