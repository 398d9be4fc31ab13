"""Rungs and the rules that prune at them, and populations that copy their best. Pure logic: no files, torch or
Optuna.
"""
