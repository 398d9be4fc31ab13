"""Cohorts one after the other, in the calling process."""
