"""The Optuna study of a sweep: samplers, first trials, seeds, the journal. The only package that proposes.

`Proposals` (proposals.py) is asked for configurations and told what became of them. It asks Optuna's samplers in
studies in memory (shown.py) with the trials that a sampler may learn from (fairness.py, generations.py), and keeps the
run's own study in a journal (journal.py). It may import `sweep.spec`, `search_spaces`, `results` and `gan_core`'s plain
values. Only public names of Optuna's are used.
"""
