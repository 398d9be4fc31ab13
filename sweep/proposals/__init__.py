"""The Optuna study: samplers, first trials, seeds, the journal. The only package of a sweep that proposes."""
