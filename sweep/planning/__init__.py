"""Estimates what a sweep would cost before it starts; used by `gan-sweep run --dry-run` alone.

`estimate.memory_lines` is about memory, and `time_estimate.time_lines` about time, measured by training a few steps.
This package loads torch.
"""
