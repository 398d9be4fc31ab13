"""Turns the name of a data set into samples in memory: published sets, a user's images, numbers and polygons.

`dataset.load_dataset` loads a data set, `pictures.load_pictures` reads a user's folder of images, and
`facts.image_facts` describes the images. The modules that only read files do not load torch. This package imports
`config`, `files` and `lanes`.
"""
