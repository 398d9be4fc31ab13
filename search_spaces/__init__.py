"""Search spaces: which hyperparameters vary in a sweep, and in which ranges. Each space is a YAML file.

`space.SearchSpace` is a checked space, `ranges.Range` the range of one hyperparameter, and `constraints.Constraint` a
comparison that every configuration must satisfy; `shipped/` holds the spaces that come with the package. This package
imports `gan_core.config` and `gan_core.files` alone, and Optuna only for its distributions.
"""
