"""The lane axis: tensors whose lanes are aligned, arithmetic that keeps each lane's bits, random numbers keyed by seed.

Imports `config`, `files` and `native`. `axis` holds the arithmetic, `streams` names what random numbers are for
(without torch), `normals` draws them.
"""
