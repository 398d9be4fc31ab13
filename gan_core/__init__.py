"""Trains and scores many GANs side by side, as one array with a leading lane axis.

Each package imports only those before it in this list: `config`, `files`, `native`, `lanes`, `data`, `networks`,
`game`, `execution`, `training`, `fidelity`, `workshop`. None of them knows about search spaces, sweeps or tables.
"""
