"""Training in C: what is watched, and whole blocks of steps, whose text is put together from the kernels of
`gan_core.native` and the traces of a step.
"""
