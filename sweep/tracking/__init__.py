"""Views of a run outside its table: rows are sent to TensorBoard, MLflow and Weights & Biases, and
optuna-dashboard shows the study.

`trackers.open_trackers` opens those a sweep asks for. Nothing here can change a sweep's result or stop it. Imports
`sweep.spec`, `sweep.proposals` (the journal, for optuna-dashboard) and `results`; each viewer's package is imported
only when it is used.
"""
