"""Feature extractors, which map images to the space where they are compared.

`extractors.load_extractor` loads one by name. Each other module is one kind: a classifier trained on the data,
principal components, textures, several of these joined, Inception, and a user's network. This package imports
`gan_core.data` and what that imports.
"""
