"""The kernels: headers in C, and modules that put the texts of products and convolutions together.

They import `gan_core.native.isa` alone, since a text depends on the instruction set that it is for.
"""
