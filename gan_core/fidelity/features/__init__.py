"""What images are compared in: a classifier's activations, principal components, textures, Inception, a person's
network.

`extractors` loads one by name; each other module is one kind.
"""
