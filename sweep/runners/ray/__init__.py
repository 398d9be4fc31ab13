"""Cohorts as trials of Ray Tune. The only package that imports Ray."""
