"""Generators and discriminators of all families: layers on lanes, networks built of them, latents that feed them.

Imports `config` and `lanes`. `architectures` builds the two networks of a structure, `layers` and `convolutions` are
what they are built of, `call` is one pass through a network.
"""
