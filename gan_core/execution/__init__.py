"""Ways of carrying out a function of tensors: traced and replayed in planned memory, translated to C, or captured as a
CUDA graph.

It imports `native`, `lanes`, `networks` (the operators of its convolutions) and the packages before them, and knows
nothing of training. `trace` records the calls of a function, `replay` repeats them, `source` translates them to C,
`means` translates a sum of means, `programs` chooses, and `pace` measures how many lanes to compute in a call.
"""
