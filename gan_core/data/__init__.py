"""From the name of a data set to its samples in memory: published sets, folders of pictures, numbers, polygons.

Imports `config`, `files` and `lanes`. `dataset` loads one; `pictures` and `picture_folder` read a person's own
folder; `facts` says what is in it. What only reads files needs no torch.
"""
