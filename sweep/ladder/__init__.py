"""The rungs and the rules that prune at them, and populations whose members copy the best ones.

Pure logic, without files, torch or Optuna: of our packages it imports only `gan_core.config` and `results`.
"""
