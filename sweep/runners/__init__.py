"""Runs cohorts in this process (`local`) or as trials of Ray Tune (`ray`), and displays how far the sweep is.

Imports `gan_core`, `results` and the packages of `sweep` up to `cohorts`. Main names: `local.runner.run_local`,
`ray.runner.run_ray`, `progress.ProgressDisplay`.
"""
