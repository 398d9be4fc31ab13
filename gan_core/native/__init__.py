"""From C text to a function in this process: a compiler, an instruction set, kernels for products and convolutions.

This package knows arrays of numbers, and neither GANs nor traces. It imports `gan_core.config`, `gan_core.files`, and
uses torch only to hold memory. `compiler` and `toolchain` find and call the machine's C compiler, `isa` describes its
processor, `kept` keeps compiled libraries on disk, `library` loads them, and `kernels` holds headers in C.
"""
