"""Measurements that anyone can run; their figures stand in RESULTS.md."""
