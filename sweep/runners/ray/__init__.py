"""Runs cohorts as trials of Ray Tune. This is the only package that imports Ray, and it uses Ray's public API alone."""
