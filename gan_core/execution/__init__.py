"""How a function of tensors is carried out: traced, replayed in planned memory, made into C, or captured on a GPU.

Imports `native`, `lanes` and what is below them; of GANs it knows nothing. `trace` records a function, `replay`
repeats what was recorded, `source` writes it as C, `programs` chooses among them.
"""
