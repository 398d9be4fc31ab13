"""What a sweep on a cluster loses when its hosts fail, and what the cluster costs. The hosts are network namespaces of
this machine. Linux, root.

    python -m benchmarks.cluster [--scenarios kill,trainer,drain,...] [--times 5] [--seed 0]

Host 0 has Ray's head, no CPU for training, and the driver; hosts 1 and 2 have one CPU each, and do not see the folders
of runs. Ray asks for a token. `disturbances` has what is done to a sweep of the 8x8 digits at a random moment, `laws`
what must be true of it in the end, and `comparisons` the scenarios in which sweeps are compared.
"""
