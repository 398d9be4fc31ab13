"""Trains and scores GANs side by side, as one array with a leading lane axis, in ten packages.

Each imports from those before it alone: `config`, `files`, `native`, `lanes`, `data`, `networks`, `game`, `execution`,
`training`, `fidelity`, `workshop`. Nothing here knows a search, a sweep or a table.
"""
