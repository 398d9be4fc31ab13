"""C text made into a function of this process: a compiler, an instruction set, kernels for products and convolutions.

Knows arrays of numbers, and neither GANs nor traces. Imports `gan_core.config` and `gan_core.files`; torch only to
hold memory. `compiler` and `toolchain` find and call the machine's compiler, `isa` says what its processor has,
`library` loads what was compiled, and the headers beside them hold the kernels.
"""
